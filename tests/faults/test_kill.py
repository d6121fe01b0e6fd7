"""The server is killed again and again while PBXs report: what was answered 200 is stored, and stored once."""

import random
from pathlib import Path

from tests.conftest import postgres_database
from tests.faults.reporters import Reporters, assert_stored_once, messages, seed, sized
from tests.server import serving


def test_on_sqlite(tmp_path: Path):
    kill_while_reporting(tmp_path, sized(10_000, 5_000), kills=sized(4, 4))


def test_on_postgresql(tmp_path: Path, postgres_server: str):
    with postgres_database(postgres_server, "killed") as url:
        kill_while_reporting(tmp_path, sized(2_000, 2_500), kills=sized(2, 4), DATABASE_URL=url)


def kill_while_reporting(folder: Path, count: int, *, kills: int, **settings: str) -> None:
    dice = random.Random(1)
    with serving(folder, **settings) as server:
        reporters, sent = Reporters(server.url, seed(server)), messages(count)
        moments = sorted(dice.sample(range(len(sent) * 9 // 10), kills))
        with reporters.sending(sent):
            for taken in moments:
                reporters.wait_for(taken)
                server.kill()
                server.start_again()
        assert reporters.answers["unreachable"] > 0
        reporters.assert_told_to_retry(503)
        assert reporters.results["quarantined"] == 0
        assert_stored_once(server, sent)

"""PostgreSQL goes down as in a crash while PBXs report: they are told to come again, and nothing answered is lost."""

import time
from pathlib import Path
from signal import SIGQUIT

import requests

from tests.faults.reporters import Reporters, assert_stored_once, messages, seed, sized
from tests.postgres import Postgres, postgres
from tests.server import serving

AWAY_SECONDS = 1.5
BACK_SECONDS = 5


def test_nothing_is_lost_and_it_answers_again(tmp_path: Path):
    # What is committed must be in the log before it is answered; only a power cut would need fsync as well.
    with postgres(synchronous_commit="on") as database, serving(tmp_path, DATABASE_URL=database.url) as server:
        reporters, sent = Reporters(server.url, seed(server)), messages(sized(3_000, 2_000), singles=0.1)
        with server.seeding() as make:
            browser = server.signed_in(make.staff().email)
        stops = sized(2, 2)
        with reporters.sending(sent):
            for stop in range(1, stops + 1):
                reporters.wait_for(len(sent) * stop // (stops + 2))
                stop_and_start(database, server.url, browser, reporters)
        assert reporters.answers["unreachable"] == 0
        assert reporters.answers[503] > 0
        reporters.assert_told_to_retry(503)
        assert_stored_once(server, sent)


def stop_and_start(database: Postgres, url: str, browser: requests.Session, reporters: Reporters) -> None:
    database.stop(SIGQUIT)
    page = browser.get(f"{url}/provider", timeout=30)
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert int(page.headers["Retry-After"]) > 0
    time.sleep(AWAY_SECONDS)
    before = len(reporters.taken_at)
    database.start()
    back_at = time.monotonic()
    assert browser.get(f"{url}/provider", timeout=30).status_code == 200
    reporters.wait_for(before + 1)
    assert reporters.taken_at[before] - back_at < BACK_SECONDS

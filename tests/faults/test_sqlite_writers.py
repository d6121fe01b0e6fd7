"""Sixteen clients write to one SQLite file through two processes, others beside them: no lock reaches anybody."""

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import requests

from tests.faults.reporters import Message, Reporters, assert_stored_once, messages, seed, sized
from tests.server import LiveServer, serving

WRITERS = 16
SECONDS = sized(8, 3)


def test_no_lock_reaches_a_client(tmp_path: Path):
    with serving(tmp_path, WORKERS="2", RUN_WORKER="1") as server:
        reporters, sent = Reporters(server.url, seed(server), clients=WRITERS // 2), list[Message]()
        until = time.monotonic() + SECONDS
        with ThreadPoolExecutor(WRITERS // 2) as pool:
            calling = [pool.submit(call, server, reporters.key, number, until) for number in range(WRITERS // 2)]
            for turn in count(1):
                if time.monotonic() > until:
                    break
                more = messages(400, seed=turn, batch=20, singles=0.5)
                sent += more
                with reporters.sending(more):
                    pass
            statuses = set().union(*(each.result() for each in calling))
        assert statuses == {200}
        assert set(reporters.answers) == {200}
        assert "locked" not in server.output
        assert_stored_once(server, sent)


def call(server: LiveServer, key: str, number: int, until: float) -> set[int]:
    """Authorise and end calls, one after the other; returns the status codes that came."""
    statuses = set()
    with requests.Session() as http:
        http.headers["Authorization"] = f"Bearer {key}"
        for turn in count():
            asked = {"tenant": "acme", "call_id": f"{number}-{turn}", "seconds": 60}
            answer = http.post(f"{server.url}/api/v1/calls/authorize", json=asked, timeout=60)
            statuses.add(answer.status_code)
            if answer.ok and answer.json()["allowed"]:
                ended = {"hold": answer.json()["hold"], "seconds": 0}
                statuses.add(http.post(f"{server.url}/api/v1/calls/end", json=ended, timeout=60).status_code)
            if time.monotonic() > until:
                return statuses
    raise AssertionError("unreachable")

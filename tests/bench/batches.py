"""Bodies of 1,000 events of one tenant: over HTTP, by plain SQL, and calls that ask meanwhile."""

import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import requests

from tests.bench import plain
from tests.bench.load import SECONDS
from tests.bench.setting import Setting

BATCHES = int(os.environ.get("BENCH_BATCHES", "20"))
BATCH = 1_000


def over_http(base: str, key: str) -> float:
    """Events per second, one connection."""
    post = _client(key)
    bodies = [_body(f"http-{number}") for number in range(BATCHES + 1)]
    _post_batch(post, base, bodies.pop())  # warms up
    started = time.perf_counter()
    for body in bodies:
        _post_batch(post, base, body)
    return BATCHES * BATCH / (time.perf_counter() - started)


def by_plain_sql(setting: Setting) -> float:
    """Events per second of the same rows through the driver."""
    writer = plain.Sqlite(setting.sqlite_path) if setting.sqlite_path else plain.Postgresql(setting.url)
    batches = [setting.plain_rows(f"plain-{number}", BATCH) for number in range(BATCHES + 1)]
    writer.write(batches.pop())
    started = time.perf_counter()
    for rows in batches:
        writer.write(rows)
    return BATCHES * BATCH / (time.perf_counter() - started)


def one_by_plain_sql(setting: Setting) -> Iterator[None]:
    """An event a transaction, at each `next`."""
    writer = plain.Sqlite(setting.sqlite_path) if setting.sqlite_path else plain.Postgresql(setting.url)
    for number in count():
        writer.write(setting.plain_rows(f"one-{number}", 1))
        yield


def calls_meanwhile(base: str, key: str) -> tuple[list[float], list[float]]:
    """Seconds that each authorisation waited while batches of the same tenant came in, and that each batch took."""
    calls, took, over = [], [], threading.Event()

    def ingest() -> None:
        post = _client(key)
        for number in count():
            if over.is_set():
                return
            body, started = _body(f"meanwhile-{number}"), time.perf_counter()
            _post_batch(post, base, body)
            took.append(time.perf_counter() - started)

    writer = threading.Thread(target=ingest)
    writer.start()
    post, until = _client(key), time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < until:
        call: dict[str, Any] = {"tenant": "acme", "call_id": f"meanwhile-{started}", "seconds": 60}
        answer = post.post(f"{base}/api/v1/calls/authorize", json=call, timeout=60)
        calls.append(time.perf_counter() - started)
        if not answer.json()["allowed"]:
            raise SystemExit(f"bench: not allowed: {answer.text[:300]}")
    over.set()
    writer.join()
    return calls, took


def milliseconds(waits: list[float]) -> tuple[float, float]:
    """Median and worst of some seconds."""
    return statistics.median(waits) * 1000, max(waits) * 1000


def _client(key: str) -> requests.Session:
    client = requests.Session()
    client.headers["Authorization"] = f"Bearer {key}"
    return client


def _post_batch(client: requests.Session, base: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"{base}/api/v1/usage", data=body, headers=headers, timeout=60)
    if not answer.ok or answer.json()["accepted"] != BATCH:
        raise SystemExit(f"bench: not accepted: {answer.text[:300]}")


def _body(prefix: str) -> bytes:
    """Events as a PBX would send them."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    event: dict[str, Any] = {
        "tenant": "acme",
        "resource": "voice_minutes",
        "quantity": 7,
        "occurred_at": moment,
        "attributes": {"from": "101", "to": "442079460958", "direction": "outbound"},
    }
    return json.dumps({"events": [{"id": f"{prefix}-{number}", **event} for number in range(BATCH)]}).encode()

"""A hundred calls at the same instant, room for ten: exactly ten are granted."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from flask import Flask

from app.core.clock import utc_now
from app.db import db, run_in_transaction, snapshot
from app.domain.insight.verify import differences
from app.domain.metering import calls
from app.domain.metering.decision import Call, Terms
from tests.conftest import postgres_database
from tests.faults.reporters import sized
from tests.server import LiveServer, serving

CALLERS, ROOM = 100, 10
ROOMS = ({"voice_minutes": ROOM * 60}, {"voice_minutes": None, "concurrent_calls": ROOM})
ROUNDS = sized(1, 3)


def at_once(ask: Callable[[int], bool]) -> int:
    """How many of the callers, who all ask in the same moment, were allowed."""
    gate = threading.Barrier(CALLERS)

    def one(number: int) -> bool:
        gate.wait()
        return ask(number)

    with ThreadPoolExecutor(CALLERS) as pool:
        return sum(pool.map(one, range(CALLERS)))


@contextmanager
def served(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    if kind == "sqlite":
        with serving(folder) as server:
            yield server
        return
    url = request.getfixturevalue("postgres_server")
    with postgres_database(url, "rushed") as database, serving(folder, DATABASE_URL=database, WORKERS="2") as server:
        yield server


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_over_http(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    with served(kind, tmp_path, request) as server:
        with server.seeding() as make:
            key = make.source("pbx1").key  # type: ignore[attr-defined]
            tenants = []
            for turn in range(ROUNDS):
                for number, limits in enumerate(ROOMS):
                    tenants.append(f"t{turn}-{number}")
                    make.subscribe(make.tenant(tenants[-1]), make.package(f"p{turn}-{number}", limits))
        for tenant in tenants:
            assert at_once(lambda number: authorized(server.url, key, tenant, number)) == ROOM
        with server.app(), snapshot() as session:
            assert [str(each) for each in differences(session, now=utc_now())] == []


def authorized(url: str, key: str, tenant: str, number: int) -> bool:
    answer = requests.post(
        f"{url}/api/v1/calls/authorize",
        json={"tenant": tenant, "call_id": f"c{number}", "seconds": 60},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["allowed"] or found["reason"] in ("quota_exhausted", "concurrency_reached")
    return bool(found["allowed"])


@pytest.mark.parametrize("limits", ROOMS)
def test_in_the_database(limits: dict[str, int | None], app: Flask, make, now):
    source_id = make.source("pbx1").id
    package = make.package("gold", limits)
    terms = Terms(seconds=60, grace=120, metered_directions=("outbound",))

    for turn in range(ROUNDS):
        tenant = f"t{turn}"
        make.subscribe(make.tenant(tenant), package)

        def ask(number: int) -> bool:
            with app.app_context():
                try:
                    call = Call(tenant, f"c{number}")
                    return run_in_transaction(lambda act: calls.authorize(act, source_id, call, terms, now=now)).allowed
                finally:
                    db.session.remove()

        assert at_once(ask) == ROOM
    assert [str(each) for each in differences(db.session(), now=now)] == []

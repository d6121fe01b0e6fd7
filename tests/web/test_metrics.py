"""`/metrics`: who may read it, and that it tells how things stand."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.config import Settings
from app.db import db, unit_of_work
from app.domain.jobs import service as jobs
from tests.conftest import NOW


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, METRICS_TOKEN="a token of the test")


def _read(answer) -> dict[tuple[str, ...], float]:
    assert answer.status_code == 200, answer.text
    return {
        (sample.name.removeprefix("ringplan_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _from(address, **headers):
    return {"environ_overrides": {"REMOTE_ADDR": address}, "headers": headers}


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-Proto": "http"}, 403),
        ("192.0.2.7", {}, 403),
        ("", {}, 403),
        ("192.0.2.7", {"Authorization": "Bearer a token of the test"}, 200),
        ("192.0.2.7", {"Authorization": "bearer a token of the test"}, 200),
        ("192.0.2.7", {"Authorization": "Bearer another"}, 403),
        ("192.0.2.7", {"Authorization": "Bearer "}, 403),
        ("192.0.2.7", {"Authorization": "Basic a token of the test"}, 403),
        ("192.0.2.7", {"Authorization": "Bearer tökén"}, 403),
    ],
)
@pytest.mark.databases("sqlite")
def test_it_is_for_this_machine_and_for_who_has_the_token(app, address, headers, status):
    assert app.test_client().get("/metrics", **_from(address, **headers)).status_code == status


@pytest.mark.databases("sqlite")
def test_without_a_token_set_no_token_opens_it(settings):
    from app import create_app

    app = create_app(replace(settings, METRICS_TOKEN=""))
    for header in ("Bearer ", "Bearer", "Bearer None", ""):
        assert app.test_client().get("/metrics", **_from("192.0.2.7", Authorization=header)).status_code == 403
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def test_it_tells_of_requests_reports_holds_jobs_and_quarantine(app, make):
    acme, source = make.tenant("Acme"), make.source("pbx1")
    make.subscribe(acme, make.package("gold", {"voice_minutes": 6_000, "concurrent_calls": 3}))
    with unit_of_work() as act:
        for key, wait in (("late", -90), ("soon", 90)):
            jobs.enqueue(act, "mail", key, {}, now=NOW, run_at=NOW + timedelta(seconds=wait))
    client = app.test_client()
    key = {"Authorization": f"Bearer {source.key}"}
    event = {"tenant": "acme", "resource": "voice_minutes", "quantity": 60, "occurred_at": NOW.isoformat()}
    events = [{"id": "1", **event}, {"id": "2", **event}, {"id": "3", **event, "tenant": "nobody"}]
    for _ in range(2):
        assert client.post("/api/v1/usage", json={"events": events}, headers=key).status_code == 200
    assert client.post("/api/v1/usage", json={}, headers=key).status_code == 422
    call = {"tenant": "acme", "call_id": "c1", "seconds": 60}
    assert client.post("/api/v1/calls/authorize", json=call, headers=key).json["allowed"]

    found = _read(client.get("/metrics"))
    assert found["request_seconds_count", "api.report_usage", "POST", "2xx"] == 2
    assert found["request_seconds_count", "api.report_usage", "POST", "4xx"] == 1
    assert {name[1]: found[name] for name in found if name[0] == "reports_total"} == {
        "recorded": 2, "duplicate": 3, "quarantined": 1,
    }  # fmt: skip
    assert (found["holds_open",], found["quarantine_open",], found["streams",]) == (1, 1, 0)
    assert (found["jobs", "due"], found["jobs", "later"], found["jobs", "dead"]) == (1, 1, 0)
    assert 90 <= found["oldest_job_seconds",] < 120
    assert found["database_up",] == 1


@pytest.mark.databases("sqlite")
def test_without_its_database_it_says_so(app, tmp_path):
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()
    (tmp_path / "ringplan.sqlite").write_bytes(b"no database")
    found = _read(app.test_client().get("/metrics"))
    assert found["database_up",] == 0
    assert ("holds_open",) not in found

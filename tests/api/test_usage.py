"""Events in, counted once, and every refusal says why."""

import base64

import pytest
from sqlalchemy import func, select

from app.db import db
from app.domain.metering.models import Quarantined, UsageRecord

EVENT = {
    "id": "evt-1",
    "tenant": "acme",
    "resource": "fax_pages",
    "quantity": 3,
    "occurred_at": "2026-11-22T20:10:41Z",
    "attributes": {"from": "4930123", "to": "4420123456"},
}


def events(count, prefix="e", **changes):
    return {"events": [{**EVENT, "id": f"{prefix}{number}", "quantity": 1, **changes} for number in range(count)]}


def test_one_event_is_recorded_and_shown(machine, acme, used):
    answer = machine("POST", "/api/v1/usage", json=EVENT)
    assert answer.status_code == 200
    assert answer.json == {
        "accepted": 1,
        "duplicates": 0,
        "conflicts": 0,
        "quarantined": 0,
        "results": [{"id": "evt-1", "status": "recorded"}],
    }
    assert used("fax_pages") == 3


def test_a_batch_answers_in_the_order_sent(machine, acme, used):
    batch = [
        EVENT,
        {**EVENT, "id": "b", "tenant": "nobody"},
        EVENT,
        {**EVENT, "quantity": 4},
        {**EVENT, "id": "c", "occurred_at": "noon"},
    ]
    answer = machine("POST", "/api/v1/usage", json={"events": batch}).json
    assert [(result["status"], result.get("code")) for result in answer["results"]] == [
        ("recorded", None),
        ("quarantined", "unknown_tenant"),
        ("duplicate", None),
        ("conflict", "conflict"),
        ("quarantined", "unreadable_time"),
    ]
    assert (answer["accepted"], answer["duplicates"], answer["conflicts"], answer["quarantined"]) == (3, 1, 1, 2)
    assert used("fax_pages") == 3


def test_ten_thousand_events_are_one_batch_and_one_more_is_refused_whole(machine, acme, used):
    assert machine("POST", "/api/v1/usage", json=events(10_000)).json["accepted"] == 10_000
    answer = machine("POST", "/api/v1/usage", json=events(10_001, "x"))
    assert (answer.status_code, answer.json["code"]) == (413, "too_many_events")
    assert used("fax_pages") == 10_000


@pytest.mark.parametrize("batch", [False, True])
def test_a_cloud_event_is_the_same_event(machine, acme, used, batch):
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/fax/7",
        "type": "fax_pages",
        "subject": "acme",
        "time": "2026-11-22T20:10:41Z",
        "data": {"quantity": 2},
    }
    kind = "application/cloudevents-batch+json" if batch else "application/cloudevents+json"
    for _ in range(2):
        answer = machine("POST", "/api/v1/usage", json=[event] if batch else event, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
    assert answer.json["duplicates"] == 1
    assert used("fax_pages") == 2


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"quantity": -1}, "/events/1/quantity"),
        ({"quantity": 1.5}, "/events/1/quantity"),
        ({"quantity": True}, "/events/1/quantity"),
        ({"quantity": 10**13}, "/events/1/quantity"),
        ({"id": ""}, "/events/1/id"),
        ({"tenant": None}, "/events/1/tenant"),
        ({"resource": 7}, "/events/1/resource"),
        ({"attributes": []}, "/events/1/attributes"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_is_half_stored(machine, acme, change, pointer):
    answer = machine("POST", "/api/v1/usage", json={"events": [EVENT, {**EVENT, "id": "b", **change}]})
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= answer.json.keys()
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == 0


@pytest.mark.parametrize(
    ("kwargs", "status", "code"),
    [
        ({"data": b"{"}, 400, "unreadable_json"),
        ({"data": b"\xff\xfe"}, 400, "unreadable_json"),
        ({"data": b"[" * 100_000}, 400, "unreadable_json"),
        ({"data": b"{}", "headers": {"Content-Encoding": "gzip"}}, 415, "compressed_body"),
        ({"data": b" " * 10_000_001}, 413, "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_words(machine, acme, kwargs, status, code):
    answer = machine("POST", "/api/v1/usage", **kwargs)
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text


def test_without_a_key_nothing_is_open_but_health_and_the_description(client, app):
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith("api.") or rule.endpoint in ("api.openapi", "api.docs"):
            continue
        path = rule.rule.replace("<code>", "x").replace("<slug>", "x").replace("<ref>", "x")
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            answer = client.open(path, method=method)
            assert answer.status_code == 401, (method, path)
            assert "WWW-Authenticate" in answer.headers
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/api/v1/openapi.json").status_code == 200
    assert client.get("/api/v1/docs").status_code == 200


def test_basic_authentication_needs_the_sources_own_code(client, source, acme):
    for user, status in (("pbx1", 200), ("pbx2", 401)):
        word = base64.b64encode(f"{user}:{source.key}".encode()).decode()
        answer = client.post("/api/v1/usage", json=EVENT, headers={"Authorization": f"Basic {word}"})
        assert answer.status_code == status


def test_a_key_without_the_scope_is_refused(client, make, acme):
    key = make.source("reader", ["read"]).key
    answer = client.post("/api/v1/usage", json=EVENT, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json["code"]) == (403, "missing_scope")


def test_the_usage_list_pages_by_cursor_without_gaps(machine, acme):
    machine("POST", "/api/v1/usage", json=events(230, resource="voice_minutes"))
    seen, cursor = [], ""
    for _ in range(3):
        page = machine("GET", f"/api/v1/tenants/acme/usage?resource=voice_minutes&cursor={cursor}").json
        seen += [record["id"] for record in page["data"]]
        cursor = page["next"]
    assert cursor is None
    assert len(seen) == len(set(seen)) == 230
    assert machine("GET", "/api/v1/tenants/acme/usage?since=2026-11-23T00:00:00Z").json["data"] == []
    assert machine("GET", "/api/v1/tenants/acme/usage?since=yesterday").status_code == 422
    assert machine("GET", "/api/v1/tenants/acme/usage?cursor=junk").status_code == 422


def test_an_event_costs_few_statements_whatever_the_batch(machine, acme, count_statements):
    machine("POST", "/api/v1/usage", json=events(1, "warm"))
    with count_statements() as one:
        machine("POST", "/api/v1/usage", json=events(1, "one", resource="voice_minutes"))
    with count_statements() as many:
        machine("POST", "/api/v1/usage", json=events(1_000, "many", resource="voice_minutes"))
    assert len(many) == len(one) <= 8


def test_what_was_quarantined_keeps_its_body_word_for_word(machine, acme):
    machine("POST", "/api/v1/usage", json={**EVENT, "tenant": "nobody"})
    kept = db.session.scalars(select(Quarantined)).one()
    assert '"tenant": "nobody"' in kept.body
    assert (kept.reason, kept.tenant_ref, kept.external_id) == ("unknown_tenant", "nobody", "evt-1")

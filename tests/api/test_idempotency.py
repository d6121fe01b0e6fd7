"""The first answer is given again; nothing is done twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.api import packages
from app.core.clock import utc_now
from app.core.errors import Conflict
from app.db import LostRace, db, run_in_transaction
from app.domain.accounts import idempotency
from app.domain.accounts.models import IdempotencyKey
from app.domain.audit.models import AuditEntry
from tests.api.test_provisioning import GOLD
from tests.api.test_usage import EVENT

KEY = {"Idempotency-Key": "k-1"}
ANSWER = idempotency.Answer(200, "application/json", "{}")


def put(machine, body, headers=KEY, code="gold"):
    return machine("PUT", f"/api/v1/packages/{code}", json=body, headers=headers)


def acts():
    return db.session.scalar(select(func.count()).where(AuditEntry.act.like("package.%")))


def test_a_repeat_gets_the_first_answer_whatever_happened_since(machine):
    first = put(machine, GOLD)
    put(machine, {**GOLD, "price": "59.00"}, {})
    again = put(machine, GOLD)
    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert again.content_type == first.content_type
    assert machine("GET", "/api/v1/packages/gold").json["price"] == "59.00"
    assert acts() == 2


def test_the_same_key_with_another_request_is_refused(machine):
    put(machine, GOLD)
    for answer in (put(machine, {**GOLD, "price": "59.00"}), put(machine, GOLD, code="silver")):
        assert (answer.status_code, answer.json["code"]) == (422, "idempotency_key_reused")
        assert answer.content_type == "application/problem+json"
    assert machine("GET", "/api/v1/packages/silver").status_code == 404


def test_a_request_that_still_runs_is_a_conflict(machine, monkeypatch):
    second = []
    spec = packages._spec

    def meanwhile(body):
        """The second request comes in while the first is at work."""
        if not second:
            second.append(None)
            second[0] = put(machine, GOLD)
        return spec(body)

    monkeypatch.setattr(packages, "_spec", meanwhile)
    assert put(machine, GOLD).status_code == 201
    assert (second[0].status_code, second[0].json["code"]) == (409, "request_running")
    assert put(machine, GOLD).status_code == 201


def test_keys_of_two_sources_are_different_keys(machine, client, make):
    put(machine, GOLD)
    other = make.source("pbx2")
    headers = {**KEY, "Authorization": f"Bearer {other.key}"}
    assert client.put("/api/v1/packages/gold", json=GOLD, headers=headers).status_code == 200


def test_a_refusal_is_an_answer_too(machine):
    path, body = "/api/v1/tenants/acme/subscription", {"package": "none"}
    assert machine("PUT", path, json=body, headers=KEY).status_code == 404
    again = machine("PUT", path, json=body, headers=KEY)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (404, "true")


def test_a_failure_is_none_and_the_next_one_may_try(machine, app, monkeypatch):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with monkeypatch.context() as patch:
        patch.setattr(packages, "_spec", lambda body: 1 / 0)
        answer = put(machine, GOLD)
        assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
        assert answer.json["reference"]
    assert put(machine, GOLD).status_code == 201


def test_events_with_a_key_are_answered_as_they_were(machine, acme):
    answers = [machine("POST", "/api/v1/usage", json=EVENT, headers=KEY) for _ in range(2)]
    assert answers[0].json["results"] == [{"id": "evt-1", "status": "recorded"}]
    assert answers[1].data == answers[0].data


def test_a_cdr_with_a_key_is_answered_as_it_was(machine):
    answers = [machine("POST", "/api/v1/cdr/freeswitch", data="junk", headers=KEY) for _ in range(2)]
    assert [answer.json["quarantined"] for answer in answers] == [1, 1]


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb"])
@pytest.mark.databases("sqlite")
def test_a_senseless_key_is_refused(machine, key):
    answer = put(machine, GOLD, {"Idempotency-Key": key})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_idempotency_key")


def test_a_key_is_forgotten_after_a_day(machine, clock):
    put(machine, GOLD)
    clock.shift(timedelta(hours=25))
    assert put(machine, {**GOLD, "price": "59.00"}).status_code == 200
    assert db.session.scalar(select(func.count()).select_from(IdempotencyKey)) == 1


def test_a_claim_left_behind_is_taken_over_and_its_owner_cannot_answer_any_more(source, clock):
    def claim():
        return run_in_transaction(lambda s: idempotency.claim(s, source.id, "k", "0" * 64, now=utc_now()))

    dead = claim()
    with pytest.raises(Conflict, match="still running"):
        claim()
    clock.shift(idempotency.CLAIMED_FOR + timedelta(seconds=1))
    alive = claim()
    with pytest.raises(LostRace):
        run_in_transaction(lambda s: idempotency.keep(s, dead, ANSWER))
    run_in_transaction(lambda s: idempotency.keep(s, alive, ANSWER))
    run_in_transaction(lambda s: idempotency.release(s, alive))
    assert claim() == ANSWER


def test_of_many_at_once_one_acts(app, source):
    headers = {**KEY, "Authorization": f"Bearer {source.key}"}

    def send(_):
        return app.test_client().put("/api/v1/packages/gold", json=GOLD, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))
    acted = [answer for answer in answers if answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers]
    assert len(acted) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json["code"] for answer in answers} <= {"gold", "request_running"}
    assert acts() == 1

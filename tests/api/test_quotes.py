"""Quotes and pending changes over the API."""

from datetime import timedelta

import pytest

QUOTES = "/api/v1/tenants/acme/quotes"
SUBSCRIPTION = "/api/v1/tenants/acme/subscription"


@pytest.fixture
def acme(make, now):
    """On gold since 1 November; platinum is on sale."""
    tenant = make.tenant()
    gold = make.package("gold", {"voice_minutes": 6_000}, price_micros=30_000_000)
    make.package("platinum", {"voice_minutes": 12_000}, price_micros=60_000_000)
    make.subscribe(tenant, gold, started_at=now.replace(day=1, hour=0))
    return tenant


def quoted(machine, package="platinum", when="now"):
    answer = machine("POST", QUOTES, json={"package": package, "when": when})
    assert answer.status_code == 201, answer.json
    return answer.json


def package_of(machine):
    return machine("GET", SUBSCRIPTION).json["package"]


def test_a_quote_is_accepted_once(machine, acme):
    quote = quoted(machine)
    assert [(line["kind"], line["amount"]) for line in quote["lines"]] == [("credit", "-9.00"), ("charge", "18.00")]
    accept = f"{QUOTES}/{quote['id']}/accept"
    first, again = machine("POST", accept), machine("POST", accept)
    assert (first.status_code, again.json) == (200, first.json)
    assert first.json["accepted_at"]
    assert package_of(machine) == "platinum"


def test_a_stale_quote_comes_back_fresh_and_does_nothing(machine, acme, clock):
    quote = quoted(machine)
    clock.shift(timedelta(minutes=20))
    answer = machine("POST", f"{QUOTES}/{quote['id']}/accept")
    assert (answer.status_code, answer.json["code"]) == (409, "quote_stale")
    assert package_of(machine) == "gold"
    fresh = answer.json["quote"]
    assert fresh["id"] != quote["id"]
    assert machine("POST", f"{QUOTES}/{fresh['id']}/accept").status_code == 200
    assert package_of(machine) == "platinum"


def test_the_same_key_makes_one_quote_and_replays_a_refusal(machine, acme, clock):
    keyed = {"Idempotency-Key": "q-1"}
    made = [machine("POST", QUOTES, json={"package": "platinum"}, headers=keyed).json["id"] for _ in range(2)]
    assert made[0] == made[1]
    clock.shift(timedelta(minutes=20))
    accept = [machine("POST", f"{QUOTES}/{made[0]}/accept", headers={"Idempotency-Key": "a-1"}) for _ in range(2)]
    assert [answer.status_code for answer in accept] == [409, 409]
    assert accept[0].json == accept[1].json


def test_a_change_at_the_periods_end_is_seen_and_cancelled(machine, acme, clock):
    answer = machine("PUT", SUBSCRIPTION, json={"package": "platinum", "when": "period_end"})
    assert answer.json["package"] == "gold"
    assert answer.json["pending"] == {"package": "platinum", "at": "2026-12-01T00:00:00+00:00", "by": "source pbx1"}
    assert machine("DELETE", f"{SUBSCRIPTION}/pending").json["pending"] is None
    assert machine("DELETE", f"{SUBSCRIPTION}/pending").json["code"] == "nothing_pending"
    machine("PUT", SUBSCRIPTION, json={"package": "platinum", "when": "period_end"})
    clock.shift(timedelta(days=10))
    shown = machine("GET", SUBSCRIPTION).json
    assert (shown["package"], shown["pending"]) == ("platinum", None)


def test_a_change_at_the_periods_end_has_no_start_of_its_own(machine, acme):
    body = {"package": "platinum", "when": "period_end", "started_at": "2026-11-01T00:00:00Z"}
    answer = machine("PUT", SUBSCRIPTION, json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/started_at")


@pytest.mark.parametrize("quote_id", ["0", "17", "x", "9" * 18, "9" * 30])
def test_an_unknown_quote_is_not_found(machine, acme, quote_id):
    answer = machine("POST", f"{QUOTES}/{quote_id}/accept")
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_quote")


def test_another_tenants_quote_is_not_found(machine, acme, make):
    make.tenant("Globex")
    quote = quoted(machine)
    assert machine("POST", f"/api/v1/tenants/globex/quotes/{quote['id']}/accept").status_code == 404
    assert package_of(machine) == "gold"

"""Packages, tenants and subscriptions over the API."""

import pytest

GOLD = {
    "name": "Gold",
    "currency": "EUR",
    "interval": "month",
    "price": "49.00",
    "cost": "20.00",
    "setup_fee": "0.00",
    "public": True,
    "limits": [
        {"resource": "voice_minutes", "included": 60000, "at_limit": "charge", "overage_price": "0.02"},
        {"resource": "fax_pages", "included": 100, "at_limit": "block"},
        {"resource": "extensions", "included": 10, "at_limit": "block"},
    ],
}
ACME = {
    "name": "Acme",
    "domain": "acme.example",
    "account_code": "acme-7",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
}


def test_the_whole_way_from_a_package_to_a_meter(machine):
    assert machine("PUT", "/api/v1/packages/gold", json=GOLD).status_code == 201
    assert machine("PUT", "/api/v1/tenants/acme", json=ACME).status_code == 201
    answer = machine(
        "PUT",
        "/api/v1/tenants/acme.example/subscription",
        json={"package": "gold", "when": "now", "started_at": "2026-11-01T00:00:00+01:00"},
    )
    assert answer.status_code == 200, answer.text
    assert machine("GET", "/api/v1/tenants/ACME-7/meters").json == {
        "tenant": "acme",
        "package": "gold",
        "period": {"start": "2026-11-01T00:00:00+01:00", "end": "2026-12-01T00:00:00+01:00"},
        "meters": [
            {
                "resource": resource,
                "kind": kind,
                "included": included,
                "carried_in": 0,
                "used": 0,
                "on_hold": 0,
                "remaining": included,
                "overage": 0,
                "at_limit": at_limit,
                "state": "fine",
            }
            for resource, kind, included, at_limit in (
                ("voice_minutes", "metered", 60000, "charge"),
                ("fax_pages", "metered", 100, "block"),
                ("extensions", "allocated", 10, "block"),
            )
        ],
    }


def test_the_same_package_again_changes_nothing_and_another_is_a_revision(machine):
    machine("PUT", "/api/v1/packages/gold", json=GOLD)
    assert machine("PUT", "/api/v1/packages/gold", json=GOLD).json["revision"] == 1
    changed = machine("PUT", "/api/v1/packages/gold", json={**GOLD, "price": "59.00"}).json
    assert (changed["revision"], changed["price"]) == (2, "59.00")
    assert machine("GET", "/api/v1/packages/gold").json == changed


def test_a_package_that_may_lose_wants_a_reason(machine):
    limits = [{"resource": "voice_minutes", "included": 60000, "unit_cost": "0.03"}]  # 20.00 + 30.00 for 49.00
    answer = machine("PUT", "/api/v1/packages/gold", json={**GOLD, "limits": limits})
    assert answer.status_code == 422, answer.text
    assert answer.json["code"] == "missing_loss_reason" and answer.json["errors"][0]["pointer"] == "/loss_reason"
    body = {**GOLD, "limits": limits, "loss_reason": "To open the door"}
    assert machine("PUT", "/api/v1/packages/gold", json=body).status_code == 201
    shown = machine("GET", "/api/v1/packages/gold").json
    assert (shown["loss_reason"], shown["limits"][0]["unit_cost"]) == ("To open the door", "0.03")
    assert machine("PUT", "/api/v1/packages/gold", json=body).json["revision"] == 1


def test_the_same_tenant_again_changes_nothing_and_a_part_leaves_the_rest(machine):
    machine("PUT", "/api/v1/tenants/acme", json=ACME)
    first = machine("PUT", "/api/v1/tenants/acme", json=ACME)
    assert first.status_code == 200
    renamed = machine("PUT", "/api/v1/tenants/acme", json={"name": "Acme AG"}).json
    assert renamed == {**first.json, "name": "Acme AG"}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"price": "-1"}, "/price"),
        ({"price": 49}, "/price"),
        ({"interval": "week"}, "/interval"),
        ({"limits": [{"resource": "unicorns", "included": 1}]}, "/limits/0/resource"),
        ({"limits": [{"resource": "fax_pages", "included": "x"}]}, "/limits/0/included"),
        ({"limits": [{"resource": "fax_pages", "included": -1}]}, "/limits/0/included"),
        ({"limits": [{"resource": "fax_pages", "included": 1, "at_limit": "explode"}]}, "/limits/0/at_limit"),
    ],
)
def test_a_senseless_package_is_refused_with_a_pointer(machine, change, pointer):
    answer = machine("PUT", "/api/v1/packages/gold", json={**GOLD, **change})
    assert answer.status_code == 422, answer.text
    assert answer.json["errors"][0]["pointer"] == pointer


def test_blocked_destinations_are_set_and_left_alone_where_they_are_not_named(machine):
    set_ = machine("PUT", "/api/v1/packages/gold", json={**GOLD, "blocked_prefixes": ["+1900", "0900", "1900"]}).json
    assert set_["blocked_prefixes"] == ["0900", "1900"]
    machine("PUT", "/api/v1/tenants/acme", json={**ACME, "blocked_prefixes": ["+882"]})
    assert machine("PUT", "/api/v1/tenants/acme", json=ACME).json["blocked_prefixes"] == ["882"]
    assert machine("PUT", "/api/v1/tenants/acme", json={**ACME, "blocked_prefixes": []}).json["blocked_prefixes"] == []
    for path, body in (("packages/gold", GOLD), ("tenants/acme", ACME)):
        refused = machine("PUT", f"/api/v1/{path}", json={**body, "blocked_prefixes": ["+1 900"]})
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_prefix")
        assert refused.json["errors"][0]["pointer"] == "/blocked_prefixes"


def test_a_word_that_is_not_known_is_refused(machine):
    assert machine("PUT", "/api/v1/packages/gold", json={**GOLD, "colour": "red"}).status_code == 422


def test_moving_keeps_usage_and_acts_at_once(machine, acme, make, now):
    machine("PUT", "/api/v1/packages/platinum", json={**GOLD, "name": "Platinum", "limits": []})
    answer = machine("PUT", "/api/v1/tenants/acme/subscription", json={"package": "platinum"})
    assert answer.json["package"] == "platinum"
    late = machine(
        "PUT",
        "/api/v1/tenants/acme/subscription",
        json={"package": "gold", "started_at": "2026-01-01T00:00:00Z"},
    )
    assert (late.status_code, late.json["code"]) == (409, "already_subscribed")


def test_an_edit_is_in_the_very_next_answer(machine, make, acme, source):
    make.usage(acme, 300, source=source)
    body = {**GOLD, "limits": [{"resource": "voice_minutes", "included": 200, "at_limit": "charge"}]}
    assert machine("PUT", "/api/v1/packages/gold", json=body).json["revision"] == 2
    meter = machine("GET", "/api/v1/tenants/acme/meters").json["meters"][0]
    assert (meter["included"], meter["used"], meter["remaining"], meter["overage"]) == (200, 300, 0, 100)


def test_meters_cost_the_same_statements_whatever_was_used(machine, make, acme, source, count_statements):
    machine("GET", "/api/v1/tenants/acme/meters")  # notes the key's use, which happens once a minute
    with count_statements() as before:
        machine("GET", "/api/v1/tenants/acme/meters")
    for number in range(50):
        make.usage(acme, 1, source=source, external_id=f"n{number}")
    with count_statements() as after:
        machine("GET", "/api/v1/tenants/acme/meters")
    assert len(after) == len(before) <= 6


def test_a_draft_is_published_by_the_machine_that_puts_it(machine, make):
    make.package("gold", status="draft")
    assert machine("PUT", "/api/v1/packages/gold", json=GOLD).json["status"] == "published"


@pytest.mark.parametrize(
    ("path", "body", "scopes", "status"),
    [
        ("packages/gold", GOLD, ("read",), 403),
        ("packages/gold", GOLD, ("usage", "calls"), 403),
        ("packages/gold", GOLD, ("provision",), 201),
        ("packages/none", None, ("provision",), 404),
        ("packages/none", None, ("read",), 404),
        ("packages/none", None, ("usage",), 403),
    ],
)
def test_a_key_opens_what_its_scopes_say(client, make, path, body, scopes, status):
    headers = {"Authorization": f"Bearer {make.source('pbx8', scopes).key}"}
    answer = client.open(f"/api/v1/{path}", method="PUT" if body else "GET", json=body, headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("path", ["packages/none", "tenants/none", "tenants/none/meters", "tenants/none/usage"])
def test_what_does_not_exist_is_a_404_problem(machine, path):
    answer = machine("GET", f"/api/v1/{path}")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_the_description_covers_every_route(client, app):
    described = {
        (method.upper(), path)
        for path, found in client.get("/api/v1/openapi.json").json["paths"].items()
        for method in found
        if path.startswith("/api/v1/")
    }
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.") and rule.endpoint not in ("api.openapi", "api.docs")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert described == routes

"""Whatever a machine changes leaves an entry in the audit trail, in the same transaction; usage and calls leave none."""

import pytest

from app.api.blueprint import operations
from tests.watch import watching, wrong_with

pytestmark = pytest.mark.databases("sqlite")
GOLD = {"name": "Gold", "price": "49.00", "limits": [{"resource": "extensions", "included": 10, "at_limit": "block"}]}
ACME = "/tenants/acme"
# A body may be made of what was answered before, by operation.
STEPS = [
    ("PUT", "/packages/<code>", "/packages/gold", GOLD),
    ("PUT", "/packages/<code>", "/packages/gold", {**GOLD, "price": "59.00"}),
    ("PUT", "/packages/<code>", "/packages/silver", {**GOLD, "name": "Silver", "price": "29.00"}),
    ("PUT", "/tenants/<slug>", ACME, {"name": "Acme"}),
    ("PUT", "/tenants/<slug>", ACME, {"name": "Acme AG"}),
    ("PUT", "/tenants/<ref>/subscription", f"{ACME}/subscription", {"package": "gold"}),
    ("PUT", "/tenants/<ref>/subscription", f"{ACME}/subscription", {"package": "silver", "when": "period_end"}),
    ("DELETE", "/tenants/<ref>/subscription/pending", f"{ACME}/subscription/pending", None),
    ("POST", "/tenants/<ref>/quotes/<quote_id>/accept", lambda did: f"{ACME}/quotes/{did['quote']}/accept", None),
    ("POST", "/tenants/<ref>/allocations", f"{ACME}/allocations", {"resource": "extensions", "name": "101"}),
    ("DELETE", "/tenants/<ref>/allocations/<allocation_id>", lambda did: f"{ACME}/allocations/{did['line']}", None),
]
QUESTIONS = {("POST", "/tenants/<ref>/quotes")}


def test_whatever_a_machine_changes_is_told_in_the_same_transaction(machine):
    wrong, written, did = [], [], {}
    with watching(written):
        for method, path, url, body in STEPS:
            if path.endswith("accept"):
                asked = machine("POST", f"/api/v1{ACME}/quotes", json={"package": "silver"})
                did["quote"] = asked.json["id"]
            written.clear()
            answer = machine(method, "/api/v1" + (url(did) if callable(url) else url), json=body)
            wrong += wrong_with(f"{method} {path}", answer, written)
            if path.endswith("allocations"):
                did["line"] = answer.json["id"]
    assert not wrong, "\n".join(wrong)


def test_every_operation_that_provisions_has_its_step():
    due = {(op.method, op.path) for op in operations if op.scope == "provision" and op.method != "GET"}
    assert due - {(method, path) for method, path, _, _ in STEPS} == QUESTIONS

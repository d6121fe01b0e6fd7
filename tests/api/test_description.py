"""What the description shows is what happens."""

import dataclasses

import msgspec
import pytest

from app.api.blueprint import operations
from app.api.examples import EXAMPLES
from app.api.openapi import PROBLEMS, statuses
from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.billing import service as billing
from app.domain.billing.terms import Terms
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants

BY_NAME = {operation.endpoint: operation for operation in operations}
CONTENT = {"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"}

PLATINUM = {
    "name": "Platinum",
    "price": "99.00",
    "limits": [{"resource": "voice_minutes", "included": 120_000}, {"resource": "fax_pages", "included": 200}],
}


def send(machine, name, example=None):
    operation, example = BY_NAME[name], example or EXAMPLES[name]
    path = "/api/v1" + operation.path
    for argument, value in example.path.items():
        path = path.replace(f"<{argument}>", value)
    body = {"data": example.body} if isinstance(example.body, str) else {"json": example.body}
    return machine(operation.method, path, query_string=example.query, **(body if operation.has_body else {}))


def issue_first_invoice(app):
    """What no machine can ask for: the provider's people bill."""
    terms, now = Terms.of(app.config["RINGPLAN"]), utc_now()
    with unit_of_work() as session:
        found = subscriptions.require_live(session, tenants.by_slug(session, "acme"))
        period = subscriptions.period_on_day(found, found.anchor_on)
        draft = billing.draft(session, found, period, terms, now=now, reason="start")
        billing.finalise(session, draft, terms, actor="nora", now=now)


def prepare(app, machine, name):
    """What the example of this name takes for granted."""
    if name == "list_invoices":
        issue_first_invoice(app)
    if name == "make_quote":
        machine("PUT", "/api/v1/packages/platinum", json=PLATINUM)
    if name == "cancel_change":
        machine("PUT", "/api/v1/tenants/acme/subscription", json={"package": "gold", "when": "period_end"})


def test_every_operation_has_an_example():
    assert set(EXAMPLES) == set(BY_NAME)


def test_the_examples_are_true_in_their_order(app, machine, clock):
    hold, allocation, quote = "", {}, {}
    for name, shown_example in EXAMPLES.items():
        example = shown_example
        if isinstance(example.body, dict) and "hold" in example.body:  # the name it was given at run time
            example = dataclasses.replace(example, body={**example.body, "hold": hold})
        if "allocation_id" in example.path:
            example = dataclasses.replace(example, path={**example.path, "allocation_id": allocation["id"]})
        prepare(app, machine, name)
        if "quote_id" in example.path:
            example = dataclasses.replace(example, path={**example.path, "quote_id": quote["id"]})
        answer = send(machine, name, example)
        assert answer.status_code == 204 if example.answer is None else answer.status_code in (200, 201), name
        shown = answer.json if answer.data else None
        if name == "list_usage":  # the clock of a test runs on
            shown["data"][0]["received_at"] = example.answer["data"][0]["received_at"]
        if name == "add_allocation":
            allocation = {field: shown[field] for field in ("id", "created_at")}
            shown |= {field: example.answer[field] for field in allocation}
        if name == "list_allocations":
            assert [{field: row[field] for field in allocation} for row in shown["data"]] == [allocation]
            shown = example.answer
        if name in ("make_quote", "accept_quote"):
            quote = {field: shown[field] for field in ("id", "valid_until", "accepted_at")}
            shown |= {field: example.answer[field] for field in quote}
        for changing in sorted({"hold", "expires_at"} & set(shown or ())):
            hold = shown["hold"]
            shown[changing] = example.answer[changing]
        assert shown == example.answer, name


@pytest.mark.parametrize("name", BY_NAME)
def test_the_examples_have_the_described_types(name):
    operation, example = BY_NAME[name], EXAMPLES[name]
    msgspec.convert(example.answer, operation.gives)  # None is of the type None
    assert not operation.takes or any(_fits(example.body, kind) for kind in operation.takes)


def _fits(body, kind):
    try:
        msgspec.convert(body, kind)
    except msgspec.ValidationError:
        return False
    return True


@pytest.mark.databases("sqlite")
def test_the_document_resolves_and_names_everything(client):
    document = client.get("/api/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert {ref.rpartition("/")[2] for ref in _refs(document)} <= set(document["components"]["schemas"])
    found = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in found}) == len(found)
    assert all(operation["summary"] for operation in found)
    with_key = [operation for operation in found if operation.get("security") != []]
    assert all({"401", "403", "503"} <= set(operation["responses"]) for operation in with_key)
    assert set(document["paths"]["/api/v1/usage"]["post"]["requestBody"]["content"]) == CONTENT


@pytest.mark.databases("sqlite")
def test_the_document_has_the_addresses_outside_the_api_too(client):
    """It is of the whole contract: the gate, with its key in the query as well, and what supervisors ask without one."""
    paths = client.get("/api/v1/openapi.json").json["paths"]
    assert {path for path in paths if not path.startswith("/api/v1/")} == {"/billing/gate", "/healthz", "/readyz"}
    assert {"key": []} in paths["/billing/gate"]["get"]["security"]
    assert paths["/healthz"]["get"]["security"] == paths["/readyz"]["get"]["security"] == []


def _refs(node):
    if isinstance(node, dict):
        yield from [node["$ref"]] if "$ref" in node else []
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from _refs(value)


def test_every_status_has_words():
    assert {status for operation in operations for status in statuses(operation)} <= set(PROBLEMS)


@pytest.mark.databases("sqlite")
def test_the_page_shows_every_route(client):
    answer = client.get("/api/v1/docs")
    assert answer.status_code == 200
    for operation in operations:
        assert f"{operation.method} /api/v1{operation.path}".replace("<", "&lt;").replace(">", "&gt;") in answer.text

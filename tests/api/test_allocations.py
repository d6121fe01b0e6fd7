"""What is held over the API: added up to the limit, listed, released once."""

import pytest

from app.domain.metering.models import Refusal
from tests.factories import Make

PATH = "/api/v1/tenants/acme/allocations"


@pytest.fixture
def acme(make: Make):
    tenant = make.tenant("Acme", domain="acme.example", country="DE", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", {"extensions": 2, "dids": 5}))
    return tenant


@pytest.fixture
def hold(machine, acme):
    def send(name, resource="extensions", ref="acme", **more):
        return machine("POST", f"/api/v1/tenants/{ref}/allocations", json={"resource": resource, "name": name}, **more)

    return send


def test_one_is_added_listed_and_released_once(machine, hold):
    made = hold("101", ref="ACME.example")
    assert made.status_code == 201
    assert set(made.json) == {"id", "resource", "name", "note", "created_at"}
    assert (made.json["resource"], made.json["name"], made.json["note"]) == ("extensions", "101", "")
    assert made.json["created_at"].endswith("+01:00")
    assert machine("GET", PATH).json == {"data": [made.json], "next": None}
    released = machine("DELETE", f"{PATH}/{made.json['id']}")
    assert (released.status_code, released.data) == (204, b"")
    assert machine("DELETE", f"{PATH}/{made.json['id']}").status_code == 404
    assert machine("GET", PATH).json["data"] == []


def test_at_the_limit_the_answer_names_it(machine, hold, session, source):
    assert [hold(name).status_code for name in ("101", "102")] == [201, 201]
    refused = hold("103")
    assert (refused.status_code, refused.content_type) == (409, "application/problem+json")
    assert refused.json["code"] == "limit_reached"
    assert refused.json["limit"] == {"resource": "extensions", "included": 2, "used": 2}
    meters = {each["resource"]: each for each in machine("GET", "/api/v1/tenants/acme/meters").json["meters"]}
    found = {name: meters["extensions"][name] for name in ("kind", "included", "used", "remaining", "state")}
    assert found == {"kind": "allocated", "included": 2, "used": 2, "remaining": 0, "state": "at_limit"}
    assert [(row.callee, row.source_id) for row in session.query(Refusal)] == [("103", source.id)]


@pytest.mark.parametrize(
    ("resource", "name", "status", "code", "pointer"),
    [
        ("extensions", "1", 422, "invalid_extension", "/name"),
        ("dids", "12", 422, "invalid_number", "/name"),
        ("nothing", "1", 422, "unknown_resource", "/resource"),
        ("voice_minutes", "1", 422, "not_allocated", "/resource"),
        ("devices", "\0", 422, "invalid_body", ""),
        ("extensions", "100", 409, "already_allocated", "/name"),
        ("dids", "+49 30 900000", 409, "number_taken", "/name"),
    ],
)
def test_what_cannot_be_held_is_refused_with_its_reason(hold, make, resource, name, status, code, pointer):
    make.subscribe(make.tenant("Globex"), make.package("other"))
    assert hold("100").status_code == 201
    assert hold("+4930900000", "dids", ref="globex").status_code == 201
    refused = hold(name, resource)
    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert refused.json["errors"][0]["pointer"] == pointer
    assert "globex" not in refused.text.lower()


def test_without_a_package_it_says_so(hold, make):
    make.tenant("Globex")
    refused = hold("101", ref="globex")
    assert (refused.status_code, refused.json["code"]) == (409, "no_subscription")
    assert hold("101", ref="nobody").status_code == 404


def test_a_list_is_paged_and_of_one_resource_where_asked(machine, hold):
    names = [f"phone {number:03}" for number in range(105)]
    for name in names:
        assert hold(name, "devices").status_code == 201
    assert hold("+4930901820", "dids").status_code == 201
    first = machine("GET", PATH, query_string={"resource": "devices"}).json
    rest = machine("GET", PATH, query_string={"resource": "devices", "cursor": first["next"]}).json
    assert [row["name"] for row in first["data"] + rest["data"]] == names
    assert rest["next"] is None
    everything = machine("GET", PATH).json["data"]
    assert (len(everything), everything[-1]["name"]) == (100, names[99])
    assert [row["name"] for row in machine("GET", PATH, query_string={"resource": "dids"}).json["data"]] == [
        "+4930901820"
    ]
    for query in ({"cursor": "nonsense"}, {"resource": "nothing"}, {"resource": "a\0"}):
        assert machine("GET", PATH, query_string=query).status_code == 422


def test_the_same_request_under_one_key_adds_once(hold, machine):
    headers = {"Idempotency-Key": "ext-101"}
    first, again = hold("101", headers=headers), hold("101", headers=headers)
    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    for name, key in (("102", "ext-102"), ("103", "ext-103")):
        hold(name, headers={"Idempotency-Key": key})
    refused = hold("103", headers={"Idempotency-Key": "ext-103"})
    assert (refused.status_code, refused.json["code"]) == (409, "limit_reached")
    path = f"{PATH}/{first.json['id']}"
    released = [machine("DELETE", path, headers={"Idempotency-Key": "gone"}).status_code for _ in range(2)]
    assert released == [204, 204]
    assert machine("DELETE", path).status_code == 404


@pytest.mark.parametrize("name", ["x", "-1", "²", str(2**63), "1" * 5000])
def test_an_id_that_cannot_be_is_not_found(machine, acme, name):
    assert machine("DELETE", f"{PATH}/{name}").status_code == 404


def test_an_id_of_another_tenant_is_not_found(machine, hold, make):
    make.tenant("Globex")
    made = hold("101").json
    assert machine("DELETE", f"/api/v1/tenants/globex/allocations/{made['id']}").status_code == 404
    assert len(machine("GET", PATH).json["data"]) == 1


def test_the_scopes_are_provision_and_read(client, make, acme):
    reader = make.source("reader", ("read",))
    headers = {"Authorization": f"Bearer {reader.key}"}
    assert client.get(PATH, headers=headers).status_code == 200
    assert client.post(PATH, headers=headers, json={"resource": "extensions", "name": "101"}).status_code == 403
    assert client.delete(f"{PATH}/1", headers=headers).status_code == 403

"""A tenant's own key reads the tenant's own data, and nothing else."""

import pytest

from app.db import unit_of_work
from app.domain.accounts import service as accounts

READABLE = ("", "/subscription", "/meters", "/usage", "/invoices", "/allocations")


@pytest.fixture
def acme(make):
    acme = make.tenant("Acme", domain="acme.pbx.example")
    make.subscribe(acme, make.package("gold", {"voice_minutes": 6_000}))
    make.usage(acme, 60, source=make.source("pbx1"))
    return acme


@pytest.fixture
def headers(acme, now):
    with unit_of_work() as unit:
        key = accounts.issue_tenant_key(unit, unit.merge(acme), label="books", actor="test", now=now)
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("name", ["acme", "acme.pbx.example"])
@pytest.mark.parametrize("path", READABLE)
def test_it_reads_what_is_its_own(client, headers, name, path):
    assert client.get(f"/api/v1/tenants/{name}{path}", headers=headers).status_code == 200


@pytest.mark.parametrize("path", [*READABLE, "/invoices/2026-00001"])
def test_another_tenant_is_not_found_and_looks_like_none(client, make, headers, path):
    make.subscribe(make.tenant("Globex"), make.package("silver"))
    foreign, none = (client.get(f"/api/v1/tenants/{name}{path}", headers=headers) for name in ("globex", "nobody"))
    assert foreign.status_code == none.status_code == 404
    assert foreign.text.replace("globex", "nobody") == none.text


def test_every_other_route_is_refused(app, client, headers):
    open_to_it = 0
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/v1/") or rule.endpoint in ("api.openapi", "api.docs"):
            continue
        url = rule.build(dict.fromkeys(rule.arguments, "acme"))[1]
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            status = client.open(url, method=method, headers=headers).status_code
            if method == "GET" and "ref" in rule.arguments:
                open_to_it += status in (200, 404)
            else:
                assert status == 403, (method, url)
    assert open_to_it >= len(READABLE)
    assert client.get(f"/billing/gate?tenant_id=acme&key={headers['Authorization'][7:]}").status_code == 403


def test_it_is_refused_at_the_request_after_it_was_revoked(client, acme, headers, now):
    assert client.get("/api/v1/tenants/acme", headers=headers).status_code == 200
    with unit_of_work() as unit:
        key = accounts.find_key(unit, headers["Authorization"].split("_")[1], tenant_id=acme.id)
        accounts.revoke_key(unit, key, actor="test", now=now)
    assert client.get("/api/v1/tenants/acme", headers=headers).status_code == 401

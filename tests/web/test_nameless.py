"""A tenant learns that the provider acted, not who of its people: whatever column or page may name them."""

import io
from dataclasses import replace
from zipfile import ZipFile

import pytest
from sqlalchemy import String, update
from sqlalchemy.exc import DBAPIError

from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.audit.models import AuditEntry
from app.domain.catalog.models import Package
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from tests import world
from tests.web.test_canary import crawl, text_of

NORA = "zqnora@provider.example"


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)


@pytest.fixture
def w(app, make, now) -> world.World:
    return world.build(app, make, now)


def _act_as_nora(tenant: Tenant) -> set[str]:
    """Have Nora done everything of the tenant's that names who did it; returns the columns."""
    done = set()
    for table in db.metadata.sorted_tables:
        key = table.columns.get("tenant_id")
        for column in table.columns if key is not None else ():
            if not isinstance(column.type, String) or not (column.name.endswith("_by") or column.name == "actor"):
                continue
            with unit_of_work() as session:
                try:
                    with session.begin_nested():
                        changed = session.execute(
                            table.update().where(key == tenant.id, column != "").values({column.name: NORA})
                        )
                except DBAPIError:
                    continue  # a check, or it names no person
                if changed.rowcount:  # type: ignore[attr-defined]
                    done.add(str(column))
    with unit_of_work() as session:
        session.execute(update(AuditEntry).where(AuditEntry.tenant_id == tenant.id).values(kind="staff"))
    return done


@pytest.mark.databases("sqlite")
def test_nothing_names_the_providers_people_to_a_tenant(w, login, make, session):
    with unit_of_work() as unit:
        large = unit.query(Package).filter_by(code="large").one()
        live = unit.query(Subscription).filter_by(tenant_id=w.acme.tenant.id).one()
        live.pending_package_id, live.pending_at, live.pending_by = large.id, live.started_at.replace(year=2027), "x"
    done = _act_as_nora(w.acme.tenant)
    assert {"audit_entry.actor", "subscription.pending_by", "mailed_link.asked_by"} <= done
    browser = login(w.people["tenant:admin"])
    found = crawl(browser, "/portal")
    assert len(found) > 30
    archive = ZipFile(io.BytesIO(browser.submit("/portal/export").data))
    found |= {name: archive.read(name).decode(errors="replace") for name in archive.namelist()}
    assert [address for address, text in found.items() if "zqnora" in text.lower()] == []
    # She may be looked for by nobody but her own side.
    told = {
        who: text_of(browser.get("/portal/audit.csv", query_string={"actor": who})) for who in (NORA, "zq@x.example")
    }
    assert told[NORA].splitlines()[-1] == told["zq@x.example"].splitlines()[-1]
    assert "zqnora" in login(w.people["staff:owner"]).get("/provider/tenants/acme").text


def test_a_tenants_key_reads_that_the_provider_acted(w, app, session):
    with unit_of_work() as unit:
        large = unit.query(Package).filter_by(code="large").one()
        live = unit.query(Subscription).filter_by(tenant_id=w.acme.tenant.id).one()
        live.pending_package_id, live.pending_at, live.pending_by = large.id, live.started_at.replace(year=2027), NORA
    with unit_of_work() as unit:
        plain = accounts.issue_tenant_key(
            unit, unit.get_one(Tenant, w.acme.tenant.id), actor="test", now=w.acme.user.created_at
        )
    headers = {"Authorization": f"Bearer {plain}"}
    pending = app.test_client().get("/api/v1/tenants/acme/subscription", headers=headers).json["pending"]
    assert pending["by"] == "provider"
    with unit_of_work() as unit:
        email = unit.get_one(Account, w.acme.user.id).email
        unit.query(Subscription).filter_by(tenant_id=w.acme.tenant.id).one().pending_by = email
    pending = app.test_client().get("/api/v1/tenants/acme/subscription", headers=headers).json["pending"]
    assert pending["by"] == email


@pytest.mark.databases("sqlite")
def test_a_hidden_package_is_as_unknown_as_none(w, login, make):
    make.package("hidden-deal", {"extensions": 5}, public=False)
    browser = login(w.people["tenant:admin"])
    for ask in (
        lambda code: browser.get(f"/portal/plans?package={code}"),
        lambda code: browser.submit("/portal/plans/ask", {"package": code}),
    ):
        hidden, none = ask("hidden-deal"), ask("none-such")
        assert hidden.status_code == none.status_code == 404
        assert hidden.text.replace("hidden-deal", "") == none.text.replace("none-such", "")

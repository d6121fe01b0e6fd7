"""What people and machines do leaves entries: who, from where, what; and never a secret."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

from sqlalchemy import select

from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Role
from app.domain.audit import origin, service as audit
from app.domain.audit.models import AuditEntry
from app.domain.tenants import service as tenants

OFFICE = {"REMOTE_ADDR": "203.0.113.7"}


def trail(*acts):
    db.session.rollback()
    found = db.session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    return [each for each in found if not acts or each.act in acts]


def test_signing_in_and_out_says_from_where(make, client):
    uma = make.user(make.tenant("Acme"))
    client.environ_base.update(OFFICE)
    client.sign_in(uma.email)
    client.submit("/logout")
    entries = trail("account.sign_in", "account.sign_out")
    assert [(e.act, e.actor, e.kind, e.address, e.tenant_id) for e in entries] == [
        ("account.sign_in", uma.email, "visitor", "203.0.113.7", uma.tenant_id),
        ("account.sign_out", uma.email, "user", "203.0.113.7", uma.tenant_id),
    ]


def test_a_refused_sign_in_names_who_we_know_and_nothing_that_was_typed(make, client):
    uma = make.user(make.tenant("Acme"))
    client.submit("/login", {"email": uma.email, "password": "not the right one"})
    client.submit("/login", {"email": "my-secret-passphrase", "password": "x" * 12})
    assert [(e.actor, e.details) for e in trail("account.sign_in_refused")] == [
        (uma.email, {"reason": "wrong_credentials"}),
        ("unknown", {"reason": "wrong_credentials"}),
    ]


def test_whoever_is_told_to_wait_leaves_an_entry_a_minute(make, client, clock):
    uma = make.user(make.tenant("Acme"))
    for _ in range(8):
        client.submit("/login", {"email": uma.email, "password": "not the right one"})
    reasons = [e.details["reason"] for e in trail("account.sign_in_refused")]
    assert reasons == ["wrong_credentials"] * 5  # within the minute of the last guess
    clock.shift(61)
    for _ in range(3):
        client.submit("/login", {"email": uma.email, "password": "not the right one"})
    assert [e.details["reason"] for e in trail("account.sign_in_refused")][5:] == ["too_many_attempts"]


def test_a_page_that_is_not_open_to_somebody_is_an_entry(make, login):
    reader = make.staff("rita@northline.example", role=Role.READ_ONLY)
    assert login(reader).post("/provider/packages/new", data={}).status_code == 403
    (entry,) = trail("permission.refuse")
    assert (entry.actor, entry.kind, entry.subject) == (reader.email, "staff", "page:/provider/packages/new")
    assert entry.details == {"permission": "change_catalog", "method": "POST"}


def test_a_key_without_the_scope_is_an_entry_once_a_minute(make, client, now, clock):
    source = make.source("pbx1")
    with unit_of_work() as unit:
        key = accounts.issue_key(unit, unit.merge(source), ["usage"], actor="test", now=now)
    headers = {"Authorization": f"Bearer {key}"}
    for seconds in (0, 1, 60):
        clock.shift(seconds)
        assert client.get("/api/v1/packages/gold", headers=headers, environ_overrides=OFFICE).status_code == 403
    entries = trail("permission.refuse")
    assert [(e.actor, e.kind, e.address) for e in entries] == [("source pbx1", "key", "203.0.113.7")] * 2


def test_changes_say_what_was_before(make):
    make.package("gold", {"voice_minutes": 60_000}, price_micros=10_000_000)
    acme = make.tenant("Acme")
    with unit_of_work() as unit:
        tenant = unit.merge(acme)
        tenants.update(unit, tenant, replace(tenants.profile_of(tenant), name="Acme Ltd"), actor="ann", now=make.now)
    assert trail("tenant.update")[0].details == {"changed": {"name": ["Acme", "Acme Ltd"]}}
    changed = trail("package.create")[0].details["changed"]
    assert (changed["price_micros"], changed["voice_minutes.included"]) == ([None, 10_000_000], [None, 60_000])


def test_the_provider_filters_pages_and_exports_the_trail(make, login, now):
    acme, ann = make.tenant("Acme"), make.staff("ann@northline.example")
    make.package("gold")
    browser = login(ann)
    page = browser.get("/provider/audit")
    assert page.status_code == 200
    assert "New tenant:" in page.text
    assert "Signed in:" in page.text
    only = browser.get("/provider/audit?act=package.", headers={"HX-Request": "true", "HX-Target": "audit_rows"}).text
    assert "Package made:" in only
    assert "New tenant:" not in only
    assert "<h1>" not in only
    by_tenant = browser.get("/provider/audit?tenant=acme").text
    assert "New tenant:" in by_tenant
    assert "Package made:" not in by_tenant
    assert acme.slug in by_tenant
    assert "Nothing fits" in browser.get("/provider/audit?actor=nobody@example.com").text
    assert browser.get("/provider/audit?from=2026-13-99").status_code == 422
    assert browser.get("/provider/audit?tenant=nobody").status_code == 422
    assert browser.get("/provider/audit.csv?from=yesterday").status_code == 422
    today = now.date().isoformat()
    assert "New tenant:" in browser.get(f"/provider/audit?from={today}&to={today}").text
    assert "Nothing fits" in browser.get("/provider/audit?to=2020-01-01").text
    exported = browser.get("/provider/audit.csv?act=package.create").text.splitlines()
    assert exported[0].startswith("number,time,actor,kind,address,act,subject,what,hash")
    assert len(exported) == 2


def test_long_trails_are_paged_by_key(make, login, now):
    with unit_of_work() as unit:
        for number in range(120):
            audit.record(unit, "=ann", "test.act", f"thing:{number}", now=now + timedelta(seconds=number))
    browser = login(make.staff())
    seen, url = [], "/provider/audit?act=test.act"
    for _ in range(3):
        text = browser.get(url).text
        seen += re.findall(r"test act (\d+)", text)
        older = re.search(r'href="([^"]*after=[^"]*)" rel="next"', text)
        url = unescape(older[1]) if older else ""
    assert [int(each) for each in seen] == list(range(119, -1, -1))
    assert not url
    assert "'=ann" in browser.get("/provider/audit.csv?act=test.act").text


def test_a_tenants_admin_sees_its_own_log_and_not_who_of_the_providers_people(make, login, now):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    uma = make.user(acme)
    with unit_of_work() as unit:
        with origin.coming_from(origin.STAFF):
            audit.record(unit, "ann@northline.example", "tenant.suspend", "tenant:acme", now=now, tenant_id=acme.id)
        audit.record(unit, "bob@globex.example", "tenant.suspend", "tenant:globex", now=now, tenant_id=globex.id)
    page = login(uma).get("/portal/audit").text
    assert "Suspended:" in page
    assert uma.email in page
    assert "Northline Telecom" in page
    for hidden in ("ann@northline.example", "bob@globex.example", "globex"):
        assert hidden not in page
    exported = login(uma).get("/portal/audit.csv").text
    assert "tenant.suspend" in exported
    assert "ann@northline.example" not in exported
    assert "globex" not in exported


def test_a_member_has_no_log(make, login):
    assert login(make.user(make.tenant("Acme"), role=Role.MEMBER)).get("/portal/audit").status_code == 403

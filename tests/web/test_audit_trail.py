"""What people and machines do leaves entries: who, from where, what; and never a secret."""

from dataclasses import replace

from sqlalchemy import select

from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Role
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

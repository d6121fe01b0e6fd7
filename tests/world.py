"""Two tenants with one of everything each, and somebody of every role: for tests of who may reach what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy.orm import Session

from app.core.ids import new_id
from app.core.usage import Unreadable
from app.db import run_in_transaction, unit_of_work
from app.domain.accounts import invitations, service as accounts
from app.domain.accounts.models import Account, Source
from app.domain.accounts.roles import STAFF_ROLES, TENANT_ROLES, Role
from app.domain.billing import bank_lines, profiles, run, service as billing
from app.domain.billing.bank_csv import BankLine
from app.domain.billing.lines import Rate
from app.domain.billing.models import InvoiceLine
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Terms
from app.domain.catalog.models import Package
from app.domain.catalog.specs import LimitSpec
from app.domain.changes.models import ChangeRequest
from app.domain.factors.models import Passkey
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Quarantined, UsageRecord
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony import service as telephony
from app.domain.telephony.models import Allocation
from app.domain.telephony.service import Wanted
from app.domain.tenants.models import Tenant
from app.domain.webhooks import endpoints
from app.domain.webhooks.models import WebhookMessage
from tests.factories import Make

EURO = 1_000_000
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
NOBODY = 1  # an id that nothing has
MESSAGE = 7  # of the message of each webhook endpoint


@dataclass(frozen=True)
class Belongings:
    """What one tenant has, by the names that routes give their parts."""

    tenant: Tenant
    user: Account
    ids: Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """Acme is looked at, Globex is the other one; `shared` is the provider's own."""

    acme: Belongings
    globex: Belongings
    people: Mapping[str, Account]
    shared: Mapping[str, Any]


def build(app: Flask, make: Make, now: datetime) -> World:
    """All of it, by the real services."""
    make.now = STARTED
    source = make.source("pbx1")
    limits = [LimitSpec("voice_minutes", 6_000, "charge", 20_000), LimitSpec("extensions", 9)]
    small = make.package("small", limits, price_micros=49 * EURO)
    large = make.package("large", {"voice_minutes": 60_000}, price_micros=90 * EURO, tenants_may="ask")
    with unit_of_work() as session:
        profiles.save_rate(session, Rate("vat", "VAT", 190_000), actor="test", now=STARTED)
    acme, globex = (_tenant(app, make, name, source, (small, large), now) for name in ("Acme", "Globex"))
    people = {f"staff:{role}": make.staff(role=role) for role in STAFF_ROLES}
    people |= {f"tenant:{role}": make.user(acme.tenant, role=role) for role in TENANT_ROLES}
    with unit_of_work() as session:
        run_id = run.start(session, actor="test", now=now).id
        jobs.enqueue(session, "mail", "mail 1", {"to": "a@acme.example", "subject": "s", "body": ""}, now=now)
        session.flush()
        job = session.query(Job).filter_by(key="mail 1").one()
        job.dead_at, job.last_error, job.attempts = now, "away", jobs.MAX_ATTEMPTS
        entry = Report(Unreadable("broken", "no JSON"), "{", "event", "application/json")
    run_in_transaction(lambda session: ingest(session, source.id, [entry], now=now))
    with unit_of_work() as session:
        bank_lines.keep(session, [(BankLine(1, now.date(), EURO, "EUR", "Who", "Rent", "k"), "no_number")], now=now)
        bank_line_id = bank_lines.find(session).lines[0][0].id
        entry_id = session.query(Quarantined).one().id
        prefix = accounts.source_by_code(session, "pbx1").keys[0].prefix
        endpoint_id = _endpoint(session, None, now)
        invitation_id = _invited(session, None, Role.OWNER, now)
    shared = {
        "run_id": run_id, "job_id": job.id, "entry_id": entry_id, "prefix": prefix, "resource": "extensions",
        "endpoint_id": endpoint_id, "bank_line_id": bank_line_id,
        "account_id": make.staff().id, "invitation_id": invitation_id,
    }  # fmt: skip
    return World(acme, globex, people, shared)


def _tenant(
    app: Flask, make: Make, name: str, source: Source, packages: tuple[Package, Package], now: datetime
) -> Belongings:
    """Subscribed since September, with a final invoice, a draft, lines, a call, a request and a user."""
    small, large = packages
    make.now = STARTED
    tenant = make.tenant(name, country="DE")
    make.subscribe(tenant, small)
    make.usage(tenant, 6_090, source=source, occurred_at=STARTED + timedelta(days=2), caller="101")
    make.now = now
    edge: dict[str, Any] = {"actor": "test", "now": now}
    terms = Terms.of(app.config["RINGPLAN"])
    with unit_of_work() as session:
        tenant = session.get_one(Tenant, tenant.id)
        wanted = Profile("vat", 10, f"{name} GmbH", "Gate 1\nBerlin", prepaid=True)
        profiles.save_profile(session, tenant, wanted, actor="test", now=STARTED)
        live = subscriptions.require_live(session, tenant)
        periods = [subscriptions.period_on_day(live, STARTED.date() + timedelta(days=days)) for days in (0, 40)]
        final = billing.draft(session, live, periods[0], terms, now=now)
        billing.finalise(session, final, terms, **edge)
        draft = billing.draft(session, live, periods[1], terms, now=now)
        billing.add_line(session, draft, "Visit", 1, EURO, terms, **edge)
        line = session.query(InvoiceLine).filter_by(tenant_id=tenant.id, name="Visit").one()
        held = telephony.add(session, tenant, "extensions", [Wanted("101"), Wanted("102")], **edge)
        session.flush()
        telephony.release(session, tenant, held[1].id, **edge)
        record = session.query(UsageRecord).filter_by(tenant_id=tenant.id).one()
        kept = session.query(Allocation).filter_by(tenant_id=tenant.id, name="101").one()
        gone = session.query(Allocation).filter_by(tenant_id=tenant.id, name="102").one()
        ids = {
            "slug": tenant.slug,
            "invoice_id": final.id,
            "draft_id": draft.id,
            "line_id": line.id,
            "number": final.number,
            "record_id": record.id,
            "allocation_id": kept.id,
            "released_id": gone.id,
            "day": periods[0].first_on.isoformat(),
            "endpoint_id": _endpoint(session, tenant.id, now),
            "message_id": MESSAGE,
            "invitation_id": _invited(session, tenant.id, Role.MEMBER, now),
            "prefix": accounts.issue_tenant_key(session, tenant, **edge).split("_")[1],
        }
    user = make.user(tenant)
    browser = app.test_client()
    browser.sign_in(user.email)
    assert browser.submit("/portal/plans/ask", {"package": large.code, "words": "please"}).status_code == 303
    with browser.session_transaction() as cookie:
        mark = accounts.mark_of(cookie["_user_id"])
    passkey = Passkey(
        id=new_id(), account_id=user.id, credential_id=tenant.slug, public_key=b"", sign_count=0, transports=[],
        name="Laptop", created_at=now,
    )  # fmt: skip
    ids["passkey_id"] = passkey.id
    with unit_of_work() as session:
        session.add(passkey)
        request_id = session.query(ChangeRequest).filter_by(tenant_id=tenant.id).one().id
    call = make.call(tenant, source=source)
    return Belongings(
        tenant,
        user,
        {**ids, "request_id": request_id, "hold": call.hold, "email": user.email, "account_id": user.id, "mark": mark},
    )


def _invited(session: Session, tenant_id: int | None, role: Role, now: datetime) -> int:
    return invitations.invite(session, tenant_id, "new@example.com", role, actor="test", now=now).id


def _endpoint(session: Session, tenant_id: int | None, now: datetime) -> int:
    """A webhook endpoint that hears of invoices, and had a message."""
    wanted = endpoints.Wanted("https://hooks.example/", ("invoice.final",))
    made = endpoints.add(session, tenant_id, wanted, actor="test", now=now)
    message = {"key": "ping/1", "type": "ping", "tenant": "", "data": {}, "occurred_at": now, "delivered_at": now}
    session.add(WebhookMessage(endpoint_id=made.id, id=MESSAGE, **message))
    session.flush()
    return made.id

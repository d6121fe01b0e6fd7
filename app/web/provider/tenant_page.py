"""One tenant: plan, meters, people; and putting it on a package."""

from flask import Response, url_for

from app import branding
from app.core.clock import utc_now
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.domain.audit import reading
from app.domain.billing import ledger, reading as invoices
from app.domain.billing.reading import InvoiceQuery
from app.domain.changes import offers, upcoming
from app.domain.metering import meters, prepaid, thresholds
from app.domain.subscriptions import life, service as subscriptions, timeline
from app.domain.tenants import service as tenants
from app.web import refused
from app.web.audit_words import in_words
from app.web.guards import needs
from app.web.kit import invoice_text
from app.web.kit.render import render
from app.web.kit.role_words import role_name
from app.web.provider import bp

LATEST_INVOICES = 3


@bp.get("/tenants/<slug>")
@needs(Permission.READ_TENANTS)
def tenant(slug: str) -> Response:
    """The state of one tenant, live."""
    session, now = db.session(), utc_now()
    found = tenants.by_slug(session, slug)
    shown = meters.current(session, found, now=now)
    subscription = subscriptions.live(session, found.id)
    return render(
        "provider/tenant.html",
        tenant=found,
        now=now,
        m=shown,
        crossed=thresholds.of_period(session, found.id, shown.period.first_on) if shown.period else [],
        refused=refused.count_in_period(found, shown.period.start) if shown.period else 0,
        purse=prepaid.purse(session.connection(), found.id),
        balances=ledger.balances_of(session, found.id),
        invoices=invoices.find(
            session, InvoiceQuery(tenant_id=found.id), today=now.date(), most=LATEST_INVOICES
        ).invoices,
        upcoming=upcoming.next_invoice(session, found, branding.terms(), now=now),
        title_of=invoice_text.title_of,
        heading_level=2,  # the page has its own head
        offer=offers.open_of(session, found.id),
        subscription=subscription,
        steps=timeline.of_tenant(session, found.id),
        trial_ends_at=life.trial_ends_at(subscription) if subscription else None,
        people=accounts.users_of(session, found.id),
        role_name=role_name,
        latest=[in_words(entry) for entry in reading.latest(session, subject=f"tenant:{slug}")],
        stream_url=url_for("provider.tenant_meters_stream", slug=slug),
        poll_url=url_for("provider.tenant_meters", slug=slug),
    )

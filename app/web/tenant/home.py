"""Where a tenant's user arrives: what is left, and what was used lately."""

from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from flask import Response, g, render_template
from markupsafe import Markup

from app import branding
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.billing import standing
from app.domain.changes import offers, upcoming
from app.domain.metering import history, meters, prepaid, thresholds
from app.domain.metering.history import UsageQuery
from app.domain.tenants.models import Tenant
from app.web import drawn, refused
from app.web.guards import may, needs
from app.web.kit.limits import limits_of
from app.web.kit.render import render
from app.web.tenant import bp

CHART_DAYS = 30
LATEST = 5


class _Home(NamedTuple):
    who_name: str
    today: date  # the tenant's own
    content: Markup
    bill: Markup  # for those who may read what is billed
    lately: Markup


@bp.get("", strict_slashes=False)
@needs(Permission.READ_USAGE)
def home() -> Response:
    """The meters, the next invoice, the last thirty days of the first meter, and the latest records."""
    tenant_id = g.tenant_id
    found = drawn.once(tenant_id, "home", lambda now: _draw(tenant_id, now))
    offer_id = offers.open_id(tenant_id)  # it moves no meter, so it is no part of the drawing
    offer = offers.get(db.session(), tenant_id, offer_id) if offer_id else None
    reads_bills = may(Permission.READ_BILLING)
    return render(
        "tenant/home.html",
        **found._asdict(),
        overdue=standing.overdue_sums(tenant_id, found.today) if reads_bills else {},
        purse=prepaid.purse(db.session.connection(), tenant_id) if reads_bills else None,
        offer=offer,
        offer_limits=limits_of(offer.package.revision) if offer else [],
    )


def _draw(tenant_id: int, now: datetime) -> _Home:
    session = db.session()
    tenant = session.get_one(Tenant, tenant_id)
    zone = ZoneInfo(tenant.timezone)
    today = now.astimezone(zone).date()
    found = meters.current(session, tenant, now=now)
    first = next((meter for meter in found.meters if meter.kind == "metered"), None)
    days = (
        history.daily_totals(session, tenant_id, first.resource_code, today - timedelta(days=CHART_DAYS - 1), today)
        if first
        else []
    )
    content = render_template(
        "partials/tenant_home.html",
        m=found,
        now=now,
        tenant=tenant,
        refused=refused.count_in_period(tenant, found.period.start) if found.period else 0,
    )
    bill = render_template(
        "partials/next_invoice.html",
        tenant=tenant,
        upcoming=upcoming.next_invoice(session, tenant, branding.terms(), now=now),
    )
    lately = render_template(
        "partials/tenant_lately.html",
        tenant=tenant,
        crossed=thresholds.of_period(session, tenant.id, found.period.first_on) if found.period else [],
        charted=first,
        days=days,
        rows=history.find_usage(session, tenant_id, UsageQuery(), zone=zone, most=LATEST).rows,
    )
    return _Home(tenant.name, today, *(Markup(each) for each in (content, bill, lately)))  # noqa: S704  templates, escaped by Jinja

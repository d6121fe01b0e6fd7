"""Where a tenant's user arrives: what is left, and what was used lately."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from flask import Response, g

from app.core.clock import utc_now
from app.db import db
from app.domain.metering import history, meters, thresholds
from app.domain.metering.history import UsageQuery
from app.domain.tenants.models import Tenant
from app.web.kit.render import render
from app.web.tenant import bp

CHART_DAYS = 30
LATEST = 5


@bp.get("", strict_slashes=False)
def home() -> Response:
    """The meters, the last thirty days of the first of them, and the latest records."""
    session, now = db.session(), utc_now()
    tenant = session.get_one(Tenant, g.tenant_id)
    zone = ZoneInfo(tenant.timezone)
    today = now.astimezone(zone).date()
    found = meters.current(session, tenant, now=now)
    first = next((meter for meter in found.meters if meter.kind == "metered"), None)
    days = (
        history.daily_totals(session, g.tenant_id, first.resource_code, today - timedelta(days=CHART_DAYS - 1), today)
        if first
        else []
    )
    latest = history.find_usage(session, g.tenant_id, UsageQuery(), zone=zone, most=LATEST)
    return render(
        "tenant/home.html",
        m=found,
        now=now,
        tenant=tenant,
        crossed=thresholds.of_period(session, tenant.id, found.period.first_on) if found.period else [],
        charted=first,
        days=days,
        rows=latest.rows,
    )

"""A tenant's usage records of a period, as the lines of its invoices sum them."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from flask import Response, request

from app.db import db
from app.domain.catalog import service as catalog
from app.domain.metering import history
from app.domain.metering.history import UsageQuery
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.web.kit.formats import period_text
from app.web.kit.paging import decode_cursor
from app.web.kit.render import render
from app.web.provider import bp


@bp.get("/tenants/<slug>/usage")
def tenant_usage(slug: str) -> Response:
    """Newest first, of one period and one resource where they are named."""
    session = db.session()
    found = tenants.by_slug(session, slug)
    metered = {row.code: row for row in catalog.list_resources(session) if row.kind == "metered"}
    resource = metered.get(request.args.get("resource", ""))
    period_on, subscription = _day(request.args.get("period", "")), subscriptions.live(session, found.id)
    period = subscriptions.period_on_day(subscription, period_on) if subscription and period_on else None
    query = UsageQuery(resource=resource.code if resource else "", period_on=period.first_on if period else period_on)
    keys = (decode_cursor(request.args.get(name), datetime, int) for name in ("after", "before"))
    after, before = ((key[0], key[1]) if key else None for key in keys)
    return render(
        "provider/tenant_usage.html",
        block="usage_rows",
        tenant=found,
        resource=resource,
        period=period_text(period.first_on, period.end_on) if period else "",
        page=history.find_usage(session, found.id, query, zone=ZoneInfo(found.timezone), after=after, before=before),
        totals=history.totals(session, found.id, query),
    )


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None

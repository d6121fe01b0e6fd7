"""Itemised usage: filtered, paged, charted, exported."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, request
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.periods import Period
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Resource
from app.domain.metering import history, meters
from app.domain.metering.history import UsageQuery, UsageRow
from app.domain.metering.meters import MeterView
from app.domain.metering.reach import MOST_READ
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from app.keyset import Page
from app.web.guards import needs
from app.web.kit.csv import csv_response
from app.web.kit.formats import period_text
from app.web.kit.i18n import gettext
from app.web.kit.paging import newest_first_key
from app.web.kit.phones import searched_phone
from app.web.kit.render import render
from app.web.tenant import bp

CHART_DAYS = 30
MOST_CHART_DAYS = 92
MAX_TEXT = 64
YEARS = range(2000, 2201)
DIRECTIONS = ("outbound", "inbound", "internal")
CSV_HEADER = (
    "time", "resource", "direction", "from", "to", "measured", "counted", "from allowance", "carried over", "beyond",
    "beyond as", "late", "source", "id", "reversal",
)  # fmt: skip


@bp.get("/usage")
@needs(Permission.READ_USAGE)
def usage() -> Response:
    """Newest first; typing in the filter swaps only the rows, and the address keeps all of it."""
    session = db.session()
    tenant = session.get_one(Tenant, g.tenant_id)
    zone = ZoneInfo(tenant.timezone)
    resources = _metered()
    query, problems = _query(resources)
    query, period = _in_period(query)
    page: Page[UsageRow] = Page([]) if problems else _page(query, zone)
    meter = None if problems else _meter(session, tenant, query)
    charted = next((resource for resource in resources if resource.code == query.resource), resources[0])
    return render(
        "tenant/usage.html",
        block="usage_rows",
        status=422 if problems else 200,
        tenant=tenant,
        page=page,
        totals=history.totals(session, g.tenant_id, query) if page.rows else [],
        meter=meter,
        given=_given(),
        filters={name: value for name, value in _given().items() if value},
        problems=problems,
        period=period_text(period.first_on, period.end_on) if period else "",
        resource_choices=[(resource.code, resource.name) for resource in resources],
        charted=charted,
        days=_days(charted, query, period, utc_now().astimezone(zone).date()) if page.rows else [],
    )


@bp.get("/usage.csv")
@needs(Permission.READ_USAGE)
def usage_csv() -> Response:
    """Every row that fits the filters, written while it is read; the page with its 422 where they cannot be read."""
    query, problems = _query(_metered())
    if problems:
        return usage()
    query, _ = _in_period(query)
    tenant = db.session.get_one(Tenant, g.tenant_id)
    zone, slug = ZoneInfo(tenant.timezone), tenant.slug
    return csv_response(f"usage-{slug}.csv", CSV_HEADER, _csv_rows(g.tenant_id, query, zone))


def _meter(session: Session, tenant: Tenant, query: UsageQuery) -> MeterView | None:
    """What all records of the query together are taken from: a limited resource of the running period."""
    if query != UsageQuery(resource=query.resource, period_on=query.period_on, period_end=query.period_end):
        return None
    found = meters.current(session, tenant, now=utc_now())
    if found.period is None or found.period.first_on != query.period_on:
        return None
    limited = (each for each in found.meters if each.included is not None)
    return next((each for each in limited if each.resource_code == query.resource), None)


def _metered() -> list[Resource]:
    return [resource for resource in catalog.list_resources(db.session()) if resource.kind == "metered"]


def _page(query: UsageQuery, zone: ZoneInfo) -> Page[UsageRow]:
    after, before = newest_first_key("after"), newest_first_key("before")
    return history.find_usage(
        db.session(), g.tenant_id, query, zone=zone, after=after, before=before, most_read=MOST_READ
    )


def _csv_rows(tenant_id: int, query: UsageQuery, zone: ZoneInfo) -> Iterator[tuple[Any, ...]]:
    for row in history.every_usage(db.session(), tenant_id, query, zone=zone):
        record = row.record
        yield (
            record.occurred_at.astimezone(zone).isoformat(timespec="seconds"),
            record.resource_code,
            record.direction,
            record.caller,
            record.callee,
            record.measured,
            record.quantity,
            record.from_allowance,
            record.from_carried,
            record.beyond,
            record.beyond_as,
            "late" if record.late else "",
            row.source_code,
            record.external_id,
            record.reversal_reason or (gettext("reversed") if row.reversed_for else ""),
        )


def _given() -> dict[str, str]:
    """The filters as they were typed."""
    names = ("resource", "direction", "number", "from", "to", "period")
    return {name: request.args.get(name, "").replace("\0", "")[:MAX_TEXT].strip() for name in names}


def _query(resources: list[Resource]) -> tuple[UsageQuery, dict[str, str]]:
    """The filters as a query, and a message for each one that cannot be read."""
    given, problems = _given(), {}
    days: dict[str, date | None] = {}
    for name in ("from", "to", "period"):
        try:
            days[name] = _day(given[name])
        except ValueError:
            days[name], problems[name] = None, gettext("Write the day as year-month-day, such as 2026-11-30.")
    choices = {"resource": [resource.code for resource in resources], "direction": DIRECTIONS}
    problems |= {
        name: gettext("Choose one of the list.") for name in choices if given[name] not in ("", *choices[name])
    }
    if days["from"] and days["to"] and days["from"] > days["to"]:
        problems["to"] = gettext("The last day lies before the first.")
    query = UsageQuery(
        resource=given["resource"],
        direction=given["direction"],
        number=searched_phone(given["number"]),
        first_day=days["from"],
        last_day=days["to"],
        period_on=days["period"],
    )
    return query, problems


def _day(text: str) -> date | None:
    day = date.fromisoformat(text) if text else None
    if day and day.year not in YEARS:
        raise ValueError("a year that no record has")
    return day


def _in_period(query: UsageQuery) -> tuple[UsageQuery, Period | None]:
    """The query for the whole period that its day lies in, and that period."""
    subscription = subscriptions.live(db.session(), g.tenant_id) if query.period_on else None
    if subscription is None or query.period_on is None:
        return query, None
    period = subscriptions.period_on_day(subscription, query.period_on)
    return replace(query, period_on=period.first_on, period_end=period.end_on), period


def _days(resource: Resource, query: UsageQuery, period: Period | None, today: date) -> list[tuple[date, int]]:
    """The chart's days: the filtered range or period, else the last thirty days."""
    last = min(query.last_day or (period.end_on - timedelta(days=1) if period else today), today)
    first = query.first_day or (period.first_on if period else last - timedelta(days=CHART_DAYS - 1))
    first = max(first, last - timedelta(days=MOST_CHART_DAYS - 1))
    if first > last:
        return []
    return history.daily_totals(db.session(), g.tenant_id, resource.code, first, last)

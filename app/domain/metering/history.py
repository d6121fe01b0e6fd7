"""The itemised history: records by filter, newest first, and daily totals out of the rollup."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, func, literal_column, or_, select
from sqlalchemy.orm import Session, aliased

from app.core.errors import NotFound
from app.core.periods import local_midnight
from app.domain.accounts.models import Source
from app.domain.catalog.models import Resource
from app.domain.metering.models import MOST_USED, Meter, UsageDay, UsageRecord
from app.domain.metering.reach import MOST_READ, reached_day
from app.keyset import Cursor, Page, read_page

PAGE_SIZE = 50
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
CHUNK = 1_000
_NEGATIVE = aliased(UsageRecord)
_LISTED = (
    select(UsageRecord, Resource, Source.code, func.coalesce(_NEGATIVE.reversal_reason, ""))
    .join(Resource, Resource.code == UsageRecord.resource_code)
    .join(Source, Source.id == UsageRecord.source_id)
    .outerjoin(_NEGATIVE, and_(_NEGATIVE.tenant_id == UsageRecord.tenant_id, _NEGATIVE.reverses_id == UsageRecord.id))
)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """What to list. Days are the tenant's own, both included; `since`/`until` are instants, half-open."""

    resource: str = ""
    direction: str = ""
    number: str = ""  # part of the calling or called number
    first_day: date | None = None
    last_day: date | None = None
    since: datetime | None = None
    until: datetime | None = None
    period_on: date | None = None  # counted in this period, whenever it happened before its end
    period_end: date | None = None  # the first day of the next period, where it is known

    def times(self, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
        """From when and until when what fits happened; None: whenever."""
        since = local_midnight(self.first_day, zone) if self.first_day else self.since
        until = local_midnight(self.last_day + DAY, zone) if self.last_day else self.until
        if self.period_end:  # a day more, because the days of a period may have been those of another time zone
            ended = local_midnight(self.period_end + DAY, zone)
            until = min(until, ended) if until else ended
        return since, until

    @property
    def is_search(self) -> bool:
        """True where much may have to be read for a page: no index knows what fits."""
        return bool(self.direction or self.number or self.period_on or self.resource == MOST_USED)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """A record with the words to show it. `reversed_for` is why it was taken back, empty where it was not."""

    record: UsageRecord
    resource: Resource
    source_code: str
    reversed_for: str = ""


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """The base units of a resource that were counted, and in how many records where that is known."""

    resource: Resource
    quantity: int
    records: int | None


def find_usage(
    session: Session,
    tenant_id: int,
    query: UsageQuery,
    *,
    zone: ZoneInfo,
    after: Cursor | None = None,
    before: Cursor | None = None,
    most: int = PAGE_SIZE,
    most_read: int | None = None,
) -> Page[UsageRow]:
    """One page of the records that fit, by keyset: the last page costs what the first does. One statement.

    `after` a row come the older ones; `before` a row the newer ones next to it. With `most_read` a page of a search
    ends after about so many records, however few of them fit, and the next one goes on there; a second statement.
    """
    record, statement = UsageRecord, _select(tenant_id, query, zone)
    backwards = before is not None and after is None
    edge = _edge(session, tenant_id, query, zone, after or before, backwards, most_read) if most_read else None
    if edge:
        statement = statement.where(record.occurred_at < edge if backwards else record.occurred_at >= edge)
    found = read_page(session, statement, record.occurred_at, record.id, after=after, before=before, most=most)
    page = Page([UsageRow(*row) for row in found.rows], found.older, found.newer)
    if edge and backwards:
        return replace(page, newer=page.newer or (edge, 0))
    if edge and page.older is None:
        return replace(page, older=(edge, 0), searched_to=edge)
    return page


def record_of(session: Session, tenant_id: int, record_id: int) -> UsageRow:
    """One record of the tenant. Raises NotFound (`unknown_record`)."""
    statement = _select(tenant_id, UsageQuery(), ZoneInfo("UTC"))
    found = session.execute(statement.where(UsageRecord.id == record_id)).first()
    if found is None:
        raise NotFound("unknown_record", "The tenant has no such record.")
    return UsageRow(*found)


def every_usage(session: Session, tenant_id: int, query: UsageQuery, *, zone: ZoneInfo) -> Iterator[UsageRow]:
    """All records that fit, newest first, read in chunks so that an export of any length stays small in memory.

    Closes `session` after each chunk: however slowly the rows are taken, no transaction waits for the taker.
    """
    after: Cursor | None = None
    while True:
        page = find_usage(session, tenant_id, query, zone=zone, after=after, most=CHUNK, most_read=MOST_READ)
        session.close()
        yield from page.rows
        if page.older is None:
            return
        after = page.older


def daily_totals(session: Session, tenant_id: int, resource: str, first: date, last: date) -> list[tuple[date, int]]:
    """Base units used on each day from `first` to `last`, both included; days without usage are 0. One statement."""
    found = {
        row.day: row.quantity
        for row in session.execute(
            select(UsageDay.day, UsageDay.quantity).where(
                UsageDay.tenant_id == tenant_id,
                UsageDay.resource_code == resource,
                UsageDay.day >= first,
                UsageDay.day <= last,
            )
        )
    }
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [(day, found.get(day, 0)) for day in days]


def totals(session: Session, tenant_id: int, query: UsageQuery) -> list[UsageTotal]:
    """What all records that fit sum to, per resource in display order; empty where only the records could tell.

    One statement over the meters (a period) or the daily rollup (days): records are never summed, so a filter
    by direction, number or instant has no total.
    """
    days, records = query.first_day or query.last_day, query.direction or query.number or query.since or query.until
    if records or (query.period_on and days):
        return []
    return _period_totals(session, tenant_id, query) if query.period_on else _day_totals(session, tenant_id, query)


def _period_totals(session: Session, tenant_id: int, query: UsageQuery) -> list[UsageTotal]:
    found = (
        select(Resource, Meter.used)
        .join(Meter, Meter.resource_code == Resource.code)
        .where(Meter.tenant_id == tenant_id, Meter.period_on == query.period_on)
        .order_by(Resource.position, Resource.code)
    )
    if query.resource:
        found = found.where(Meter.resource_code == query.resource)
    return [UsageTotal(resource, used, None) for resource, used in session.execute(found)]


def _day_totals(session: Session, tenant_id: int, query: UsageQuery) -> list[UsageTotal]:
    day = UsageDay
    found = (
        select(Resource, func.sum(day.quantity), func.sum(day.records))
        .join(day, day.resource_code == Resource.code)
        .where(day.tenant_id == tenant_id, *_days_fit(query))
        .group_by(Resource.code)
        .order_by(Resource.position, Resource.code)
    )
    return [UsageTotal(resource, int(quantity), int(records)) for resource, quantity, records in session.execute(found)]


def _select(tenant_id: int, query: UsageQuery, zone: ZoneInfo) -> Select[UsageRecord, Resource, str, str]:
    return _LISTED.where(UsageRecord.tenant_id == tenant_id, *_fits(query, zone))


def _fits(query: UsageQuery, zone: ZoneInfo) -> Iterator[ColumnElement[bool]]:
    record, (since, until) = UsageRecord, query.times(zone)
    if query.resource:
        yield record.resource_code == query.resource
    if query.resource and query.resource != MOST_USED:  # says to the database that the index for rare ones will do
        yield record.resource_code != literal_column(f"'{MOST_USED}'")
    if query.direction:
        yield record.direction == query.direction
    if query.number:
        yield _has_number(query.number)
    if since:
        yield record.occurred_at >= since
    if until:
        yield record.occurred_at < until
    if query.period_on:
        yield record.period_on == query.period_on


def _edge(
    session: Session,
    tenant_id: int,
    query: UsageQuery,
    zone: ZoneInfo,
    cursor: Cursor | None,
    backwards: bool,
    most_read: int,
) -> datetime | None:
    """Up to where a page of a search reads; None: to the end."""
    if not query.is_search:
        return None
    since, until = query.times(zone)
    start = cursor[0] if cursor else until
    try:
        # What happened at the cursor itself was read: a page that ended at midnight goes on with the day before.
        day = (start if backwards else start - INSTANT).astimezone(zone).date() if start else None
    except OverflowError:
        return None
    reached = reached_day(session, tenant_id, day, most_read, backwards=backwards)
    if reached is None:
        return None
    edge = local_midnight(reached + DAY if backwards else reached, zone)
    beyond = (until and edge >= until) if backwards else (since and edge <= since)
    return None if beyond else edge


def _days_fit(query: UsageQuery) -> Iterator[ColumnElement[bool]]:
    if query.resource:
        yield UsageDay.resource_code == query.resource
    if query.first_day:
        yield UsageDay.day >= query.first_day
    if query.last_day:
        yield UsageDay.day <= query.last_day


def _has_number(text: str) -> ColumnElement[bool]:
    part = text.lstrip("+").replace("%", "").replace("_", "")
    return or_(UsageRecord.caller.contains(part), UsageRecord.callee.contains(part))

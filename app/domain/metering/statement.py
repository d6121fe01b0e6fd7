"""A tenant's usage statement of one period: what applied, what was used, what lay beyond and what that costs."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from babel.numbers import get_currency_precision
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.money import MICROS, price_of
from app.core.periods import Period
from app.domain.catalog import service as catalog
from app.domain.catalog.models import PackageRevision
from app.domain.metering import history, meters
from app.domain.metering.history import UsageQuery, UsageRow
from app.domain.metering.meters import MeterView
from app.domain.metering.models import Meter, MeterBeyond
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants.models import Tenant

MOST_ROWS = 20_000
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class PackageInForce:
    """A package the tenant was on in the period, with its last content there. `since` is the tenant's own day."""

    name: str
    revision: int
    since: date


@dataclass(frozen=True, slots=True)
class BeyondPart:
    """Base units that the limit did not cover, at one price; `amount_micros` is 0 unless they are charged.

    The amount is that of the quantity as a whole, rounded once to the currency's minor unit, and what lies beyond
    in all is the sum of such amounts. Records are not rounded one by one: their sum would differ.
    """

    beyond_as: str  # charge, notify or block
    price_micros: int
    quantity: int
    amount_micros: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One resource: its meter in the period, and what lay beyond."""

    meter: MeterView
    beyond: tuple[BeyondPart, ...]

    @property
    def amount_micros(self) -> int:
        """What is charged for this resource."""
        return sum(part.amount_micros for part in self.beyond)


@dataclass(frozen=True, slots=True)
class Statement:
    """The statement. `rows` are the newest records of the period, at most what was asked for, of `records` in all."""

    tenant: Tenant
    period: Period
    so_far: bool
    last_day: date  # the last day it speaks of: the period's last, or today while it runs
    currency: str
    packages: tuple[PackageInForce, ...]
    lines: tuple[StatementLine, ...]
    daily: MeterView | None  # the resource whose daily totals `days` are, in base units
    days: tuple[tuple[date, int], ...]
    rows: tuple[UsageRow, ...]
    records: int

    @property
    def made_at(self) -> datetime:
        """The document's date, its last day: the same figures make the same document."""
        return datetime.combine(self.last_day, time(), UTC)

    @property
    def amount_micros(self) -> int:
        """What is charged beyond the packages' own prices."""
        return sum(line.amount_micros for line in self.lines)


def build(
    session: Session,
    tenant: Tenant,
    subscription: Subscription,
    period: Period,
    *,
    now: datetime,
    most: int = MOST_ROWS,
) -> Statement:
    """The statement of `period`, which runs as long as `now` lies in it. The number of statements sent is fixed
    but for one a package change."""
    zone = ZoneInfo(tenant.timezone)
    in_force = _in_force(session, subscription, period, now)
    revision = in_force[-1][1] if in_force else subscription.package.revision
    so_far = now < period.end
    last_day = now.astimezone(zone).date() if so_far else period.end_on - timedelta(days=1)
    # What is held is known as of now: a closed period's statement would change with it.
    kinds = ("metered", "allocated") if so_far else ("metered",)
    views = [view for view in meters.in_period(session, subscription, revision, period) if view.kind in kinds]
    lines = _lines(views, _beyond(session, tenant.id, period))
    daily = next((line.meter for line in lines if line.meter.kind == "metered"), None)
    query = UsageQuery(period_on=period.first_on, period_end=period.end_on)
    return Statement(
        tenant=tenant,
        period=period,
        so_far=so_far,
        last_day=last_day,
        currency=revision.currency,
        packages=tuple(_named(segment, content, period, zone) for segment, content in in_force),
        lines=lines,
        daily=daily,
        days=_days(session, tenant.id, daily, period.first_on, last_day),
        rows=tuple(history.find_usage(session, tenant.id, query, zone=zone, most=most).rows),
        records=_records(session, tenant.id, period),
    )


def _in_force(
    session: Session, subscription: Subscription, period: Period, now: datetime
) -> list[tuple[SubscriptionSegment, PackageRevision]]:
    """The packages of the period, oldest first, each with its revision at the end of its time there."""
    found = []
    for segment in reversed(subscriptions.segments(session, subscription.tenant_id)):
        until = min(segment.ended_at or period.end, period.end)
        if segment.subscription_id == subscription.id and max(segment.started_at, period.start) < until:
            found.append((segment, _content(session, segment, min(now, until - INSTANT))))
    return found


def _content(session: Session, segment: SubscriptionSegment, moment: datetime) -> PackageRevision:
    """A subscription may have been entered with a start before its package was; then the first revision applied."""
    return catalog.revision_at(session, segment.package_id, moment) or catalog.revisions(session, segment.package)[-1]


def _named(segment: SubscriptionSegment, revision: PackageRevision, period: Period, zone: ZoneInfo) -> PackageInForce:
    since = max(segment.started_at.astimezone(zone).date(), period.first_on)
    return PackageInForce(revision.name, revision.number, since)


def _records(session: Session, tenant_id: int, period: Period) -> int:
    key = (Meter.tenant_id == tenant_id, Meter.period_on == period.first_on)
    return int(session.scalar(select(func.sum(Meter.records)).where(*key)) or 0)


def _beyond(session: Session, tenant_id: int, period: Period) -> dict[str, list[MeterBeyond]]:
    found = defaultdict(list)
    for row in session.scalars(
        select(MeterBeyond)
        .where(
            MeterBeyond.tenant_id == tenant_id,
            MeterBeyond.period_on == period.first_on,
            MeterBeyond.quantity != 0,
        )
        .order_by(MeterBeyond.resource_code, MeterBeyond.beyond_as, MeterBeyond.price_micros)
    ):
        found[row.resource_code].append(row)
    return found


def _lines(views: list[MeterView], beyond: dict[str, list[MeterBeyond]]) -> tuple[StatementLine, ...]:
    return tuple(
        StatementLine(view, tuple(_part(view, found) for found in beyond.get(view.resource_code, ()))) for view in views
    )


def _part(view: MeterView, found: MeterBeyond) -> BeyondPart:
    unit_micros = minor_unit_micros(view.currency)
    charged = found.beyond_as == "charge"
    amount = price_of(found.quantity, found.price_micros, view.factor, unit_micros) if charged else 0
    return BeyondPart(found.beyond_as, found.price_micros, found.quantity, amount)


def minor_unit_micros(currency: str) -> int:
    """What the smallest coin of a currency is worth: 10,000 micros for EUR, 1,000,000 for JPY. Source: ISO 4217."""
    return int(MICROS // 10 ** get_currency_precision(currency))


def _days(
    session: Session, tenant_id: int, daily: MeterView | None, first: date, last: date
) -> tuple[tuple[date, int], ...]:
    if daily is None:
        return ()
    return tuple(history.daily_totals(session, tenant_id, daily.resource_code, first, last))

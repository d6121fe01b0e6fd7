"""What is carried into a period: worked out when its meter opens, and again when an earlier period changes.

The rule is that of the limit in force as the period begins, what was left that of the limit in force as it ended:
both are read from the segments and revisions of the past, nothing is copied.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, and_, or_, select, update

from app.core.periods import Interval, Period, period_days, period_on
from app.domain.catalog.models import Package, PackageLimit, PackageRevision
from app.domain.metering.models import Meter
from app.domain.metering.rollover import PastPeriod, Rule, carried_in
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants.models import Tenant

MOST_PERIODS = 240  # looked back over; older ones can no longer matter
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class MeterKey:
    """Which meter."""

    tenant_id: int
    resource_code: str
    period_on: date


def carry(connection: Connection, key: MeterKey) -> int:
    """Work out what is carried into a meter that is there, and keep it; returns it."""
    carried = _carried(connection, key, lock=True)
    connection.execute(
        update(Meter)
        .where(
            Meter.tenant_id == key.tenant_id,
            Meter.resource_code == key.resource_code,
            Meter.period_on == key.period_on,
            Meter.carried_in != carried,
        )
        .values(carried_in=carried, version=Meter.version + 1)
    )
    return carried


def carry_on(connection: Connection, key: MeterKey) -> dict[date, int]:
    """Work out again what later meters carry in, because the one of `key` changed; returns it by period."""
    later = connection.scalars(
        select(Meter.period_on)
        .where(
            Meter.tenant_id == key.tenant_id,
            Meter.resource_code == key.resource_code,
            Meter.period_on > key.period_on,
        )
        .order_by(Meter.period_on)
    ).all()
    return {first_on: carry(connection, replace(key, period_on=first_on)) for first_on in later}


def carried_into(connection: Connection, key: MeterKey) -> int:
    """What would be carried into a meter that is not there yet, for a look at it."""
    return _carried(connection, key, lock=False)


def recount(connection: Connection) -> Iterator[tuple[MeterKey, int, int]]:
    """Every meter that anything is or may be carried into: what comes into it, worked out anew, and what is kept."""
    rolled_over = select(PackageLimit.resource_code).where(PackageLimit.rollover_periods > 0)
    either = or_(Meter.carried_in != 0, Meter.resource_code.in_(rolled_over))
    series = select(Meter.tenant_id, Meter.resource_code).where(either).distinct()
    for tenant_id, resource_code in connection.execute(series).all():
        yield from _recount(connection, MeterKey(tenant_id, resource_code, date.max))


def _recount(connection: Connection, last: MeterKey) -> Iterator[tuple[MeterKey, int, int]]:
    subscribers, kept = _subscribers(connection, last.tenant_id), _meters(connection, last)
    used = {first_on: row.used for first_on, row in kept.items()}
    pasts: dict[int, _Past] = {}
    for first_on, row in kept.items():
        expected = 0
        if subscriber := _subscriber_of(subscribers, first_on):
            subscription_id = subscriber.subscription_id
            if subscription_id not in pasts:
                pasts[subscription_id] = _read_past(connection, last, subscription_id)
            expected = _add_up(subscriber, pasts[subscription_id], first_on, lambda: used)
        yield replace(last, period_on=first_on), expected, row.carried_in


@dataclass(frozen=True, slots=True)
class _Past:
    """Which limits of a resource were in force when, for one tenant: read in three statements."""

    segments: Sequence[Row[datetime, datetime | None, int]]
    revisions: Sequence[Row[int, datetime, int | None, int, int | None]]  # newest first; no limit: all None

    def limit_at(self, moment: datetime) -> tuple[Rule, int | None]:
        """The rollover rule and what was included; a resource that is not limited leaves nothing over."""
        package_id = next(
            (
                row.package_id
                for row in self.segments
                if row.started_at <= moment and (row.ended_at is None or moment < row.ended_at)
            ),
            None,
        )
        found = [row for row in self.revisions if row.package_id == package_id]
        # A subscription may have been entered with a start before its package was; then the first revision applied.
        row = next((row for row in found if row.published_at <= moment), found[-1] if found else None)
        if row is None or row.rollover_periods is None:
            return Rule(), None
        return Rule(row.rollover_periods, row.rollover_cap), row.included


@dataclass(frozen=True, slots=True)
class _Subscriber:
    subscription_id: int
    starts_on: date
    anchor_on: date
    started_at: datetime
    interval: Interval
    zone: ZoneInfo

    def has_period(self, first_on: date) -> bool:
        """Whether that day begins a period of the subscription, its trial included."""
        first, end = period_days(self.anchor_on, self.interval, first_on)
        return first == first_on and end > self.starts_on

    def periods_before(self, first_on: date) -> list[Period]:
        """The periods of the subscription that end by `first_on`, oldest first."""
        found: list[Period] = []
        day = first_on - timedelta(days=1)
        while day >= self.anchor_on and len(found) < MOST_PERIODS:
            found.append(period_on(self.anchor_on, self.interval, self.zone, day))
            day = found[-1].first_on - timedelta(days=1)
        return found[::-1]


def _carried(connection: Connection, key: MeterKey, *, lock: bool) -> int:
    subscriber = _subscriber_of(_subscribers(connection, key.tenant_id), key.period_on)
    if subscriber is None or key.period_on <= subscriber.anchor_on:
        return 0
    past = _read_past(connection, key, subscriber.subscription_id)
    return _add_up(subscriber, past, key.period_on, lambda: _used(connection, key, lock))


def _add_up(subscriber: _Subscriber, past: _Past, first_on: date, used: Callable[[], dict[date, int]]) -> int:
    """What comes into the period from `first_on`; `used` by period is asked only where anything may be carried over."""
    periods = subscriber.periods_before(first_on)
    rule = past.limit_at(periods[-1].end)[0] if periods else Rule()
    if not rule.periods:
        return 0
    spent = used()
    return carried_in(
        (
            PastPeriod(
                past.limit_at(max(period.start, subscriber.started_at))[0],
                past.limit_at(period.end - INSTANT)[1],
                spent.get(period.first_on, 0),
            )
            for period in periods
        ),
        rule,
    )


def _subscriber_of(subscribers: Sequence[_Subscriber], first_on: date) -> _Subscriber | None:
    """Whose period begins on that day; one that has ended carried over what it did all the same."""
    return next((each for each in subscribers if each.has_period(first_on)), None)


def _subscribers(connection: Connection, tenant_id: int) -> list[_Subscriber]:
    """The subscriptions of a tenant, the live one first and then the newest."""
    rows = connection.execute(
        select(
            Subscription.id,
            Subscription.starts_on,
            Subscription.anchor_on,
            Subscription.started_at,
            PackageRevision.interval,
            Tenant.timezone,
        )
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .join(Package, Package.id == Subscription.package_id)
        .join(PackageRevision, PackageRevision.id == Package.revision_id)
        .where(Subscription.tenant_id == tenant_id)
        .order_by(Subscription.ended_at.is_not(None), Subscription.started_at.desc(), Subscription.id.desc())
    ).all()
    return [
        _Subscriber(
            row.id, row.starts_on, row.anchor_on, row.started_at, cast(Interval, row.interval), ZoneInfo(row.timezone)
        )
        for row in rows
    ]


def _read_past(connection: Connection, key: MeterKey, subscription_id: int) -> _Past:
    segment = SubscriptionSegment
    segments = connection.execute(
        select(segment.started_at, segment.ended_at, segment.package_id).where(
            segment.tenant_id == key.tenant_id, segment.subscription_id == subscription_id
        )
    ).all()
    revision, limit = PackageRevision, PackageLimit
    revisions = connection.execute(
        select(revision.package_id, revision.published_at, limit.included, limit.rollover_periods, limit.rollover_cap)
        .outerjoin(limit, and_(limit.revision_id == revision.id, limit.resource_code == key.resource_code))
        .where(revision.package_id.in_({row.package_id for row in segments}))
        .order_by(revision.published_at.desc(), revision.number.desc())
    ).all()
    return _Past(segments, revisions)


def _used(connection: Connection, key: MeterKey, lock: bool) -> dict[date, int]:
    """What was used in the periods before, locked: nobody may add to them while this is worked out."""
    return {period_on: row.used for period_on, row in _meters(connection, key, lock).items()}


def _meters(connection: Connection, key: MeterKey, lock: bool = False) -> dict[date, Row[date, int, int]]:
    """Used and carried in by period, of those before the one of `key`, oldest first."""
    found = (
        select(Meter.period_on, Meter.used, Meter.carried_in)
        .where(
            Meter.tenant_id == key.tenant_id,
            Meter.resource_code == key.resource_code,
            Meter.period_on < key.period_on,
        )
        .order_by(Meter.period_on)
    )
    rows = connection.execute(found.with_for_update() if lock else found)
    return {row.period_on: row for row in rows}

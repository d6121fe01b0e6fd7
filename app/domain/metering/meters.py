"""What is left: the meters of a tenant at this moment, read through subscription → package → current revision."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Unpack
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from app.core.forecast import PACE_DAYS, Forecast, forecast
from app.core.periods import Period
from app.domain.catalog.models import Package, PackageLimit, PackageRevision, Resource
from app.domain.metering import opening
from app.domain.metering.models import NO_PERIOD, Meter, UsageDay
from app.domain.metering.opening import MeterKey
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from app.driver import read_once

NEAR_PERCENT = 80
_VIEWED = (  # what `_view` reads of a row
    Resource.code,
    Resource.name,
    Resource.kind,
    Resource.unit_one,
    Resource.unit_many,
    Resource.factor,
    PackageLimit.included,
    PackageLimit.at_limit,
    PackageLimit.overage_price_micros,
    Meter.carried_in,
    Meter.used,
    Meter.on_hold,
)


_ANY_LIMIT = aliased(PackageLimit)
_ROLLS_OVER = (
    exists()
    .where(_ANY_LIMIT.resource_code == Resource.code, _ANY_LIMIT.rollover_periods > 0)
    .correlate(Resource)
    .label("rolls_over")
)


@dataclass(frozen=True, slots=True)
class MeterView:
    """One resource of one tenant in one period. Quantities in base units; `included` None is unlimited."""

    resource_code: str
    name: str
    kind: str
    unit_one: str
    unit_many: str
    factor: int
    included: int | None
    carried_in: int
    used: int
    on_hold: int
    at_limit: str
    overage_price_micros: int
    currency: str
    forecast: Forecast | None = None  # of what is metered, limited and not used up, in the running period

    @property
    def remaining(self) -> int | None:
        """Included + carried in − used − on hold, never below zero; None is unlimited."""
        if self.included is None:
            return None
        return max(0, self.included + self.carried_in - self.taken)

    @property
    def taken(self) -> int:
        """Used, or on hold for calls in progress."""
        return self.used + self.on_hold

    @property
    def overage(self) -> int:
        """What was used beyond what is included."""
        return 0 if self.included is None else max(0, self.used - self.included - self.carried_in)

    @property
    def state(self) -> str:
        """`fine`, `near` (80 % or more used or on hold), `at_limit` or `over` (by what is used)."""
        if self.included is None:
            return "fine"
        if self.overage:
            return "over"
        total = self.included + self.carried_in
        if self.used >= total:
            return "at_limit" if total else "fine"
        return "near" if self.taken * 100 >= total * NEAR_PERCENT else "fine"

    @property
    def fill(self) -> float:
        """What is taken as a share of what is included, 0 to 1 and above; 0 where nothing limits."""
        total = (self.included or 0) + self.carried_in
        return self.taken / total if total else float(self.taken > 0 and self.included is not None)


@dataclass(frozen=True, slots=True)
class TenantMeters:
    """A tenant's package, running period and meters, in display order."""

    tenant: Tenant
    package: Package | None
    period: Period | None
    meters: list[MeterView]


def current(session: Session, tenant: Tenant, *, now: datetime) -> TenantMeters:
    """The meters as they stand: a limited resource always, an unlimited one once it is used. Two statements."""
    subscription = subscriptions.live(session, tenant.id)
    if subscription is None:
        return TenantMeters(tenant, None, None, [])
    period, package = subscriptions.period_of(subscription, now), subscriptions.package_at(subscription, now)
    meters = in_period(session, subscription, package.revision, period, now=now)
    return TenantMeters(tenant, package, period, meters)


def pace_days(subscription: Subscription, now: datetime) -> tuple[date, date]:
    """The days `[first, today)` in the tenant's time zone whose pace a forecast goes on at: none on the first day."""
    zone = ZoneInfo(subscription.tenant.timezone)
    today = now.astimezone(zone).date()
    return max(today - timedelta(days=PACE_DAYS), subscription.started_at.astimezone(zone).date()), today


def in_period(
    session: Session,
    subscription: Subscription,
    revision: PackageRevision,
    period: Period,
    *,
    now: datetime | None = None,
) -> list[MeterView]:
    """The meters of any period, against the limits of `revision`; what has no period is as it stands now.

    With `now` in the period, each that may run out says when. One statement.
    """
    pace = pace_days(subscription, now) if now else None
    rows = session.execute(
        select(*_VIEWED, Meter.version, _ROLLS_OVER, _used_on(subscription.tenant_id, pace).label("recent"))
        .select_from(Resource)
        .outerjoin(
            PackageLimit, and_(PackageLimit.resource_code == Resource.code, PackageLimit.revision_id == revision.id)
        )
        .outerjoin(
            Meter,
            and_(
                Meter.tenant_id == subscription.tenant_id,
                Meter.resource_code == Resource.code,
                Meter.period_on == _key_of(period),
            ),
        )
        .where(or_(PackageLimit.included.is_not(None), Meter.used > 0, Meter.on_hold > 0))
        .order_by(Resource.position, Resource.code)
    )
    views = [
        (
            row,
            _in_trial(
                subscription, _opened(session, row, _view(row, revision.currency), subscription.tenant_id, period)
            ),
        )
        for row in rows
    ]
    if now is None or pace is None:
        return [view for _, view in views]
    days = (pace[1] - pace[0]).days
    return [_foreseen(view, row.recent, days, now, period.end) for row, view in views]


def _in_trial(subscription: Subscription, view: MeterView) -> MeterView:
    """As calls are decided: in a trial nothing is charged, so what would be stops."""
    stops = subscription.status == "trial" and view.at_limit == "charge"
    return replace(view, at_limit="block") if stops else view


def _used_on(tenant_id: int, days: tuple[date, date] | None) -> ColumnElement[int | None]:
    """What the daily rollup says of `[first, end)` for the selected resource."""
    if days is None:
        return literal(None)
    return (
        select(func.sum(UsageDay.quantity))
        .where(
            UsageDay.tenant_id == tenant_id,
            UsageDay.day >= days[0],
            UsageDay.day < days[1],
            UsageDay.resource_code == Resource.code,
        )
        .correlate(Resource)
        .scalar_subquery()
    )


def _foreseen(view: MeterView, recent: int | None, days: int, now: datetime, end: datetime) -> MeterView:
    if view.kind != "metered" or not view.remaining:
        return view
    return replace(view, forecast=forecast(view.remaining, int(recent or 0), days, now=now, end=end))


def fullest(session: Session, found: Iterable[Subscription], *, now: datetime) -> dict[int, MeterView]:
    """Per tenant the resource nearest its limit in the running period. One statement for all of them."""
    running = [(s.tenant_id, subscriptions.period_of(s, now).first_on) for s in found]
    if not running:
        return {}
    keys = running + [(tenant_id, NO_PERIOD) for tenant_id, _ in running]
    rows = session.execute(
        _with_limits().where(tuple_(Meter.tenant_id, Meter.period_on).in_(keys), PackageLimit.included.is_not(None))
    )
    result: dict[int, MeterView] = {}
    for row in rows:
        view = _view(row, row.currency)
        if row.tenant_id not in result or view.fill > result[row.tenant_id].fill:
            result[row.tenant_id] = view
    return result


def nearest_limits(session: Session, *, now: datetime, most: int = 8) -> list[tuple[Tenant, MeterView]]:
    """Tenants at 80 % or more of a limit in their running period, fullest first."""
    share = ((Meter.used + Meter.on_hold) * 100) / (PackageLimit.included + Meter.carried_in)
    rows = session.execute(
        _with_limits()
        .add_columns(Subscription)
        .where(PackageLimit.included + Meter.carried_in > 0, share >= NEAR_PERCENT, _may_run(now))
        .order_by(share.desc(), Meter.tenant_id)
        .limit(most * 20)  # some belong to the period before; the tenant's own calendar tells below
    )
    found: dict[int, tuple[Tenant, MeterView]] = {}
    for row in rows:
        subscription = row.Subscription
        if row.period_on in (NO_PERIOD, subscriptions.period_of(subscription, now).first_on):
            found.setdefault(row.tenant_id, (subscription.tenant, _view(row, row.currency)))
    return list(found.values())[:most]


_FINGERPRINTS = """
SELECT t.id, t.status, t.name, t.timezone, t.country, s.anchor_on, s.status, s.pending_at, p.id, p.revision_id,
       sum(m.version),
       (SELECT max(r.id) FROM refusal r WHERE r.tenant_id = t.id)
FROM tenant t
LEFT JOIN subscription s ON s.tenant_id = t.id AND s.ended_at IS NULL
LEFT JOIN package p ON p.id = s.package_id
LEFT JOIN meter m ON m.tenant_id = t.id AND (m.period_on >= :horizon OR m.period_on = :no_period)
WHERE t.id = ANY(:tenant_ids)
GROUP BY t.id, t.status, t.name, t.timezone, t.country, s.anchor_on, s.status, s.pending_at, p.id, p.revision_id"""


def fingerprints(tenant_ids: list[int], *, now: datetime) -> dict[int, str]:
    """A short text per tenant that differs once its meters, its package, a limit or what was refused differ.

    One statement, outside any transaction: it is asked at every look and every poll.
    """
    found = read_once(_FINGERPRINTS, {"tenant_ids": tenant_ids, "horizon": _horizon(now), "no_period": NO_PERIOD})
    return {row[0]: "/".join(map(str, row[1:])) for row in found}


def _with_limits() -> Select[Unpack[tuple[Any, ...]]]:
    """Meters of live subscriptions beside the limit that is in force for them now."""
    return (
        select(Meter.tenant_id, Meter.period_on, PackageRevision.currency, *_VIEWED)
        .select_from(Meter)
        .join(Resource, Resource.code == Meter.resource_code)
        .join(Subscription, and_(Subscription.tenant_id == Meter.tenant_id, Subscription.ended_at.is_(None)))
        .join(Package, Package.id == Subscription.package_id)
        .join(PackageRevision, PackageRevision.id == Package.revision_id)
        .join(
            PackageLimit,
            and_(PackageLimit.revision_id == Package.revision_id, PackageLimit.resource_code == Meter.resource_code),
        )
    )


def _view(row: Row[Unpack[tuple[Any, ...]]], currency: str) -> MeterView:
    return MeterView(
        resource_code=row.code,
        name=row.name,
        kind=row.kind,
        unit_one=row.unit_one,
        unit_many=row.unit_many,
        factor=row.factor,
        included=row.included,
        carried_in=row.carried_in or 0,
        used=row.used or 0,
        on_hold=row.on_hold or 0,
        at_limit=row.at_limit or "block",
        overage_price_micros=row.overage_price_micros or 0,
        currency=currency,
    )


def _opened(
    session: Session, row: Row[Unpack[tuple[Any, ...]]], view: MeterView, tenant_id: int, period: Period
) -> MeterView:
    """A meter that nothing was counted on yet shows what will be carried into it."""
    if row.version is not None or not row.rolls_over:
        return view
    key = MeterKey(tenant_id, view.resource_code, period.first_on)
    return replace(view, carried_in=opening.carried_into(session.connection(), key))


def _key_of(period: Period) -> ColumnElement[date]:
    """Under which `Meter.period_on` the joined resource is counted in `period`."""
    return case((Resource.kind == "metered", period.first_on), else_=NO_PERIOD)


def _may_run(now: datetime) -> ColumnElement[bool]:
    """Meters that may be of a running period, and those that have none."""
    return or_(Meter.period_on >= _horizon(now), Meter.period_on == NO_PERIOD)


def _horizon(now: datetime) -> date:
    """No running period began before this day."""
    return (now - timedelta(days=367)).date()

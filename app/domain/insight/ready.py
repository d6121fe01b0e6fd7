"""Who outgrows its package and who should move down: everybody looked at in a fixed number of statements."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, case, func, or_, select
from sqlalchemy.orm import Session

from app.core.forecast import PACE_DAYS, Forecast, forecast
from app.core.money import half_up, price_of
from app.core.periods import Interval, Period, period_on
from app.domain.catalog import browse
from app.domain.catalog.models import Package, PackageRevision, Resource
from app.domain.changes import offers
from app.domain.insight.signs import PERIODS, Advice, Facts, Limit, Share, Sold, outgrown, oversized
from app.domain.metering.models import NO_PERIOD, Meter, MeterBeyond, Refusal, UsageDay
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

REFUSED_SINCE = timedelta(days=30)
LIMITS_REFUSED = ("quota_exhausted", "concurrency_reached", "limit_reached")
# No fourth period before the running one begins sooner, whatever the calendar.
MONTHS_BACK, YEARS_BACK = timedelta(days=128), timedelta(days=4 * 366 + 2)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tenant with what speaks for another package, and the one that is offered to it already (its id)."""

    tenant_id: int
    slug: str
    name: str
    timezone: str
    own: Sold
    advice: Advice
    offered_id: int | None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Who needs more and who could do with less, what brings most first; the resources that are spoken of."""

    up: list[Candidate]
    down: list[Candidate]
    resources: Mapping[str, Resource]


@dataclass(slots=True)
class _Seen:
    """What was read of a tenant."""

    used: dict[str, dict[date, tuple[int, int]]] = field(default_factory=lambda: defaultdict(dict))  # used, carried in
    held: dict[str, int] = field(default_factory=dict)
    recent: dict[str, int] = field(default_factory=dict)
    refused: dict[str, tuple[int, int]] = field(default_factory=dict)
    charged: dict[date, list[Any]] = field(default_factory=lambda: defaultdict(list))  # rows of `_charged`


def look(session: Session, *, now: datetime) -> Readiness:
    """Every active tenant with a package. Eight statements."""
    packages = browse.list_packages(session)
    sold = {package.id: _sold(package) for package in packages}
    on_sale = [sold[package.id] for package in packages if package.status == "published" and package.public]
    resources = {limit.resource_code: limit.resource for package in packages for limit in package.revision.limits}
    standing = _standing(session)
    seen = _read(session, {row.timezone for row in standing}, now)
    offered = offers.all_open(session)
    found = Readiness([], [], resources)
    for row in standing:
        facts = _facts(row, sold[row.package_id], seen[row.tenant_id], now)
        for advise, into in ((outgrown, found.up), (oversized, found.down)):
            if advice := advise(facts, on_sale):
                place = (row.tenant_id, row.slug, row.name, row.timezone)
                into.append(Candidate(*place, facts.own, advice, offered.get(row.tenant_id)))
                break
    found.up.sort(key=lambda each: (-each.advice.margin_micros, each.name))
    found.down.sort(key=lambda each: (each.advice.pays_micros, each.name))
    return found


def _sold(package: Package) -> Sold:
    revision = package.revision
    unit = minor_unit_micros(revision.currency)
    limits = {
        limit.resource_code: Limit(
            limit.included,
            limit.at_limit,
            limit.overage_price_micros,
            limit.resource.factor,
            unit,
            limit.unit_cost_micros,
        )
        for limit in revision.limits
    }
    return Sold(
        package.id, package.code, package.name, revision.price_micros, revision.cost_micros,
        revision.currency, revision.interval, limits,
    )  # fmt: skip


def _facts(row: Any, own: Sold, seen: _Seen, now: datetime) -> Facts:
    periods = _periods(row.anchor_on, own.interval, row.timezone, _today(row.timezone, now))
    running, closed = periods[0], [each for each in periods[1:] if each.first_on >= row.anchor_on]
    days = min(PACE_DAYS, (_today(row.timezone, now) - _today(row.timezone, row.started_at)).days)
    shares, forecasts, projected = {}, {}, {}
    for code, used in seen.used.items():
        limit = own.limits.get(code)
        included = limit.included if limit else None
        shares[code] = [
            Share(each.first_on, amount, included + carried if included is not None else 0)
            for each in (running, *closed)
            for amount, carried in (used.get(each.first_on, (0, 0)),)
        ]
        if included is not None and (ahead := _ahead(shares[code][0], seen.recent.get(code, 0), days, running, now)):
            forecasts[code] = ahead
            projected[code] = shares[code][0].used + _until(ahead, running, now)
    last = closed[0] if closed else None
    costs = {code: limit.cost_micros for code, limit in own.limits.items()}

    def came_to(price: Callable[[Any], int]) -> int:
        rows = seen.charged[last.first_on] if last else []
        return half_up(
            sum(price_of(row.quantity, price(row), row.factor) for row in rows), 1, minor_unit_micros(own.currency)
        )

    return Facts(
        own=own,
        shares=shares,
        held=seen.held,
        last_on=last.first_on if last else None,
        last={code: used[last.first_on][0] for code, used in seen.used.items() if last.first_on in used}
        if last
        else {},
        charged_micros=came_to(lambda row: row.price_micros),
        charged_cost_micros=came_to(lambda row: costs.get(row.resource_code, 0)),
        refused=seen.refused,
        forecasts=forecasts,
        projected=projected,
        is_settled=len(closed) >= PERIODS,
    )


def _ahead(share: Share, recent: int, days: int, running: Period, now: datetime) -> Forecast | None:
    return forecast(share.total - share.used, recent, days, now=now, end=running.end)


def _until(ahead: Forecast, running: Period, now: datetime) -> int:
    """What the rest of the period takes at its pace."""
    return ahead.used * int((running.end - now).total_seconds()) // (ahead.days * 86_400)


@lru_cache(maxsize=4_096)
def _periods(anchor: date, interval: str, timezone: str, today: date) -> list[Period]:
    """The running period and the three before it, newest first, whether or not the subscription is that old."""
    zone, found = ZoneInfo(timezone), []
    for _ in range(PERIODS + 1):
        found.append(period_on(anchor, cast(Interval, interval), zone, today))
        today = found[-1].first_on - timedelta(days=1)
    return found


def _today(timezone: str, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(timezone)).date()


def _standing(session: Session) -> Sequence[Any]:
    return session.execute(
        select(
            Subscription.tenant_id, Subscription.package_id, Subscription.anchor_on, Subscription.started_at,
            Tenant.slug, Tenant.name, Tenant.timezone,
        )
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .where(Subscription.ended_at.is_(None), Tenant.status == "active")
    ).all()  # fmt: skip


def _read(session: Session, timezones: Iterable[str], now: datetime) -> dict[int, _Seen]:
    seen: dict[int, _Seen] = defaultdict(_Seen)
    for tenant_id, code, period_on_, used, carried in _meters(session, now):
        if period_on_ == NO_PERIOD:
            seen[tenant_id].held[code] = used
        else:
            seen[tenant_id].used[code][period_on_] = (used, carried)
    for tenant_id, code, quantity in _recent(session, timezones, now):
        seen[tenant_id].recent[code] = int(quantity)
    for tenant_id, code, attempts, enough in _refused(session, now):
        seen[tenant_id].refused[code] = (attempts, enough)
    for beyond in _charged(session, now):
        seen[beyond.tenant_id].charged[beyond.period_on].append(beyond)
    return seen


def _meters(session: Session, now: datetime) -> Iterable[Any]:
    """What was used in the periods of interest, and what is held or in use now."""
    return session.execute(
        select(Meter.tenant_id, Meter.resource_code, Meter.period_on, Meter.used, Meter.carried_in)
        .join(Subscription, and_(Subscription.tenant_id == Meter.tenant_id, Subscription.ended_at.is_(None)))
        .join(Package, Package.id == Subscription.package_id)
        .join(PackageRevision, PackageRevision.id == Package.revision_id)
        .where(or_(Meter.period_on >= _back(now), Meter.period_on == NO_PERIOD))
    )


def _back(now: datetime) -> ColumnElement[date]:
    months, years = ((now - back).date() for back in (MONTHS_BACK, YEARS_BACK))
    return case((PackageRevision.interval == "year", years), else_=months)


def _recent(session: Session, timezones: Iterable[str], now: datetime) -> Iterable[Any]:
    """What each tenant used in the seven whole days before its own today, out of the daily rollup."""
    by_day: dict[date, list[str]] = defaultdict(list)  # three at the most: the world has no more days at once
    for timezone in sorted(timezones):
        by_day[_today(timezone, now)].append(timezone)
    if not by_day:
        return []
    days = UsageDay.day
    windows = [
        and_(Tenant.timezone.in_(zones), days >= today - timedelta(days=PACE_DAYS), days < today)
        for today, zones in by_day.items()
    ]
    first, last = min(by_day) - timedelta(days=PACE_DAYS), max(by_day)
    return session.execute(
        select(UsageDay.tenant_id, UsageDay.resource_code, func.sum(UsageDay.quantity))
        .join(Tenant, Tenant.id == UsageDay.tenant_id)
        .where(days >= first, days < last, or_(*windows))
        .group_by(UsageDay.tenant_id, UsageDay.resource_code)
    )


def _refused(session: Session, now: datetime) -> Iterable[Any]:
    """Attempts that limits refused lately, with what would have been enough for the largest."""
    enough = Refusal.used + Refusal.on_hold + Refusal.wanted - Refusal.carried_in
    return session.execute(
        select(Refusal.tenant_id, Refusal.resource_code, func.count(), func.max(enough))
        .where(Refusal.refused_at >= now - REFUSED_SINCE, Refusal.reason.in_(LIMITS_REFUSED))
        .group_by(Refusal.tenant_id, Refusal.resource_code)
    )


def _charged(session: Session, now: datetime) -> Iterable[Any]:
    beyond = MeterBeyond
    return session.execute(
        select(
            beyond.tenant_id, beyond.period_on, beyond.resource_code, beyond.price_micros, beyond.quantity,
            Resource.factor,
        )
        .join(Resource, Resource.code == beyond.resource_code)
        .where(beyond.beyond_as == "charge", beyond.period_on >= (now - YEARS_BACK).date())
    )  # fmt: skip

"""What publishing an edited package would do to the tenants on it, with figures of this moment; then exactly that."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.core.periods import Interval, period_days
from app.domain.catalog import service as catalog, specs
from app.domain.catalog.differences import Difference, differences
from app.domain.catalog.models import Package, PackageRevision, Resource
from app.domain.catalog.specs import PackageSpec
from app.domain.metering.models import NO_PERIOD, Meter
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

LONGEST_PERIOD = timedelta(days=367)
LISTED = 20  # tenants that a preview names unless asked for more

_METER = (Meter.resource_code, Meter.period_on, Meter.used, Meter.carried_in)
_HELD = Meter.period_on == NO_PERIOD

Limits = Mapping[str, tuple[int | None, int | None]]  # by resource: included before and after


class Crossing(NamedTuple):
    """A tenant that goes over a limit, or back under; those that go over sort first, then by name."""

    back_under: bool
    name: str
    tenant_id: int
    resource: str


@dataclass(frozen=True, slots=True)
class LimitImpact:
    """A limit that changes, in base units (None: unlimited), and how many tenants it puts over or back under."""

    resource: str
    before: int | None
    after: int | None
    go_over: int
    back_under: int


@dataclass(frozen=True, slots=True)
class LimitUse:
    """One tenant's use of a limit that changes, in base units; its limits count what was carried over in."""

    resource: str
    before: int | None
    after: int | None
    used: int

    @property
    def over_before(self) -> int:
        """By how much it is over the limit in force."""
        return 0 if self.before is None else max(0, self.used - self.before)

    @property
    def over_after(self) -> int:
        """By how much it would be over the new limit."""
        return 0 if self.after is None else max(0, self.used - self.after)


@dataclass(frozen=True, slots=True)
class TenantImpact:
    """A tenant on the package, with what becomes of each limit that changes."""

    tenant: Tenant
    limits: tuple[LimitUse, ...]

    @property
    def goes_over(self) -> bool:
        """True when it is over some limit afterwards and is not now."""
        return any(each.over_after and not each.over_before for each in self.limits)


@dataclass(frozen=True, slots=True)
class EditImpact:
    """What differs, how many tenants have the package, and what a period brings of all of them (micros).

    `listed` are the first of the tenants: those that go over come first, then those back under, each by name.
    `token` stands for all that this rests on: another one means that something is different by now.
    """

    differences: list[Difference]
    tenants: int
    limits: list[LimitImpact]
    listed: list[TenantImpact]
    go_over: int  # tenants that go over some limit, each once
    revenue_before_micros: int
    revenue_micros: int
    margin_before_micros: int
    margin_micros: int
    worst_case_micros: int | None  # of one tenant's period, see `specs.worst_case_micros`
    may_lose: bool
    token: str

    @property
    def revenue_gain_micros(self) -> int:
        """What a period brings more."""
        return self.revenue_micros - self.revenue_before_micros

    @property
    def margin_gain_micros(self) -> int:
        """What a period leaves more."""
        return self.margin_micros - self.margin_before_micros


def preview_edit(
    session: Session, package: Package, spec: PackageSpec, *, now: datetime, most: int = LISTED
) -> EditImpact:
    """What `publish_previewed` of `spec` would do now, with at most `most` tenants by name.

    A fixed number of statements. Raises Invalid as `catalog.publish`, which alone asks for a `loss_reason`.
    """
    resources = catalog.list_resources(session)
    before, after = catalog.spec_of(package.revision), specs.checked(spec, resources)
    on_it = sorted(session.scalars(select(Subscription.id).where(*_on(package))))
    limits = _changed(resources, before, after)
    crossing = _crossing(session, package, limits, now)
    return EditImpact(
        differences=differences(before, after),
        tenants=len(on_it),
        limits=[_limit_impact(code, limits, crossing) for code in limits],
        listed=_listed(session, package, limits, crossing, now, most),
        go_over=len({each.tenant_id for each in crossing if not each.back_under}),
        revenue_before_micros=before.price_micros * len(on_it),
        revenue_micros=after.price_micros * len(on_it),
        margin_before_micros=(before.price_micros - before.cost_micros) * len(on_it),
        margin_micros=(after.price_micros - after.cost_micros) * len(on_it),
        worst_case_micros=specs.worst_case_micros(after, resources),
        may_lose=specs.may_lose(after, resources),
        token=_token(package, after, on_it, crossing),
    )


def publish_previewed(
    session: Session, package: Package, spec: PackageSpec, token: str, *, actor: str, now: datetime
) -> PackageRevision:
    """`catalog.publish`, if it does what the preview with this token said.

    Raises Conflict (`preview_stale`) where anything it rests on is different: the revision, the content, who is on
    the package, who goes over a limit or back under. Usage that crosses no limit moves on without that.
    """
    if preview_edit(session, package, spec, now=now, most=0).token != token:
        raise Conflict("preview_stale", "What publishing does is no longer what was shown; look at it once more.")
    return catalog.publish(session, package, spec, actor=actor, now=now)


def _on(package: Package) -> tuple[ColumnElement[bool], ...]:
    return Subscription.package_id == package.id, Subscription.ended_at.is_(None)


def _changed(
    resources: Iterable[Resource], before: PackageSpec, after: PackageSpec
) -> dict[str, tuple[int | None, int | None]]:
    """In display order."""
    old, new = ({limit.resource: limit.included for limit in each.limits} for each in (before, after))
    codes = [resource.code for resource in resources]
    return {code: (old.get(code), new.get(code)) for code in codes if old.get(code) != new.get(code)}


def _crossing(session: Session, package: Package, limits: Limits, now: datetime) -> list[Crossing]:
    """One statement, which reads those alone who may be over one of the two."""
    if not limits:
        return []
    lowest = {code: min(limit for limit in both if limit is not None) for code, both in limits.items()}
    own_use = Meter.used - Meter.carried_in
    beyond = [and_(Meter.resource_code == code, own_use > limit) for code, limit in lowest.items()]
    rows = session.execute(
        select(Tenant.id, Tenant.name, Tenant.timezone, Subscription.anchor_on, *_METER)
        .join(Subscription, Subscription.tenant_id == Tenant.id)
        .join(Meter, Meter.tenant_id == Tenant.id)
        .where(*_on(package), or_(Meter.period_on >= (now - LONGEST_PERIOD).date(), _HELD), or_(*beyond))
    )
    found = []
    for row in rows:
        if row.period_on in _periods(package, row.timezone, row.anchor_on, now):
            use = _use(row.resource_code, limits, row)
            if bool(use.over_before) != bool(use.over_after):
                found.append(Crossing(not use.over_after, row.name.lower(), row.id, row.resource_code))
    return sorted(found)


def _listed(
    session: Session, package: Package, limits: Limits, crossing: list[Crossing], now: datetime, most: int
) -> list[TenantImpact]:
    if not most:
        return []
    first = list(dict.fromkeys(each.tenant_id for each in crossing))[:most]
    rows = _by_name(session, package, Tenant.id.in_(first), most)
    rows.sort(key=lambda row: first.index(row.Tenant.id))
    rows += _by_name(session, package, Tenant.id.not_in(first), most - len(first))
    keys = {(tenant.id, day) for tenant, anchor in rows for day in _periods(package, tenant.timezone, anchor, now)}
    meters = session.execute(
        select(Meter.tenant_id, *_METER).where(
            tuple_(Meter.tenant_id, Meter.period_on).in_(list(keys)), Meter.resource_code.in_(limits)
        )
    )
    found = {(meter.tenant_id, meter.resource_code): meter for meter in meters}
    return [
        TenantImpact(tenant, tuple(_use(code, limits, found.get((tenant.id, code))) for code in limits))
        for tenant, _ in rows
    ]


def _by_name(session: Session, package: Package, which: ColumnElement[bool], most: int) -> list[Any]:
    rows = session.execute(
        select(Tenant, Subscription.anchor_on)
        .join(Subscription, Subscription.tenant_id == Tenant.id)
        .where(*_on(package), which)
        .order_by(func.lower(Tenant.name), Tenant.id)
        .limit(most)
    )
    return list(rows)


def _limit_impact(code: str, limits: Limits, crossing: list[Crossing]) -> LimitImpact:
    of_it = [each.back_under for each in crossing if each.resource == code]
    return LimitImpact(code, *limits[code], go_over=of_it.count(False), back_under=of_it.count(True))


def _use(code: str, limits: Limits, meter: Any | None) -> LimitUse:
    carried, used = (meter.carried_in, meter.used) if meter else (0, 0)
    before, after = (None if each is None else each + carried for each in limits[code])
    return LimitUse(code, before, after, used)


def _periods(package: Package, timezone: str, anchor_on: date, now: datetime) -> tuple[date, date]:
    """The keys of the meters that run: of what has no period, and of the tenant's own running one."""
    today = now.astimezone(ZoneInfo(timezone)).date()
    return NO_PERIOD, period_days(anchor_on, cast(Interval, package.revision.interval), today)[0]


def _token(package: Package, after: PackageSpec, on_it: list[int], crossing: list[Crossing]) -> str:
    """64 hex digits over everything that it rests on: figures of use move on without it."""
    crossed = sorted((each.tenant_id, each.resource, each.back_under) for each in crossing)
    rests_on = [package.revision_id, package.status, asdict(after), on_it, crossed]
    return hashlib.sha256(json.dumps(rests_on).encode()).hexdigest()

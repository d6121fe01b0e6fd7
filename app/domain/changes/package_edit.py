"""What publishing an edited package would do to the tenants on it, with the figures of this moment."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.core.periods import Interval, period_days
from app.domain.catalog import service as catalog
from app.domain.catalog.differences import Difference, differences
from app.domain.catalog.models import Package
from app.domain.catalog.service import PackageSpec
from app.domain.metering.models import NO_PERIOD, Meter
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

LONGEST_PERIOD = timedelta(days=367)


@dataclass(frozen=True, slots=True)
class LimitImpact:
    """A limit that changes, in base units (None: unlimited), and which tenants it puts over or back under."""

    resource: str
    before: int | None
    after: int | None
    go_over: list[Tenant]
    back_under: list[Tenant]


@dataclass(frozen=True, slots=True)
class EditImpact:
    """What differs, how many tenants have the package, and what a month's margin gains (micros, all tenants)."""

    differences: list[Difference]
    tenants: int
    limits: list[LimitImpact]
    margin_micros: int

    @property
    def go_over(self) -> int:
        """Tenants that are over some limit afterwards and are not now; one may count for two limits."""
        return sum(len(limit.go_over) for limit in self.limits)


def preview_edit(session: Session, package: Package, spec: PackageSpec, *, now: datetime) -> EditImpact:
    """What `catalog.publish` of `spec` would do now. One statement more per limit that becomes another.

    Raises Invalid as `catalog.publish`.
    """
    before, after = catalog.spec_of(package.revision), catalog.checked(session, spec)
    tenants = session.scalar(
        select(func.count())
        .select_from(Subscription)
        .where(Subscription.package_id == package.id, Subscription.ended_at.is_(None))
    )
    old, new = ({limit.resource: limit.included for limit in each.limits} for each in (before, after))
    codes = [resource.code for resource in catalog.list_resources(session)]
    changed = [code for code in codes if old.get(code) != new.get(code)]
    gain = (after.price_micros - after.cost_micros) - (before.price_micros - before.cost_micros)
    return EditImpact(
        differences(before, after),
        tenants or 0,
        [_limit_impact(session, package, code, old.get(code), new.get(code), now) for code in changed],
        gain * (tenants or 0),
    )


def _limit_impact(
    session: Session, package: Package, code: str, before: int | None, after: int | None, now: datetime
) -> LimitImpact:
    lowest = min(limit for limit in (before, after) if limit is not None)
    rows = session.execute(
        select(Tenant, Subscription.anchor_on, Meter.period_on, Meter.used - Meter.carried_in)
        .join(Subscription, and_(Subscription.tenant_id == Tenant.id, Subscription.ended_at.is_(None)))
        .join(Meter, and_(Meter.tenant_id == Tenant.id, Meter.resource_code == code))
        .where(
            Subscription.package_id == package.id,
            or_(Meter.period_on >= (now - LONGEST_PERIOD).date(), Meter.period_on == NO_PERIOD),
            Meter.used - Meter.carried_in > lowest,  # nobody else is over one of the two
        )
        .order_by(Tenant.name, Tenant.id)
    )
    found = LimitImpact(code, before, after, [], [])
    interval = cast(Interval, package.revision.interval)
    for tenant, anchor_on, period_on, used in rows:
        today = now.astimezone(ZoneInfo(tenant.timezone)).date()
        if period_on not in (NO_PERIOD, period_days(anchor_on, interval, today)[0]):
            continue
        was_over, is_over = (limit is not None and used > limit for limit in (before, after))
        if is_over and not was_over:
            found.go_over.append(tenant)
        if was_over and not is_over:
            found.back_under.append(tenant)
    return found

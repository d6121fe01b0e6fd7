"""What putting a tenant on a package, or moving it to another one, would do now."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.domain.catalog.models import Package, PackageLimit, Resource
from app.domain.metering import meters
from app.domain.metering.meters import MeterView
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One resource before and after. `after` carries what is used, so it says what would be left or over."""

    before: MeterView | None  # None: the tenant has no package, or it says nothing and nothing is used
    after: MeterView

    @property
    def changes(self) -> bool:
        """True when the quantity, or what happens at the limit, becomes another."""
        now = self.before
        return now is None or (now.included, now.at_limit, now.overage_price_micros) != (
            self.after.included,
            self.after.at_limit,
            self.after.overage_price_micros,
        )


@dataclass(frozen=True, slots=True)
class MoveImpact:
    """From which package to which, and every resource that either limits or that is in use."""

    before: Package | None
    after: Package
    limits: list[LimitChange]

    @property
    def over(self) -> list[MeterView]:
        """What would be over its new limit."""
        return [change.after for change in self.limits if change.after.overage]


def preview_move(
    session: Session, tenant: Tenant, subscription: Subscription | None, package: Package, *, now: datetime
) -> MoveImpact:
    """What `subscriptions.subscribe` would do at `now`: usage of the running period stays and counts on."""
    found = {view.resource_code: view for view in meters.current(session, tenant, now=now).meters}
    limits = {limit.resource_code: limit for limit in package.revision.limits}
    resources = {limit.resource_code: limit.resource for limit in package.revision.limits}
    missing = found.keys() - resources.keys()
    resources |= {code: resource for code in missing if (resource := session.get(Resource, code)) is not None}
    ordered = sorted(resources.values(), key=lambda resource: (resource.position, resource.code))
    return MoveImpact(
        subscription.package if subscription else None,
        package,
        [
            LimitChange(found.get(each.code), _after(each, found.get(each.code), limits.get(each.code), package))
            for each in ordered
        ],
    )


def _after(resource: Resource, now: MeterView | None, limit: PackageLimit | None, package: Package) -> MeterView:
    return MeterView(
        resource_code=resource.code,
        name=resource.name,
        kind=resource.kind,
        unit_one=resource.unit_one,
        unit_many=resource.unit_many,
        factor=resource.factor,
        included=limit.included if limit else None,
        carried_in=now.carried_in if now else 0,
        used=now.used if now else 0,
        on_hold=now.on_hold if now else 0,
        at_limit=limit.at_limit if limit else "block",
        overage_price_micros=limit.overage_price_micros if limit else 0,
        currency=package.revision.currency,
    )

"""Which package would allow what the present one does not."""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.orm import Session, contains_eager, lazyload

from app.domain.catalog.models import Package, PackageLimit, PackageRevision
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant


class Need(NamedTuple):
    """So many base units of a resource, for a tenant."""

    tenant_id: int
    resource_code: str
    quantity: int


class Fit(NamedTuple):
    """A package that meets a need; `is_own`: the tenant is on it already."""

    package: Package
    is_own: bool


class _Offer(NamedTuple):
    package: Package
    limits: dict[str, PackageLimit]

    def allows(self, need: Need) -> bool:
        """A limit that is not there or does not stop allows any quantity."""
        limit = self.limits.get(need.resource_code)
        return limit is None or limit.included is None or limit.at_limit != "block" or limit.included >= need.quantity


def packages_allowing(session: Session, needs: Collection[Need]) -> dict[Need, Fit]:
    """For each need the tenant's own package where it meets it by now, else the cheapest it could choose itself.

    That is on sale and public, in the tenant's currency and its package's interval. A need that no package meets is
    missing. The revisions come along, without their limits. Two statements.
    """
    if not needs:
        return {}
    standing = {row.id: row for row in _standing(session, {need.tenant_id for need in needs})}
    offers = _offers(session, {need.resource_code for need in needs}, {row.package_id for row in standing.values()})
    found = {}
    for need in needs:
        row = standing[need.tenant_id]
        for offer in sorted(offers, key=lambda each: each.package.id != row.package_id):  # stable: else by price
            if offer.allows(need) and _may_choose(row, offer.package):
                found[need] = Fit(offer.package, offer.package.id == row.package_id)
                break
    return found


def smallest_package_allowing(session: Session, tenant: Tenant, resource_code: str, quantity: int) -> Package | None:
    """The package that `packages_allowing` finds for one need."""
    need = Need(tenant.id, resource_code, quantity)
    fit = packages_allowing(session, [need]).get(need)
    return fit.package if fit else None


def _standing(session: Session, tenant_ids: Collection[int]) -> list[Row[Any]]:
    """Currency of the tenants, and package and interval of those that have one."""
    statement = (
        select(Tenant.id, Tenant.currency, Subscription.package_id, PackageRevision.interval)
        .outerjoin(Subscription, and_(Subscription.tenant_id == Tenant.id, Subscription.ended_at.is_(None)))
        .outerjoin(Package, Package.id == Subscription.package_id)
        .outerjoin(PackageRevision, PackageRevision.id == Package.revision_id)
        .where(Tenant.id.in_(tenant_ids))
    )
    return list(session.execute(statement))


def _offers(session: Session, codes: Collection[str], own: Collection[int | None]) -> list[_Offer]:
    """What is on sale for everybody and what somebody has, cheapest first, with its limits on these resources."""
    revision = PackageRevision
    rows = session.execute(
        select(Package, PackageLimit)
        .join(revision, revision.id == Package.revision_id)
        .outerjoin(PackageLimit, and_(PackageLimit.revision_id == revision.id, PackageLimit.resource_code.in_(codes)))
        .where(or_(and_(Package.status == "published", Package.public), Package.id.in_(own)))
        .order_by(revision.price_micros, Package.name, Package.id)
        .options(
            contains_eager(Package.revision).lazyload(revision.limits),
            lazyload(PackageLimit.revision),
            lazyload(PackageLimit.resource),
        )
    )
    offers: dict[int, _Offer] = {}
    for package, limit in rows:
        offer = offers.setdefault(package.id, _Offer(package, {}))
        if limit is not None:
            offer.limits[limit.resource_code] = limit
    return list(offers.values())


def _may_choose(row: Row[Any], package: Package) -> bool:
    """Whether the tenant is on it, or may move to it by itself."""
    if package.id == row.package_id:
        return True
    revision = package.revision
    fits = revision.currency == row.currency and row.interval in (None, revision.interval)
    return fits and package.public and package.status == "published"

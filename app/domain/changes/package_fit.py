"""Which package would allow what the present one does not."""

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, contains_eager

from app.domain.catalog.models import Package, PackageLimit, PackageRevision
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant


def smallest_package_allowing(session: Session, tenant: Tenant, resource_code: str, quantity: int) -> Package | None:
    """The cheapest other package that `tenant` could choose itself and that allows `quantity` base units, or None.

    On sale and public, in the tenant's currency and its package's interval; a limit that does not stop allows any
    quantity. The revision comes along. Two statements.
    """
    subscription = subscriptions.live(session, tenant.id)
    revision = PackageRevision
    statement = (
        select(Package)
        .join(revision, revision.id == Package.revision_id)
        .outerjoin(
            PackageLimit, and_(PackageLimit.revision_id == revision.id, PackageLimit.resource_code == resource_code)
        )
        .where(
            Package.status == "published",
            Package.public,
            revision.currency == tenant.currency,
            or_(PackageLimit.included.is_(None), PackageLimit.at_limit != "block", PackageLimit.included >= quantity),
        )
        .order_by(revision.price_micros, Package.name, Package.id)
        .options(contains_eager(Package.revision))
        .limit(1)
    )
    if subscription is not None:
        statement = statement.where(
            Package.id != subscription.package_id, revision.interval == subscription.package.revision.interval
        )
    return session.scalar(statement)

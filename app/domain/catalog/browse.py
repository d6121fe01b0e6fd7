"""Look through the catalogue."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from app.domain.catalog.models import Package, PackageLimit


def list_packages(session: Session, status: str = "") -> list[Package]:
    """Packages by name, archived ones last, of one status when named; revisions and limits come along."""
    statement = (
        select(Package)
        .options(joinedload(Package.revision))
        .order_by(Package.status == "archived", func.lower(Package.name), Package.id)
    )
    return list(session.scalars(statement.where(Package.status == status) if status else statement))


def count_by_status(session: Session) -> dict[str, int]:
    """How many packages there are of each status; a status without any is missing."""
    rows = session.execute(select(Package.status, func.count()).group_by(Package.status))
    return {status: count for status, count in rows}


def named_resources(session: Session) -> set[str]:
    """The resources that some package's current revision names."""
    return set(
        session.scalars(
            select(PackageLimit.resource_code).distinct().join(Package, Package.revision_id == PackageLimit.revision_id)
        )
    )


def packages_per_resource(session: Session) -> dict[str, int]:
    """How many packages' current revisions name each resource; one that none names is missing."""
    rows = session.execute(
        select(PackageLimit.resource_code, func.count())
        .join(Package, Package.revision_id == PackageLimit.revision_id)
        .group_by(PackageLimit.resource_code)
    )
    return {code: count for code, count in rows}

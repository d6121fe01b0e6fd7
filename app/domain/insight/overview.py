"""The figures of the provider's first page."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.catalog.models import Package, PackageRevision
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Revenue:
    """What the live subscriptions bring in a month at the prices of their current revisions, in one currency."""

    currency: str
    price_micros: int
    cost_micros: int
    subscriptions: int

    @property
    def margin_micros(self) -> int:
        """Price less wholesale cost."""
        return self.price_micros - self.cost_micros


def monthly_revenue(session: Session) -> list[Revenue]:
    """Recurring revenue a month by currency, most subscriptions first; a year counts a twelfth. One statement."""
    revision = PackageRevision
    rows = session.execute(
        select(
            revision.currency,
            revision.interval,
            func.sum(revision.price_micros),
            func.sum(revision.cost_micros),
            func.count(),
        )
        .select_from(Subscription)
        .join(Package, Package.id == Subscription.package_id)
        .join(revision, revision.id == Package.revision_id)
        .where(Subscription.ended_at.is_(None), Subscription.status != "trial")
        .group_by(revision.currency, revision.interval)
    )
    sums: dict[str, list[int]] = {}
    for currency, interval, price, cost, count in rows:
        total = sums.setdefault(currency, [0, 0, 0])
        for index, value in enumerate((_a_month(int(price), interval), _a_month(int(cost), interval), count)):
            total[index] += value
    found = [Revenue(currency, *total) for currency, total in sums.items()]
    return sorted(found, key=lambda revenue: (-revenue.subscriptions, revenue.currency))


def tenants_by_status(session: Session) -> dict[str, int]:
    """How many tenants are active and how many suspended."""
    rows = session.execute(select(Tenant.status, func.count()).group_by(Tenant.status))
    return {"active": 0, "suspended": 0} | {status: count for status, count in rows}


def _a_month(micros: int, interval: str) -> int:
    return (micros + 6) // 12 if interval == "year" else micros

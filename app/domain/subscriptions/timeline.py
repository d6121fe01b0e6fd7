"""What happened to a tenant's subscriptions: packages and states, as one list."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.catalog.models import Package
from app.domain.subscriptions import service
from app.domain.subscriptions.models import SubscriptionEvent


@dataclass(frozen=True, slots=True)
class Step:
    """Either a package began (`package`), or a state did (`status`, with why and by whom)."""

    at: datetime
    package: Package | None = None
    status: str = ""
    why: str = ""
    actor: str = ""


def of_tenant(session: Session, tenant_id: int) -> list[Step]:
    """Every step of all the tenant's subscriptions, newest first. Two statements."""
    events = session.scalars(
        select(SubscriptionEvent).where(SubscriptionEvent.tenant_id == tenant_id).order_by(SubscriptionEvent.id)
    )
    packages = (Step(row.started_at, package=row.package) for row in reversed(service.segments(session, tenant_id)))
    # Of one moment the package comes before the state that it begins in, so it stands below it.
    return sorted([*packages, *_states(events)], key=lambda step: step.at)[::-1]


def _states(events: Iterable[SubscriptionEvent]) -> Iterable[Step]:
    return (Step(row.at, status=row.status, why=row.why, actor=row.actor) for row in events)

"""Move a subscription to another package, or end it: at once, or at the end of its period."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db import among, rowcount
from app.domain.audit import service as audit
from app.domain.catalog.models import Package
from app.domain.subscriptions import life
from app.domain.subscriptions.models import Subscription, SubscriptionSegment

MOST_AT_ONCE = 500  # pending changes that one transaction carries out


def move(session: Session, subscription: Subscription, package: Package, *, actor: str, now: datetime) -> None:
    """Move it at `now`; what was pending is dropped. Raises Conflict: `interval_differs`, `changed_meanwhile`."""
    check_interval(subscription, package)
    if not _move(session, subscription, package, actor=actor, at=now, now=now):
        raise Conflict("changed_meanwhile", "The subscription was changed by someone else.")


def schedule(
    session: Session, subscription: Subscription, package: Package, at: datetime, *, actor: str, now: datetime
) -> None:
    """Have it moved at `at`, the end of its period, in place of what was pending. Raises Conflict as `move`."""
    check_interval(subscription, package)
    changed = _set_pending(session, subscription, package.id, at, actor)
    _note(session, subscription, "subscription.schedule", actor, now, package=package.code, changed=changed)


def cancel(session: Session, subscription: Subscription, *, actor: str, now: datetime) -> None:
    """Drop the change that is pending. Raises NotFound (`nothing_pending`) where there is none any more."""
    pending = subscription.pending_package
    if (subscription.pending_at or now) <= now:
        raise NotFound("nothing_pending", "No change of package is pending.")
    changed = _set_pending(session, subscription, None, None, "")
    act = "subscription.stay" if pending is None else "subscription.cancel"
    _note(session, subscription, act, actor, now, changed=changed)


def end(session: Session, subscription: Subscription, *, actor: str, now: datetime) -> None:
    """End it at `now`: its last invoice gives back the days that were paid and are left. Raises Conflict as `move`."""
    if not _end(session, subscription, actor=actor, at=now, now=now):
        raise Conflict("changed_meanwhile", "The subscription was changed by someone else.")


def end_at(session: Session, subscription: Subscription, at: datetime, *, actor: str, now: datetime) -> None:
    """Have it end at `at`, the end of its period, in place of what was pending. Raises Conflict as `move`."""
    changed = _set_pending(session, subscription, None, at, actor)
    _note(session, subscription, "subscription.end_at", actor, now, changed=changed)


def take_effect(session: Session, *, now: datetime, tenant_ids: Collection[int] = ()) -> int:
    """Carry out the pending changes and ends that are due, as of their time; of these tenants where any are named.

    The worker does it every few seconds, and whatever decides by a subscription does it first for its tenant.
    """
    statement = select(Subscription).where(Subscription.pending_at <= now, Subscription.ended_at.is_(None))
    if tenant_ids:
        statement = statement.where(among(session, tenant_ids, Subscription.tenant_id))
    statement = statement.order_by(Subscription.tenant_id).limit(MOST_AT_ONCE)
    done = 0
    for subscription in session.scalars(statement.execution_options(populate_existing=True)).all():
        package, at, actor = subscription.pending_package, subscription.pending_at or now, subscription.pending_by
        if package is not None:
            done += _move(session, subscription, package, actor=actor, at=at, now=now)
        else:
            done += _end(session, subscription, actor=actor, at=at, now=now)
    return done


def check_interval(subscription: Subscription, package: Package) -> None:
    """Raise Conflict (`interval_differs`) where the package is billed in other periods."""
    if subscription.package.revision.interval != package.revision.interval:
        raise Conflict("interval_differs", "A change between monthly and yearly packages is not possible yet.")


def open_segment(session: Session, subscription: Subscription, package: Package, started_at: datetime) -> None:
    """Note that the subscription is on `package` from `started_at`."""
    session.add(
        SubscriptionSegment(
            tenant_id=subscription.tenant_id,
            id=new_id(),
            subscription_id=subscription.id,
            package_id=package.id,
            started_at=started_at,
            started_on=started_at.astimezone(ZoneInfo(subscription.tenant.timezone)).date(),
        )
    )
    session.flush()


def _move(
    session: Session, subscription: Subscription, package: Package, *, actor: str, at: datetime, now: datetime
) -> bool:
    """Move it as of `at`; False where it is no longer as it was read."""
    before = subscription.package
    moved = session.execute(
        update(Subscription)
        .where(*_as_read(subscription))
        .values(package_id=package.id, pending_package_id=None, pending_at=None, pending_by="")
        .execution_options(synchronize_session=False)
    )
    if rowcount(moved) == 1 and before.id != package.id:
        _next_segment(session, subscription, package, at)
        changed = {"package": [before.code, package.code]}
        _note(session, subscription, "subscription.move", actor, now, package=package.code, changed=changed)
    session.refresh(subscription)
    if rowcount(moved) == 1 and before.id != package.id:
        life.tell_of_change(session, subscription, "moved", at, now=now)
    return rowcount(moved) == 1


def _end(session: Session, subscription: Subscription, *, actor: str, at: datetime, now: datetime) -> bool:
    """End it as of `at`; False where what is pending is no longer what was read."""
    if not _try_pending(session, subscription, None, None, ""):
        return False
    life.turn(session, subscription, life.CANCELLED, "cancelled", actor=actor, now=now, at=at)
    _close_segment(session, subscription, at)
    return True


def _as_read(subscription: Subscription) -> tuple[ColumnElement[bool], ...]:
    """For an update: that it is as it was read, so that of two moves or wishes at once the second does nothing."""
    pending_at = subscription.pending_at
    return (
        Subscription.tenant_id == subscription.tenant_id,
        Subscription.id == subscription.id,
        Subscription.package_id == subscription.package_id,
        Subscription.pending_at == pending_at if pending_at else Subscription.pending_at.is_(None),
        Subscription.ended_at.is_(None),
    )


def _next_segment(session: Session, subscription: Subscription, package: Package, at: datetime) -> None:
    _close_segment(session, subscription, at)
    open_segment(session, subscription, package, at)


def _close_segment(session: Session, subscription: Subscription, at: datetime) -> None:
    session.execute(
        update(SubscriptionSegment)
        .where(
            SubscriptionSegment.tenant_id == subscription.tenant_id,
            SubscriptionSegment.subscription_id == subscription.id,
            SubscriptionSegment.ended_at.is_(None),
        )
        .values(ended_at=at)
    )


def _set_pending(
    session: Session, subscription: Subscription, package_id: int | None, at: datetime | None, actor: str
) -> dict[str, list[Any]]:
    """What is pending, before and after. Raises Conflict (`changed_meanwhile`)."""
    before = _pending(subscription)
    if not _try_pending(session, subscription, package_id, at, actor):
        raise Conflict("changed_meanwhile", "The subscription was changed by someone else.")
    return audit.changes(before, _pending(subscription))


def _pending(subscription: Subscription) -> dict[str, str | None]:
    package, at = subscription.pending_package, subscription.pending_at
    return {"pending_package": package.code if package else None, "pending_at": at.isoformat() if at else None}


def _try_pending(
    session: Session, subscription: Subscription, package_id: int | None, at: datetime | None, actor: str
) -> bool:
    changed = session.execute(
        update(Subscription)
        .where(*_as_read(subscription))
        .values(pending_package_id=package_id, pending_at=at, pending_by=actor)
        .execution_options(synchronize_session=False)
    )
    session.refresh(subscription)
    return rowcount(changed) == 1


def _note(session: Session, subscription: Subscription, act: str, actor: str, now: datetime, **details: Any) -> None:
    tenant = subscription.tenant
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, **details)

"""A subscription's life: trial, active, past due, suspended, cancelled. README.md, "Life"."""

from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.core.ids import new_id
from app.core.periods import local_midnight
from app.db import LostRace, rowcount
from app.domain.audit import service as audit
from app.domain.subscriptions.models import Subscription, SubscriptionEvent
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.webhooks import events as webhooks
from app.domain.webhooks.events import Event

TRIAL, ACTIVE, PAST_DUE, SUSPENDED, CANCELLED = "trial", "active", "past_due", "suspended", "cancelled"
TRANSITIONS: dict[str, frozenset[str]] = {
    TRIAL: frozenset({ACTIVE, SUSPENDED, CANCELLED}),
    ACTIVE: frozenset({PAST_DUE, SUSPENDED, CANCELLED}),
    PAST_DUE: frozenset({ACTIVE, SUSPENDED, CANCELLED}),
    SUSPENDED: frozenset({TRIAL, ACTIVE, PAST_DUE, CANCELLED}),
    CANCELLED: frozenset(),
}
MOST_AT_ONCE = 500  # trials that one transaction ends
SYSTEM = "Ringplan"  # who acts where nobody does


def begin(session: Session, subscription: Subscription, *, actor: str, at: datetime, now: datetime) -> None:
    """Note how a new subscription begins."""
    _note(session, subscription, subscription.status, "started", actor, at)
    tell_of_change(session, subscription, "started", at, now=now)


def turn(
    session: Session,
    subscription: Subscription,
    status: str,
    why: str,
    *,
    actor: str,
    now: datetime,
    at: datetime | None = None,
) -> None:
    """Let it become `status`, as of `at` or now.

    Raises Conflict (`wrong_status`) for what no subscription does, LostRace where it is another by now.
    """
    before = subscription.status
    if status not in TRANSITIONS[before]:
        raise Conflict("wrong_status", f"A subscription that is {before} does not become {status}.")
    changed = session.execute(
        update(Subscription)
        .where(
            Subscription.tenant_id == subscription.tenant_id,
            Subscription.id == subscription.id,
            Subscription.status == before,
        )
        .values(status=status, **({"ended_at": at or now} if status == CANCELLED else {}))
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise LostRace
    session.refresh(subscription)
    _note(session, subscription, status, why, actor, at or now)
    tell_of_change(session, subscription, why, at or now, now=now)
    tenant = subscription.tenant
    audit.record(
        session, actor, f"subscription.{status}", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        why=why, changed={"status": [before, status]},
    )  # fmt: skip


def suspend(session: Session, tenant: Tenant, why: str, *, actor: str, now: datetime) -> bool:
    """Refuse the tenant's calls and additions until `resume`; it can still read and pay. False: it was so already."""
    if not tenants.set_suspended(session, tenant, True, actor=actor, now=now):
        return False
    subscription = _live(session, tenant)
    if subscription is not None:
        turn(session, subscription, SUSPENDED, why, actor=actor, now=now)
    return True


def resume(session: Session, tenant: Tenant, why: str, *, actor: str, now: datetime) -> bool:
    """Take a suspension back: the subscription is what it was before, or by now would be. False: there was none."""
    if not tenants.set_suspended(session, tenant, False, actor=actor, now=now):
        return False
    subscription = _live(session, tenant)
    if subscription is not None and subscription.status == SUSPENDED:
        turn(session, subscription, _before_suspension(session, subscription, now), why, actor=actor, now=now)
    return True


def suspended_for(session: Session, subscription: Subscription) -> str:
    """Why it is suspended; empty where it is not."""
    last = events(session, subscription)[-1]
    return last.why if last.status == SUSPENDED else ""


def trial_ends_at(subscription: Subscription) -> datetime | None:
    """When its trial ends or ended; None where there was none."""
    if subscription.anchor_on == subscription.starts_on:
        return None
    return local_midnight(subscription.anchor_on, subscription.tenant.zone)


def end_trials(session: Session, *, now: datetime) -> int:
    """Let the trials that are over become active, as of their end; returns how many. The worker does it."""
    over_in_some_zone = (now + timedelta(days=1)).date()
    found = session.scalars(
        select(Subscription)
        .where(Subscription.status == TRIAL, Subscription.anchor_on <= over_in_some_zone)
        .order_by(Subscription.tenant_id)
        .limit(MOST_AT_ONCE)
        .execution_options(populate_existing=True)
    ).all()
    done = 0
    for subscription in found:
        ends_at = trial_ends_at(subscription)
        if ends_at is not None and ends_at <= now:
            turn(session, subscription, ACTIVE, "trial_over", actor=SYSTEM, now=now, at=ends_at)
            done += 1
    return done


def events(session: Session, subscription: Subscription) -> list[SubscriptionEvent]:
    """Its life so far, oldest first."""
    event = SubscriptionEvent
    return list(
        session.scalars(
            select(event)
            .where(event.tenant_id == subscription.tenant_id, event.subscription_id == subscription.id)
            .order_by(event.id)
        )
    )


def _before_suspension(session: Session, subscription: Subscription, now: datetime) -> str:
    before = [ACTIVE, *(event.status for event in events(session, subscription))][-2]
    ends_at = trial_ends_at(subscription)
    return ACTIVE if before == TRIAL and ends_at is not None and ends_at <= now else before


def _live(session: Session, tenant: Tenant) -> Subscription | None:
    return session.scalar(
        select(Subscription)
        .where(Subscription.tenant_id == tenant.id, Subscription.ended_at.is_(None))
        .execution_options(populate_existing=True)
    )


def _note(session: Session, subscription: Subscription, status: str, why: str, actor: str, at: datetime) -> None:
    event = SubscriptionEvent
    last = select(func.max(event.id)).where(
        event.tenant_id == subscription.tenant_id, event.subscription_id == subscription.id
    )
    session.add(
        SubscriptionEvent(
            tenant_id=subscription.tenant_id,
            id=max(new_id(), (session.scalar(last) or 0) + 1),  # in order, though clocks of machines differ
            subscription_id=subscription.id,
            at=at,
            status=status,
            why=why,
            actor=actor,
        )
    )
    session.flush()


def tell_of_change(session: Session, subscription: Subscription, why: str, at: datetime, *, now: datetime) -> None:
    """Say that it is on another package (`moved`) or has another status (`why` of its last step) from `at` on."""
    data = {
        "package": subscription.package.code,
        "status": subscription.status,
        "why": why,
        "since": at.isoformat(),
    }
    event = Event(subscription.tenant_id, str(new_id()), data)
    webhooks.tell(session, webhooks.SUBSCRIPTION_CHANGED, [event], now=now)

"""Past due while anything is overdue: what unpaid invoices do to a subscription. README.md, "Dunning"."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.billing import ledger
from app.domain.billing.models import Invoice
from app.domain.subscriptions import life, service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from app.driver import read_once

MOST_AT_ONCE = 500
UNPAID, OVERDUE, PAID = "unpaid", "overdue", "paid"


def overdue(session: Session, tenant_id: int, *, now: datetime) -> list[Invoice]:
    """The tenant's invoices that should have been paid before its own today, longest due first."""
    found = session.scalars(
        select(Invoice)
        .where(Invoice.tenant_id == tenant_id, Invoice.open_micros > 0, Invoice.due_on < _latest_day(now))
        .order_by(Invoice.due_on, Invoice.id)
        .execution_options(populate_existing=True)
    )
    return [row for row in found if days_late(row, now) > 0]


def overdue_sums(tenant_id: int, today: date) -> dict[str, int]:
    """How much of it that is, by currency, for what is asked at every look: outside the session."""
    rows = read_once(
        "SELECT currency, sum(open_micros) FROM invoice WHERE tenant_id = :tenant_id AND open_micros > 0"
        " AND due_on < :today GROUP BY currency ORDER BY currency",
        {"tenant_id": tenant_id, "today": today.isoformat()},
    )
    return {currency: int(micros) for currency, micros in rows}


def days_late(invoice: Invoice, now: datetime) -> int:
    """Days since it was due, in the tenant's zone; below zero before."""
    today = now.astimezone(invoice.tenant.zone).date()
    return (today - (invoice.due_on or today)).days


def mark_overdue(session: Session, *, now: datetime) -> int:
    """Let active subscriptions of tenants with something overdue become past due; returns how many."""
    rows = session.execute(
        select(Subscription.tenant_id, Invoice.currency, Tenant.timezone, func.min(Invoice.due_on).label("due_on"))
        .join(Invoice, Invoice.tenant_id == Subscription.tenant_id)
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .where(
            Subscription.status == life.ACTIVE,
            Subscription.ended_at.is_(None),
            Invoice.open_micros > 0,
            Invoice.due_on < _latest_day(now),
        )
        .group_by(Subscription.tenant_id, Invoice.currency, Tenant.timezone)
        .order_by(Subscription.tenant_id)
    )
    # The day of each tenant is its own: who is not overdue yet takes nobody's turn.
    late = [row for row in rows if row.due_on < now.astimezone(ZoneInfo(row.timezone)).date()][:MOST_AT_ONCE]
    ledger.take(session, [(row.tenant_id, row.currency) for row in late])  # a payment under way comes first
    return sum(_mark(session, tenant_id, now) for tenant_id in sorted({row.tenant_id for row in late}))


def lift(session: Session, tenant_id: int, *, actor: str, now: datetime) -> None:
    """With nothing overdue any more it is active again, also where dunning had suspended it. The account is taken."""
    subscription = _live(session, tenant_id)
    if subscription is None or subscription.status not in (life.PAST_DUE, life.SUSPENDED):
        return
    if overdue(session, tenant_id, now=now):
        return
    if subscription.status == life.PAST_DUE:
        life.turn(session, subscription, life.ACTIVE, PAID, actor=actor, now=now)
    elif life.suspended_for(session, subscription) == UNPAID:
        life.resume(session, subscription.tenant, PAID, actor=actor, now=now)
        session.refresh(subscription)
        if subscription.status == life.PAST_DUE:
            life.turn(session, subscription, life.ACTIVE, PAID, actor=actor, now=now)


def _mark(session: Session, tenant_id: int, now: datetime) -> int:
    subscription = _live(session, tenant_id)
    if subscription is None or subscription.status != life.ACTIVE or not overdue(session, tenant_id, now=now):
        return 0
    life.turn(session, subscription, life.PAST_DUE, OVERDUE, actor=life.SYSTEM, now=now)
    return 1


def _live(session: Session, tenant_id: int) -> Subscription | None:
    found = subscriptions.live(session, tenant_id)
    if found is not None:
        session.refresh(found)
    return found


def _latest_day(now: datetime) -> date:
    """Today where the day is furthest on: no invoice that is due later is overdue anywhere."""
    return (now + timedelta(hours=14)).date()

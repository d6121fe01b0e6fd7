"""Reminders, then suspension: each step once per invoice, with the days between them kept. README.md, "Dunning"."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import insert_new
from app.domain.audit import service as audit
from app.domain.billing import ledger
from app.domain.billing.models import DunningStep, Invoice
from app.domain.billing.standing import MOST_AT_ONCE, UNPAID, days_late
from app.domain.jobs import service as jobs
from app.domain.subscriptions import life, service as subscriptions

MAIL = "dunning"


@dataclass(frozen=True, slots=True)
class Schedule:
    """After how many days past due each reminder goes out, rising, and the service is suspended (0: never)."""

    reminders: tuple[int, ...] = (3, 14)
    suspend_after: int = 30

    @classmethod
    def of(cls, settings: Settings) -> "Schedule":
        """As the settings say. Raises ValueError for days that are no numbers."""
        days = sorted({int(day) for day in settings.REMINDER_DAYS.split(",") if day.strip()})
        return cls(tuple(days), settings.SUSPEND_DAYS)

    @property
    def days(self) -> tuple[int, ...]:
        """Days past due of every step; the last one suspends where that is wanted."""
        return (*self.reminders, self.suspend_after) if self.suspend_after else self.reminders

    def suspends(self, step: int) -> bool:
        """Whether the step of this number (from 1) is the suspension."""
        return bool(self.suspend_after) and step == len(self.days)

    def next_step(self, taken: int, taken_at: datetime | None, late: int, now: datetime) -> int:
        """The number of the step that is due after `taken` ones with an invoice `late` days; 0 for none.

        A step comes no sooner after the one before than their days lie apart, however late everything began.
        """
        if taken >= len(self.days) or late < self.days[taken]:
            return 0
        if taken and taken_at is not None:
            apart = max(0, self.days[taken] - self.days[taken - 1])
            if now < taken_at + timedelta(days=apart):
                return 0
        return taken + 1


def take_steps(session: Session, schedule: Schedule, *, now: datetime) -> int:
    """Take the steps that are due, MOST_AT_ONCE at the most; returns how many. The worker does it every hour."""
    if not schedule.days:
        return 0
    taken = (
        select(
            DunningStep.tenant_id,
            DunningStep.invoice_id,
            func.max(DunningStep.step).label("step"),
            func.max(DunningStep.taken_at).label("taken_at"),
        )
        .group_by(DunningStep.tenant_id, DunningStep.invoice_id)
        .subquery()
    )
    latest_due = (now + timedelta(hours=14)).date() - timedelta(days=min(schedule.days))
    rows = session.execute(
        select(Invoice, func.coalesce(taken.c.step, 0), taken.c.taken_at)
        .outerjoin(taken, (taken.c.tenant_id == Invoice.tenant_id) & (taken.c.invoice_id == Invoice.id))
        .where(
            Invoice.open_micros > 0,
            Invoice.due_on <= latest_due,
            func.coalesce(taken.c.step, 0) < len(schedule.days),
        )
        .order_by(Invoice.tenant_id, Invoice.id)
    ).all()
    due = [
        (invoice, step)
        for invoice, before, taken_at in rows
        if (step := schedule.next_step(before, taken_at, days_late(invoice, now), now))
    ][:MOST_AT_ONCE]
    ledger.take(session, [(invoice.tenant_id, invoice.currency) for invoice, _ in due])
    return sum(_take(session, schedule, invoice, step, now) for invoice, step in due)


def steps_of(session: Session, invoice: Invoice) -> list[DunningStep]:
    """What was done about the invoice so far, in order."""
    step = DunningStep
    return list(
        session.scalars(
            select(step).where(step.tenant_id == invoice.tenant_id, step.invoice_id == invoice.id).order_by(step.step)
        )
    )


def _take(session: Session, schedule: Schedule, invoice: Invoice, step: int, now: datetime) -> int:
    session.refresh(invoice)
    if not invoice.open_micros:
        return 0  # paid a moment ago
    tenant, suspends = invoice.tenant, schedule.suspends(step)
    row = {
        "tenant_id": tenant.id, "invoice_id": invoice.id, "step": step, "taken_at": now,
        "kind": "suspension" if suspends else "reminder",
    }  # fmt: skip
    key = [DunningStep.tenant_id, DunningStep.invoice_id, DunningStep.step]
    if not insert_new(session, DunningStep, [row], key):
        return 0
    if suspends and subscriptions.live(session, tenant.id) is not None:
        life.suspend(session, tenant, UNPAID, actor=life.SYSTEM, now=now)
    payload = {"tenant_id": tenant.id, "invoice_id": invoice.id, "step": step}
    jobs.enqueue(session, MAIL, f"{MAIL}/{tenant.id}/{invoice.id}/{step}", payload, now=now)
    audit.record(
        session, life.SYSTEM, f"dunning.{row['kind']}", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        number=invoice.number, step=step,
    )  # fmt: skip
    return 1

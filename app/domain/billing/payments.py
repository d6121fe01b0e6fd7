"""Money that came in or went back, and which invoices it paid. README.md, "Ledger and payments"."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.core.ids import new_id
from app.core.money import format_micros
from app.db import LostRace, rowcount
from app.domain.audit import service as audit
from app.domain.billing import ledger, standing
from app.domain.billing.ledger import Balances, Movement
from app.domain.billing.models import Invoice, Payment, PaymentMatch
from app.domain.metering import prepaid
from app.domain.tenants.models import Tenant
from app.domain.webhooks import events
from app.domain.webhooks.events import Event

METHODS = ("bank", "cash", "card")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What staff enters. `key` makes entering it twice enter it once; `invoice_ids` are paid before any other."""

    key: str
    amount_micros: int
    currency: str
    method: str
    reference: str
    received_on: date
    invoice_ids: tuple[int, ...] = ()


def receive(session: Session, tenant: Tenant, receipt: Receipt, *, actor: str, now: datetime) -> Payment:
    """Enter a payment and match it: to the invoices it names, then oldest first; the rest is credit.

    The same key again answers with what was entered. Raises Invalid, or Conflict (`key_reused`) for another content.
    """
    _check(receipt)
    balances = ledger.take(session, [(tenant.id, receipt.currency)])
    if before := known(session, tenant, receipt, receipt.amount_micros):
        return before
    payment = enter(session, balances, tenant, receipt, receipt.amount_micros, actor, now)
    match(session, tenant.id, receipt.currency, now=now, first=receipt.invoice_ids)
    standing.lift(session, tenant.id, actor=actor, now=now)
    events.tell(session, events.PAYMENT_RECEIVED, [_as_event(payment)], now=now)
    audit.record(
        session, actor, "payment.receive", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        amount_micros=receipt.amount_micros, currency=receipt.currency, reference=receipt.reference,
    )  # fmt: skip
    return payment


def repay(session: Session, tenant: Tenant, receipt: Receipt, *, actor: str, now: datetime) -> Payment:
    """Enter that credit was paid back. Raises as `receive`, and Conflict (`more_than_credit`, `spent_already`)."""
    _check(receipt)
    balances = ledger.take(session, [(tenant.id, receipt.currency)])
    if before := known(session, tenant, receipt, -receipt.amount_micros):
        return before
    credit = unmatched(session, tenant.id, receipt.currency)
    if sum(payment.unmatched_micros for payment in credit) < receipt.amount_micros:
        raise Conflict("more_than_credit", "The tenant has less than that to its credit.", field="amount")
    prepaid.lock(session.connection(), tenant.id)
    purse = prepaid.purse(session.connection(), tenant.id)
    if purse and purse.left_micros < receipt.amount_micros:
        raise Conflict("spent_already", "Part of that is spent on calls that are not billed yet.", field="amount")
    repayment = enter(session, balances, tenant, receipt, -receipt.amount_micros, actor, now)
    rest = receipt.amount_micros
    for payment in credit:
        used = min(rest, payment.unmatched_micros)
        if used:
            use(session, payment, used, now, repayment_id=repayment.id)
            rest -= used
    audit.record(
        session, actor, "payment.repay", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        amount_micros=receipt.amount_micros, currency=receipt.currency, reference=receipt.reference,
    )  # fmt: skip
    return repayment


def add_credit(session: Session, invoice: Invoice, amount_micros: int, *, actor: str, now: datetime) -> None:
    """What a document gives beyond what was open. Its ledger entry is the document's own."""
    credit = Receipt(
        f"credit:{invoice.id}", amount_micros, invoice.currency, "credit", invoice.number or "", now.date()
    )
    _write(session, invoice.tenant, credit, amount_micros, actor, now)


def match(session: Session, tenant_id: int, currency: str, *, now: datetime, first: Collection[int] = ()) -> None:
    """Settle what went back without being there, then pay what is open with what is unmatched: the invoices named
    `first`, then by due date. The account is taken.
    """
    credit = unmatched(session, tenant_id, currency)
    if not credit:
        return
    for repayment in _owed(session, tenant_id, currency):
        for payment in credit:
            used = min(-repayment.unmatched_micros, payment.unmatched_micros)
            if used:
                _settle(session, repayment, used)
                use(session, payment, used, now, repayment_id=repayment.id)
    for invoice in sorted(_open(session, tenant_id, currency), key=lambda row: row.id not in first):
        for payment in credit:
            used = min(invoice.open_micros, payment.unmatched_micros)
            if used:
                pay(session, invoice, used)
                use(session, payment, used, now, invoice_id=invoice.id)


def pay(session: Session, invoice: Invoice, amount_micros: int) -> None:
    """Lower what is open; an invoice with nothing open is paid."""
    rest = invoice.open_micros - amount_micros
    changed = session.execute(
        update(Invoice)
        .where(
            Invoice.tenant_id == invoice.tenant_id,
            Invoice.id == invoice.id,
            Invoice.status == "final",
            Invoice.open_micros == invoice.open_micros,
        )
        .values(open_micros=rest, status="final" if rest else "paid")
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise LostRace
    session.refresh(invoice)


def _settle(session: Session, repayment: Payment, amount_micros: int) -> None:
    """Lower what is owed of a repayment."""
    owed = Payment.unmatched_micros + amount_micros
    settled = session.execute(
        update(Payment)
        .where(Payment.tenant_id == repayment.tenant_id, Payment.id == repayment.id, owed <= 0)
        .values(unmatched_micros=owed)
        .execution_options(synchronize_session=False)
    )
    if rowcount(settled) != 1:
        raise LostRace
    session.refresh(repayment)


def matches_of(session: Session, invoice: Invoice) -> list[tuple[PaymentMatch, Payment]]:
    """What paid the invoice, oldest first."""
    rows = session.execute(
        select(PaymentMatch, Payment)
        .join(Payment, (Payment.tenant_id == PaymentMatch.tenant_id) & (Payment.id == PaymentMatch.payment_id))
        .where(PaymentMatch.tenant_id == invoice.tenant_id, PaymentMatch.invoice_id == invoice.id)
        .order_by(PaymentMatch.id)
    )
    return [(row[0], row[1]) for row in rows]


def credit_of(session: Session, tenant_id: int, currency: str) -> int:
    """What the tenant could be paid back."""
    return sum(payment.unmatched_micros for payment in unmatched(session, tenant_id, currency))


def _as_event(payment: Payment) -> Event:
    data = {
        "amount": format_micros(payment.amount_micros),
        "currency": payment.currency,
        "method": payment.method,
        "reference": payment.reference,
        "received_on": payment.received_on.isoformat(),
        "unmatched": format_micros(payment.unmatched_micros),
    }
    return Event(payment.tenant_id, str(payment.id), data)


def _check(receipt: Receipt) -> None:
    if receipt.amount_micros <= 0:
        raise Invalid("invalid_amount", "Enter an amount above zero.", field="amount")
    if receipt.method not in METHODS:
        raise Invalid("unknown_method", "The method is bank, cash or card.", field="method")
    if not receipt.key or len(receipt.key) > 200:
        raise Invalid("missing_key", "A payment has a reference of 1 to 200 characters.", field="reference")


def known(session: Session, tenant: Tenant, receipt: Receipt, amount_micros: int) -> Payment | None:
    """What was entered with this key. Raises Conflict (`key_reused`) where it was something else."""
    found = session.scalar(select(Payment).where(Payment.tenant_id == tenant.id, Payment.key == receipt.key))
    if found is None:
        return None
    same = (found.amount_micros, found.currency, found.method, found.reference, found.received_on)
    if same != (amount_micros, receipt.currency, receipt.method, receipt.reference, receipt.received_on):
        raise Conflict("key_reused", "A payment with this reference was entered already.", field="reference")
    return found


def _write(
    session: Session, tenant: Tenant, receipt: Receipt, amount_micros: int, actor: str, now: datetime
) -> Payment:
    payment = Payment(
        tenant_id=tenant.id,
        id=new_id(),
        key=receipt.key,
        method=receipt.method,
        reference=receipt.reference,
        received_on=receipt.received_on,
        amount_micros=amount_micros,
        unmatched_micros=max(0, amount_micros),
        currency=receipt.currency,
        made_at=now,
        made_by=actor,
    )
    session.add(payment)
    session.flush()
    return payment


def enter(
    session: Session,
    balances: Balances,
    tenant: Tenant,
    receipt: Receipt,
    amount_micros: int,
    actor: str,
    now: datetime,
) -> Payment:
    """Write the payment and its ledger entry; below zero it went back. The account is taken, nothing matched yet."""
    payment = _write(session, tenant, receipt, amount_micros, actor, now)
    kind = "payment" if amount_micros > 0 else "repayment"
    account = (payment.tenant_id, payment.currency)
    moved = Movement(account, kind, f"payment:{payment.id}", payment.reference, -amount_micros)
    ledger.enter(session, balances, [moved], now=now)
    return payment


def use(
    session: Session,
    payment: Payment,
    used: int,
    now: datetime,
    *,
    invoice_id: int | None = None,
    repayment_id: int | None = None,
) -> None:
    """Use what is unmatched of a payment for an invoice or a repayment."""
    taken = session.execute(
        update(Payment)
        .where(Payment.tenant_id == payment.tenant_id, Payment.id == payment.id, Payment.unmatched_micros >= used)
        .values(unmatched_micros=Payment.unmatched_micros - used)
        .execution_options(synchronize_session=False)
    )
    if rowcount(taken) != 1:
        raise LostRace
    session.refresh(payment)
    session.add(
        PaymentMatch(
            tenant_id=payment.tenant_id,
            id=new_id(),
            payment_id=payment.id,
            invoice_id=invoice_id,
            repayment_id=repayment_id,
            amount_micros=used,
            matched_at=now,
        )
    )
    session.flush()


def unmatched(session: Session, tenant_id: int, currency: str) -> Sequence[Payment]:
    """Payments with something left, oldest first, as they stand."""
    return _as_they_stand(session, tenant_id, currency, Payment.unmatched_micros > 0)


def _owed(session: Session, tenant_id: int, currency: str) -> Sequence[Payment]:
    """Repayments of which something was not there."""
    return _as_they_stand(session, tenant_id, currency, Payment.unmatched_micros < 0)


def _as_they_stand(session: Session, tenant_id: int, currency: str, which: ColumnElement[bool]) -> Sequence[Payment]:
    return session.scalars(
        select(Payment)
        .where(Payment.tenant_id == tenant_id, Payment.currency == currency, which)
        .order_by(Payment.id)
        .execution_options(populate_existing=True)
    ).all()


def _open(session: Session, tenant_id: int, currency: str) -> Sequence[Invoice]:
    return session.scalars(
        select(Invoice)
        .where(Invoice.tenant_id == tenant_id, Invoice.currency == currency, Invoice.open_micros > 0)
        .order_by(Invoice.due_on, Invoice.id)
        .execution_options(populate_existing=True)
    ).all()

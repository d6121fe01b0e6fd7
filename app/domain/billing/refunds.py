"""Money that a gateway gave back to the payer: what it had paid is open again. README.md, "Pay links"."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.core.ids import new_id
from app.db import LostRace, rowcount
from app.domain.audit import service as audit
from app.domain.billing import ledger, payments
from app.domain.billing.models import Invoice, Payment, PaymentMatch
from app.domain.billing.payments import Receipt
from app.domain.tenants.models import Tenant


def refund(
    session: Session, tenant: Tenant, receipt: Receipt, payment_key: str, *, actor: str, now: datetime
) -> Payment:
    """Enter that a payment went back to its payer, in full or in part: unlike `payments.repay` it happened already.

    Credit is used first, then what the payment had paid is open again, then whatever else is paid, newest first. What
    none of them covers is owed, until a payment settles it. The same key again answers with what was entered. Raises
    as `receive`.
    """
    balances = ledger.take(session, [(tenant.id, receipt.currency)])
    if known := payments.known(session, tenant, receipt, -receipt.amount_micros):
        return known
    gone_back = payments.enter(session, balances, tenant, receipt, -receipt.amount_micros, actor, now)
    rest = receipt.amount_micros
    credit = payments.unmatched(session, tenant.id, receipt.currency)
    for payment in sorted(credit, key=lambda row: row.key != payment_key):
        used = min(rest, payment.unmatched_micros)
        if used:
            payments.use(session, payment, used, now, repayment_id=gone_back.id)
            rest -= used
    for payment, invoice, paid_micros in _paid(session, tenant.id, receipt.currency, payment_key):
        used = min(rest, paid_micros)
        if used:
            _reopen(session, invoice, used)
            _move(session, payment, invoice, gone_back, used, now)
            rest -= used
    gone_back.unmatched_micros = -rest
    session.flush()
    audit.record(
        session, actor, "payment.refund", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        amount_micros=receipt.amount_micros, currency=receipt.currency, reference=receipt.reference,
    )  # fmt: skip
    return gone_back


def _paid(session: Session, tenant_id: int, currency: str, payment_key: str) -> Iterable[tuple[Payment, Invoice, int]]:
    """What payments have paid of which invoices: those of this payment first, then the newest."""
    match = PaymentMatch
    rows = session.execute(
        select(match.payment_id, match.invoice_id, func.sum(match.amount_micros))
        .where(match.tenant_id == tenant_id, match.invoice_id.is_not(None))
        .group_by(match.payment_id, match.invoice_id)
        .having(func.sum(match.amount_micros) > 0)
        .order_by(match.invoice_id.desc(), match.payment_id.desc())
    ).all()
    found = [
        (session.get_one(Payment, (tenant_id, row[0])), session.get_one(Invoice, (tenant_id, row[1])), int(row[2]))
        for row in rows
    ]
    standing = [row for row in found if row[0].currency == currency and row[1].status in ("final", "paid")]
    return sorted(standing, key=lambda row: row[0].key != payment_key)


def _reopen(session: Session, invoice: Invoice, amount_micros: int) -> None:
    session.refresh(invoice)
    changed = session.execute(
        update(Invoice)
        .where(
            Invoice.tenant_id == invoice.tenant_id,
            Invoice.id == invoice.id,
            Invoice.status == invoice.status,
            Invoice.open_micros == invoice.open_micros,
        )
        .values(open_micros=invoice.open_micros + amount_micros, status="final")
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise LostRace
    session.refresh(invoice)


def _move(session: Session, payment: Payment, invoice: Invoice, gone_back: Payment, used: int, now: datetime) -> None:
    """What the payment gave the invoice went back instead: the first is taken back by its negative."""
    about = {"tenant_id": payment.tenant_id, "payment_id": payment.id, "matched_at": now}
    session.add(PaymentMatch(id=new_id(), invoice_id=invoice.id, amount_micros=-used, **about))
    session.add(PaymentMatch(id=new_id(), repayment_id=gone_back.id, amount_micros=used, **about))
    session.flush()

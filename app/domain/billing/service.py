"""The life of a draft: make it, put lines on it, finalise or drop it. README.md, "Life"."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.money import MAX_MICROS
from app.core.periods import Period
from app.core.quantities import MAX_QUANTITY
from app.domain.audit import service as audit
from app.domain.billing import drafting, issuing, ledger, lines, profiles
from app.domain.billing.drafting import draft_one, lines_by_invoice, redraft
from app.domain.billing.due import PERIOD, START, Due, ends_at
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.terms import Terms
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

MAX_NAME = 255


def draft(
    session: Session, subscription: Subscription, period: Period, terms: Terms, *, now: datetime, reason: str = PERIOD
) -> Invoice:
    """The draft about `period`, which must be over, or with `start` about the first one; twice is once.

    Raises Conflict (`period_runs`, `not_the_first`).
    """
    if (
        reason == START
        and period.first_on != subscriptions.period_on_day(subscription, subscription.anchor_on).first_on
    ):
        raise Conflict("not_the_first", "Only the first period has an opening invoice.")
    moves.take_effect(session, now=now, tenant_ids=[subscription.tenant_id])
    if reason == PERIOD and now < ends_at(subscription, period):
        raise Conflict("period_runs", "The period is not over yet.")
    return draft_one(session, Due(subscription, period, reason), terms, now=now)


def get(session: Session, tenant_id: int, invoice_id: int) -> Invoice:
    """The tenant's invoice, as it stands. Raises NotFound."""
    found = session.get(Invoice, (tenant_id, invoice_id), populate_existing=True)
    if found is None:
        raise NotFound("unknown_invoice", "There is no such invoice.")
    return found


def lines_of(session: Session, invoice: Invoice) -> list[InvoiceLine]:
    """Its lines in their order."""
    return lines_by_invoice(session, [invoice])[invoice.id]


def add_line(
    session: Session,
    invoice: Invoice,
    name: str,
    quantity: int,
    price_micros: int,
    terms: Terms,
    *,
    tax_code: str = "",
    actor: str,
    now: datetime,
) -> None:
    """Put a line of staff's own on a draft; a negative price takes off. Raises Invalid, Conflict (`not_a_draft`)."""
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise Invalid("missing_name", "Say what the line is for.", field="name")
    if not 1 <= quantity <= MAX_QUANTITY or not 0 < abs(price_micros) * quantity <= MAX_MICROS:
        raise Invalid("invalid_amount", "Enter a quantity and a price other than zero.", field="price")
    tax_code = tax_code or profiles.profile(session, invoice.tenant_id, terms).tax_code
    if tax_code not in profiles.rates(session):
        raise Invalid("unknown_rate", "There is no such tax rate.", field="tax_code")
    _take_draft(session, invoice)
    unit = minor_unit_micros(invoice.currency)
    line = lines.one_off(name, quantity, price_micros, tax_code=tax_code, unit_micros=unit)
    last = max((row.position for row in lines_of(session, invoice)), default=0)
    session.add(
        InvoiceLine(
            tenant_id=invoice.tenant_id,
            id=new_id(),
            invoice_id=invoice.id,
            position=last + 1,
            **drafting.values_of(line),
        )
    )
    session.flush()
    redraft(session, [invoice], terms)
    _note(session, invoice, "invoice.add_line", actor, now, line=name, amount_micros=line.amount_micros)


def remove_line(session: Session, invoice: Invoice, line_id: int, terms: Terms, *, actor: str, now: datetime) -> None:
    """Take a line of staff's own off a draft. Raises NotFound, Conflict (`not_a_draft`)."""
    _take_draft(session, invoice)
    line = session.get(InvoiceLine, (invoice.tenant_id, line_id))
    if line is None or line.invoice_id != invoice.id or line.kind != lines.ONE_OFF:
        raise NotFound("unknown_line", "There is no such line.")
    name = line.name
    session.delete(line)
    session.flush()
    redraft(session, [invoice], terms)
    _note(session, invoice, "invoice.remove_line", actor, now, line=name)


def refresh(session: Session, invoice: Invoice, terms: Terms) -> bool:
    """Reckon a draft anew; True where that changed it."""
    _take_draft(session, invoice)
    return bool(redraft(session, [invoice], terms))


def accept(session: Session, invoice: Invoice, *, actor: str, now: datetime) -> None:
    """Somebody looked at what a bill run set aside: it may go on. Raises Conflict (`not_a_draft`)."""
    _take_draft(session, invoice)
    _note(session, invoice, "invoice.accept", actor, now, changed={"odd": [invoice.odd, ""]})
    invoice.odd = ""
    session.flush()


def discard(session: Session, invoice: Invoice, *, actor: str, now: datetime) -> None:
    """Drop a draft; it is due again at the next run. Raises Conflict (`not_a_draft`)."""
    _take_draft(session, invoice)
    here = (InvoiceLine.tenant_id == invoice.tenant_id, InvoiceLine.invoice_id == invoice.id)
    session.execute(delete(InvoiceLine).where(*here).execution_options(synchronize_session=False))
    _note(session, invoice, "invoice.discard", actor, now)
    session.delete(invoice)
    session.flush()


def finalise(
    session: Session, invoice: Invoice, terms: Terms, *, actor: str, now: datetime, seen_micros: int | None = None
) -> Invoice:
    """Give a draft its number: from here on it never changes. Its period is closed, later usage is late.

    Raises Conflict: `not_a_draft`, `changed_meanwhile` where it does not come to `seen_micros`, `unfinished`
    for one before it.
    """
    _check_order(session, invoice)
    done = issuing.issue(session, [invoice], terms, actor=actor, now=now, keep_changed=seen_micros is None)
    if done.changed and invoice.total_micros == seen_micros:
        done = issuing.issue(session, [invoice], terms, actor=actor, now=now)
    if done.changed or (done.issued and seen_micros not in (None, invoice.total_micros)):
        raise Conflict("changed_meanwhile", "The invoice comes to another amount now than the page said.")
    if not done.issued:
        raise Conflict("not_a_draft", "The invoice was finalised already.")
    _note(session, invoice, "invoice.finalise", actor, now, number=invoice.number)
    return invoice


def _take_draft(session: Session, invoice: Invoice) -> None:
    ledger.take(session, [(invoice.tenant_id, invoice.currency)])
    if not issuing.drafts_among(session, [invoice]):
        raise Conflict("not_a_draft", "The invoice was finalised: it does not change any more.")


def _check_order(session: Session, invoice: Invoice) -> None:
    """An earlier draft of the subscription goes first, so that late usage is on the right one."""
    key = (Invoice.tenant_id == invoice.tenant_id, Invoice.subscription_id == invoice.subscription_id)
    earlier = Invoice.period_on < invoice.period_on
    if session.scalar(select(Invoice.id).where(*key, earlier, Invoice.status == "draft").limit(1)):
        raise Conflict("unfinished", "Finalise or discard the draft of the period before it first.")


def _note(session: Session, invoice: Invoice, act: str, actor: str, now: datetime, **details: object) -> None:
    tenant: Tenant = invoice.tenant
    if invoice.number is None:
        details["period"] = invoice.period_on.isoformat()
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, **details)

"""Credit notes: what takes an issued invoice back, in full or by lines. README.md, "Life"."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.core.ids import new_id
from app.domain.audit import service as audit
from app.domain.billing import drafting, issuing, ledger, lines, payments, standing
from app.domain.billing.drafting import lines_by_invoice
from app.domain.billing.ledger import Movement
from app.domain.billing.lines import Rate, Tax, Totals
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.terms import Terms
from app.domain.metering.statement import minor_unit_micros

# An invoice's life: what each status may become. What has a number is never edited; a credit note makes it void, and
# what was paid is open again when the payment is refunded.
TRANSITIONS = {"draft": {"final"}, "final": {"paid", "void"}, "paid": {"final", "void"}, "void": set()}


def credit(
    session: Session,
    invoice: Invoice,
    terms: Terms,
    *,
    actor: str,
    now: datetime,
    line_ids: Collection[int] | None = None,
) -> Invoice:
    """A credit note on all that is left of an issued invoice, or on these lines; one on everything makes it void.

    What it gives beyond what is open is the tenant's credit. Raises Conflict (`not_issued`, `nothing_to_credit`).
    """
    account = (invoice.tenant_id, invoice.currency)
    balances = ledger.take(session, [account])
    session.refresh(invoice)
    notes = notes_of(session, invoice)
    if invoice.kind != "invoice" or invoice.status not in ("final", "paid"):
        raise Conflict("not_issued", "Only an issued invoice can be credited.")
    gone = {line.credits_line_id for each in lines_by_invoice(session, notes).values() for line in each}
    left = [line for line in lines_by_invoice(session, [invoice])[invoice.id] if line.id not in gone]
    chosen = [line for line in left if line_ids is None or line.id in line_ids]
    totals = _credited(invoice, notes, left, chosen)
    if not chosen or totals.total_micros > 0 or (line_ids is not None and len(chosen) != len(set(line_ids))):
        raise Conflict("nothing_to_credit", "There is nothing to credit in these lines.")
    credited = [lines.credited(drafting.as_line(line)) for line in chosen]
    note = _note_of(invoice, notes, totals, now)
    note.cost_micros = sum(line.cost_micros for line in credited)
    session.add(note)
    session.flush()
    drafting.write_lines(session, [(note.tenant_id, note.id, credited, totals)], [line.id for line in chosen])
    issuing.number(session, [note], terms, now)
    entry = Movement(account, "credit_note", f"invoice:{note.id}", note.number or "", totals.total_micros)
    ledger.enter(session, balances, [entry], now=now)
    _settle(session, invoice, note, whole=len(chosen) == len(left), actor=actor, now=now)
    audit.record(
        session,
        actor,
        "invoice.credit",
        f"tenant:{invoice.tenant.slug}",
        now=now,
        tenant_id=invoice.tenant_id,
        number=invoice.number,
        credit_note=note.number,
    )
    return note


def notes_of(session: Session, invoice: Invoice) -> list[Invoice]:
    """The credit notes on an invoice, oldest first."""
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.tenant_id == invoice.tenant_id, Invoice.credits_id == invoice.id)
            .order_by(Invoice.id)
        )
    )


def _credited(
    invoice: Invoice, notes: Sequence[Invoice], left: Sequence[InvoiceLine], chosen: Sequence[InvoiceLine]
) -> Totals:
    """What a credit note comes to. The last one takes what those before have left, so that all of them make it up."""
    kept = {tax["code"]: tax for tax in invoice.printed["taxes"]}
    rates: dict[str, Rate] = {code: drafting.rate_of(tax) for code, tax in kept.items()}
    taken = [lines.credited(drafting.as_line(line)) for line in chosen]
    if len(chosen) != len(left):
        return lines.total(taken, rates.values(), unit_micros=minor_unit_micros(invoice.currency))
    rest = {code: [tax["net_micros"], tax["tax_micros"]] for code, tax in kept.items()}
    for note in notes:
        for tax in note.printed["taxes"]:
            rest[tax["code"]][0] += tax["net_micros"]
            rest[tax["code"]][1] += tax["tax_micros"]
    named = {line.tax_code for line in chosen}  # lines that come to nothing together still name their rate
    taxes = tuple(Tax(rates[code], -net, -tax) for code, (net, tax) in rest.items() if net or tax or code in named)
    return Totals(taxes, sum(tax.net_micros for tax in taxes), sum(tax.tax_micros for tax in taxes))


def _note_of(invoice: Invoice, notes: Sequence[Invoice], totals: Totals, now: datetime) -> Invoice:
    return Invoice(
        tenant_id=invoice.tenant_id,
        id=new_id(),
        kind="credit_note",
        subscription_id=invoice.subscription_id,
        period_on=invoice.period_on,
        period_end_on=invoice.period_end_on,
        reason=f"credit-{invoice.reason}-{len(notes) + 1}",
        status="draft",
        currency=invoice.currency,
        created_at=now,
        net_micros=totals.net_micros,
        tax_micros=totals.tax_micros,
        tax_within_micros=totals.tax_within_micros,
        total_micros=totals.total_micros,
        printed={**invoice.printed, "taxes": drafting.taxes_of(totals), "credits": invoice.number},
        credits_id=invoice.id,
    )


def _settle(session: Session, invoice: Invoice, note: Invoice, *, whole: bool, actor: str, now: datetime) -> None:
    applied = min(invoice.open_micros, -note.total_micros)
    rest = invoice.open_micros - applied
    status = "void" if whole else ("paid" if not rest else invoice.status)
    if status != invoice.status and status not in TRANSITIONS[invoice.status]:
        raise Conflict("wrong_status", "The invoice cannot be credited any more.")
    invoice.open_micros, invoice.status = rest, status
    session.flush()
    if -note.total_micros > applied:
        payments.add_credit(session, note, -note.total_micros - applied, actor=actor, now=now)
        payments.match(session, invoice.tenant_id, invoice.currency, now=now)
    standing.lift(session, invoice.tenant_id, actor=actor, now=now)

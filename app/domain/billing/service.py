"""The life of an invoice: draft it, put lines on it, finalise it, credit it. README.md, "Life"."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.money import MAX_MICROS
from app.core.periods import Period
from app.core.quantities import MAX_QUANTITY
from app.db import LostRace, insert_new, rowcount
from app.domain.audit import service as audit
from app.domain.billing import drafting, ledger, lines, payments, profiles
from app.domain.billing.drafting import CHANGED, draft_one, lines_by_invoice, redraft
from app.domain.billing.due import PERIOD, START, Due
from app.domain.billing.ledger import Balances, Movement
from app.domain.billing.lines import Rate, Tax, Totals
from app.domain.billing.models import Invoice, InvoiceLine, NumberSeries, Payment
from app.domain.billing.terms import Terms
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

# An invoice's life: what each status may become. What has a number is never edited; a credit note makes it void.
TRANSITIONS = {"draft": {"final"}, "final": {"paid", "void"}, "paid": {"void"}, "void": set()}
MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of drafts: issued, or put back because their figures are no longer those that were reviewed."""

    issued: list[Invoice]
    changed: list[Invoice]


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
    if reason == PERIOD and now < period.end:
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
    _note(session, invoice, "invoice.accept", actor, now, odd=invoice.odd)
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
    done = issue(session, [invoice], terms, actor=actor, now=now, keep_changed=seen_micros is None)
    if done.changed and invoice.total_micros == seen_micros:
        done = issue(session, [invoice], terms, actor=actor, now=now)
    if done.changed:
        raise Conflict("changed_meanwhile", "Usage came in meanwhile: the invoice comes to another amount now.")
    if not done.issued:
        raise Conflict("not_a_draft", "The invoice was finalised already.")
    _note(session, invoice, "invoice.finalise", actor, now, number=invoice.number)
    return invoice


def issue(
    session: Session,
    found: Sequence[Invoice],
    terms: Terms,
    *,
    actor: str,
    now: datetime,
    keep_changed: bool = False,
) -> Issued:
    """Number these drafts in the order of tenants and periods, in a fixed number of statements.

    The periods are closed and the figures read once more: a draft that they change stays one, marked so, unless
    `keep_changed`. What is no draft any more is left out.
    """
    balances = ledger.take(session, {(row.tenant_id, row.currency) for row in found})
    drafts = _reread(session, found)
    subscriptions.close_many_before(session, _first_open(drafts))
    changed_ids = redraft(session, drafts, terms)
    changed = [row for row in drafts if row.id in changed_ids and not keep_changed]
    for row in changed:
        row.odd = CHANGED
    ready = sorted((row for row in drafts if row not in changed), key=_order)
    _number(session, ready, terms, now)
    _charge(session, balances, ready, actor, now)
    return Issued(ready, changed)


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
    left = [line for line in lines_of(session, invoice) if line.id not in gone]
    chosen = [line for line in left if line_ids is None or line.id in line_ids]
    totals = _credited(invoice, notes, left, chosen)
    if not chosen or totals.total_micros > 0 or (line_ids is not None and len(chosen) != len(set(line_ids))):
        raise Conflict("nothing_to_credit", "There is nothing to credit in these lines.")
    note = _note_of(invoice, notes, totals, now)
    session.add(note)
    session.flush()
    credited = [lines.credited(drafting.as_line(line)) for line in chosen]
    drafting.write_lines(session, [(note.tenant_id, note.id, credited)], [line.id for line in chosen])
    _number(session, [note], terms, now)
    entry = Movement(account, "credit_note", f"invoice:{note.id}", note.number or "", totals.total_micros)
    ledger.enter(session, balances, [entry], now=now)
    _settle(session, invoice, note, whole=len(chosen) == len(left), actor=actor, now=now)
    _note(session, invoice, "invoice.credit", actor, now, number=invoice.number, credit_note=note.number)
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


def _take_draft(session: Session, invoice: Invoice) -> None:
    ledger.take(session, [(invoice.tenant_id, invoice.currency)])
    if not _reread(session, [invoice]):
        raise Conflict("not_a_draft", "The invoice was finalised: it does not change any more.")


def _check_order(session: Session, invoice: Invoice) -> None:
    """An earlier draft of the subscription goes first, so that late usage is on the right one."""
    key = (Invoice.tenant_id == invoice.tenant_id, Invoice.subscription_id == invoice.subscription_id)
    earlier = Invoice.period_on < invoice.period_on
    if session.scalar(select(Invoice.id).where(*key, earlier, Invoice.status == "draft").limit(1)):
        raise Conflict("unfinished", "Finalise or discard the draft of the period before it first.")


def _reread(session: Session, found: Sequence[Invoice]) -> list[Invoice]:
    """Those that are drafts still, as they stand."""
    key = tuple_(Invoice.tenant_id, Invoice.id)
    return list(
        session.scalars(
            select(Invoice)
            .where(key.in_([(row.tenant_id, row.id) for row in found]), Invoice.status == "draft")
            .order_by(Invoice.tenant_id, Invoice.id)
            .execution_options(populate_existing=True)
        )
    )


def _first_open(drafts: Iterable[Invoice]) -> dict[int, date]:
    found: dict[int, date] = {}
    for row in drafts:
        if row.reason == PERIOD:
            found[row.tenant_id] = max(row.period_end_on, found.get(row.tenant_id, row.period_end_on))
    return found


def _order(invoice: Invoice) -> tuple[int, date, bool, int]:
    return invoice.tenant_id, invoice.period_on, invoice.reason != START, invoice.id


def _number(session: Session, ready: Sequence[Invoice], terms: Terms, now: datetime) -> None:
    """Take numbers, one statement a series, and write them. Rolled back with the transaction, they are free again."""
    by_prefix: dict[str, list[Invoice]] = defaultdict(list)
    days = {row.id: now.astimezone(ZoneInfo(row.tenant.timezone)).date() for row in ready}
    for row in ready:
        by_prefix[terms.prefix_on(days[row.id])].append(row)
    known = profiles.many(session, (row.tenant_id for row in ready), terms)
    values = []
    for prefix, rows in sorted(by_prefix.items()):
        first = _take_numbers(session, prefix, len(rows))
        for number, row in enumerate(rows, start=first):
            values.append(
                {
                    "of_tenant": row.tenant_id,
                    "of_id": row.id,
                    "number": f"{prefix}{number:05d}",
                    "issued_at": now,
                    "issued_on": days[row.id],
                    "due_on": days[row.id] + timedelta(days=known[row.tenant_id].payment_days),
                    "open_micros": max(0, row.total_micros) if row.kind == "invoice" else 0,
                }
            )
    _write_numbers(session, values)
    _reload(session, ready)


def _take_numbers(session: Session, prefix: str, count: int) -> int:
    """The first of `count` numbers that are now this transaction's own."""
    insert_new(session, NumberSeries, [{"prefix": prefix, "last": 0}], [NumberSeries.prefix])
    last = session.execute(
        update(NumberSeries)
        .where(NumberSeries.prefix == prefix)
        .values(last=NumberSeries.last + count)
        .returning(NumberSeries.last)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    return last - count + 1


def _write_numbers(session: Session, values: list[dict[str, object]]) -> None:
    if not values:
        return
    table = Invoice.__table__
    names = ("number", "issued_at", "issued_on", "due_on", "open_micros")
    written = session.connection().execute(
        update(table)  # type: ignore[arg-type]  # a Table, which mypy sees as a FromClause
        .where(table.c.tenant_id == bindparam("of_tenant"), table.c.id == bindparam("of_id"), table.c.status == "draft")
        .values(status="final", odd="", **{name: bindparam(name) for name in names}),
        values,
    )
    if rowcount(written) != len(values):
        raise LostRace


def _reload(session: Session, found: Sequence[Invoice]) -> None:
    key = tuple_(Invoice.tenant_id, Invoice.id)
    session.scalars(
        select(Invoice)
        .where(key.in_([(row.tenant_id, row.id) for row in found]))
        .execution_options(populate_existing=True)
    ).all()


def _charge(session: Session, balances: Balances, ready: Sequence[Invoice], actor: str, now: datetime) -> None:
    """Enter what was issued; below zero it is credit; with nothing to pay it is paid; credit there was pays it."""
    ledger.enter(session, balances, [_entry(row) for row in ready], now=now)
    for row in ready:
        if row.total_micros < 0:
            payments.add_credit(session, row, -row.total_micros, actor=actor, now=now)
        if row.total_micros <= 0:
            payments.pay(session, row, 0)
    for tenant_id, currency in _with_credit(session, {row.tenant_id for row in ready}):
        payments.match(session, tenant_id, currency, now=now)


def _entry(row: Invoice) -> Movement:
    return Movement((row.tenant_id, row.currency), "invoice", f"invoice:{row.id}", row.number or "", row.total_micros)


def _with_credit(session: Session, tenant_ids: Collection[int]) -> list[tuple[int, str]]:
    rows = session.execute(
        select(Payment.tenant_id, Payment.currency)
        .where(Payment.tenant_id.in_(tenant_ids), Payment.unmatched_micros > 0)
        .distinct()
    )
    return [(row.tenant_id, row.currency) for row in rows]


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
    taxes = tuple(Tax(rates[code], -net, -tax) for code, (net, tax) in rest.items() if net or tax)
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


def _note(session: Session, invoice: Invoice, act: str, actor: str, now: datetime, **details: object) -> None:
    tenant: Tenant = invoice.tenant
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, **details)

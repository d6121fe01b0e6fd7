"""Numbers: what makes a draft an invoice, many at once. README.md, "Life"."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from app.core.money import format_micros
from app.db import LostRace, among, insert_new, rowcount
from app.domain.billing import ledger, payments, profiles
from app.domain.billing.drafting import CHANGED, redraft
from app.domain.billing.due import PERIOD, START
from app.domain.billing.ledger import Balances, Movement
from app.domain.billing.models import Invoice, NumberSeries, Payment
from app.domain.billing.terms import Terms
from app.domain.jobs import service as jobs
from app.domain.subscriptions import service as subscriptions
from app.domain.webhooks import events
from app.domain.webhooks.events import Event

MAIL = "invoice.mail"  # the job that tells the tenant of an invoice
AFTER_A_RUN = timedelta(minutes=10)  # thousands of mails do not come between the chunks of a bill run


@dataclass(frozen=True, slots=True)
class Issued:
    """What became of drafts: issued, or put back because their figures are no longer those that were reviewed."""

    issued: list[Invoice]
    changed: list[Invoice]


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
    drafts = drafts_among(session, found)
    subscriptions.close_before(session, _first_open(drafts))
    changed_ids = redraft(session, drafts, terms)
    changed = [row for row in drafts if row.id in changed_ids and not keep_changed]
    for row in changed:
        row.odd = CHANGED
    ready = sorted((row for row in drafts if row not in changed), key=_order)
    number(session, ready, terms, now)
    _charge(session, balances, ready, actor, now)
    return Issued(ready, changed)


def drafts_among(session: Session, found: Sequence[Invoice]) -> list[Invoice]:
    """Those that are drafts still, as they stand."""
    return list(
        session.scalars(
            select(Invoice)
            .where(
                among(session, [(row.tenant_id, row.id) for row in found], Invoice.tenant_id, Invoice.id),
                Invoice.status == "draft",
            )
            .order_by(Invoice.tenant_id, Invoice.id)
            .execution_options(populate_existing=True)
        )
    )


def _first_open(drafts: Iterable[Invoice]) -> dict[tuple[int, int], date]:
    found: dict[tuple[int, int], date] = {}
    for row in drafts:
        if row.reason == PERIOD:
            key = (row.tenant_id, row.subscription_id)
            found[key] = max(row.period_end_on, found.get(key, row.period_end_on))
    return found


def _order(invoice: Invoice) -> tuple[int, date, bool, int]:
    return invoice.tenant_id, invoice.period_on, invoice.reason != START, invoice.id


def number(session: Session, ready: Sequence[Invoice], terms: Terms, now: datetime) -> None:
    """Take numbers, one statement a series, and write them; ask for the mails.

    Rolled back with the transaction, the numbers are free again.
    """
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
    _write_numbers(session, ready, values)
    events.tell(session, events.INVOICE_FINAL, map(_as_event, ready), now=now)
    if terms.mails:
        about = {f"{MAIL}/{row.id}": {"tenant_id": row.tenant_id, "invoice_id": row.id} for row in ready}
        of_a_run = any(row.bill_run_id for row in ready)
        jobs.enqueue_many(session, MAIL, about, run_at=now + AFTER_A_RUN if of_a_run else now, now=now)


def _as_event(row: Invoice) -> Event:
    data = {
        "number": row.number,
        "kind": row.kind,
        "period": [row.period_on.isoformat(), row.period_end_on.isoformat()],
        "issued_on": str(row.issued_on),
        "due_on": str(row.due_on),
        "currency": row.currency,
        "net": format_micros(row.net_micros),
        "tax": format_micros(row.tax_micros),
        "total": format_micros(row.total_micros),
        "credits": row.printed.get("credits"),
    }
    return Event(row.tenant_id, str(row.id), data)


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


def _write_numbers(session: Session, ready: Iterable[Invoice], values: list[dict[str, Any]]) -> None:
    """Into the rows, and into the objects that were read of them."""
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
    by_id = {row.id: row for row in ready}
    for each in values:
        now_has = {"status": "final", "odd": "", **{name: each[name] for name in names}}
        for name, value in now_has.items():
            set_committed_value(by_id[each["of_id"]], name, value)


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
        .where(among(session, tenant_ids, Payment.tenant_id), Payment.unmatched_micros > 0)
        .distinct()
    )
    return [(row.tenant_id, row.currency) for row in rows]

"""Find invoices: by state, tenant, number, run; newest first, by keyset."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.core.periods import anchored_day
from app.domain.billing.models import Invoice
from app.domain.tenants.models import Tenant

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class InvoiceQuery:
    """What to list; empty means any. `state`: draft, odd, open, overdue, paid, void or credit_note."""

    text: str = ""  # part of the number or of the tenant's name
    state: str = ""
    tenant_id: int | None = None
    run_id: int | None = None
    issued_only: bool = False
    month: date | None = None  # issued in the month that begins on this day
    currency: str = ""


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """Invoices newest first, and where the pages beside this one begin (None: there is none)."""

    invoices: list[Invoice]
    older: tuple[int] | None
    newer: tuple[int] | None


def issued_in(currency: str, first: date, end: date) -> tuple[ColumnElement[bool], ...]:
    """What was issued on the days `[first, end)`, in the tenants' time zones; in any currency where none is named."""
    found = (Invoice.issued_on >= first, Invoice.issued_on < end, Invoice.status != "draft")
    return (*found, Invoice.currency == currency) if currency else found


def states(today: date) -> dict[str, ColumnElement[bool]]:
    """What each state of the query means."""
    return {
        "draft": Invoice.status == "draft",
        "odd": (Invoice.status == "draft") & (Invoice.odd != ""),
        "open": Invoice.open_micros > 0,
        "overdue": (Invoice.open_micros > 0) & (Invoice.due_on < today),
        "paid": Invoice.status == "paid",
        "void": Invoice.status == "void",
        "credit_note": Invoice.kind == "credit_note",
    }


def find(
    session: Session,
    query: InvoiceQuery,
    *,
    today: date,
    after: int | None = None,
    before: int | None = None,
    most: int = PAGE_SIZE,
) -> InvoicePage:
    """One page. One statement, whatever the number of rows."""
    backwards = before is not None and after is None
    statement = select(Invoice).join(Tenant, Tenant.id == Invoice.tenant_id).where(*_fits(query, today))
    if backwards:
        statement = statement.where(Invoice.id > before).order_by(Invoice.id)
    else:
        statement = statement.order_by(Invoice.id.desc())
        statement = statement if after is None else statement.where(Invoice.id < after)
    rows = list(session.scalars(statement.limit(most + 1)))
    more, shown = len(rows) > most, rows[:most]
    if backwards:
        shown.reverse()
    if not shown:
        return InvoicePage([], None, None)
    return InvoicePage(
        shown,
        older=(shown[-1].id,) if more or backwards else None,
        newer=(shown[0].id,) if (more if backwards else after is not None) else None,
    )


def by_number(session: Session, tenant_id: int, number: str) -> Invoice:
    """The tenant's invoice or credit note with this number. Raises NotFound."""
    found = session.scalar(select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.number == number))
    if found is None:
        raise NotFound("unknown_invoice", "There is no such invoice.")
    return found


def count(session: Session, state: str, *, today: date) -> int:
    """How many invoices are in a state."""
    return session.scalar(select(func.count()).select_from(Invoice).where(states(today)[state])) or 0


def _fits(query: InvoiceQuery, today: date) -> Iterator[ColumnElement[bool]]:
    if query.tenant_id is not None:
        yield Invoice.tenant_id == query.tenant_id
    if query.run_id is not None:
        yield Invoice.bill_run_id == query.run_id
    if query.issued_only:
        yield Invoice.status != "draft"
    if query.state:
        yield states(today)[query.state]
    if query.month:
        yield from issued_in("", query.month, anchored_day(query.month, 1))
    if query.currency:
        yield Invoice.currency == query.currency
    if query.text:
        yield or_(
            Invoice.number.icontains(query.text, autoescape=True), Tenant.name.icontains(query.text, autoescape=True)
        )

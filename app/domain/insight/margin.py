"""Retail, wholesale and margin of what was invoiced: by month, tenant and package. README.md, "Margin"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, extract, func, select, tuple_
from sqlalchemy.orm import Session

from app.core.periods import anchored_day
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.reading import issued_in
from app.domain.catalog.models import Package
from app.domain.tenants.models import Tenant

MONTHS = 12
PAGE_SIZE = 25
_OF_INVOICE = and_(Invoice.tenant_id == InvoiceLine.tenant_id, Invoice.id == InvoiceLine.invoice_id)


@dataclass(frozen=True, slots=True)
class Margin:
    """What was charged without tax, and what that cost the provider; `about` says of which month, tenant or package.

    `invoices` counts credit notes too; of a package it is how many have a line of it.
    """

    about: Any
    retail_micros: int
    wholesale_micros: int
    invoices: int

    @property
    def margin_micros(self) -> int:
        """Retail less wholesale."""
        return self.retail_micros - self.wholesale_micros


def currencies(session: Session) -> list[str]:
    """In which currencies anything was invoiced, most invoices first."""
    rows = session.execute(
        select(Invoice.currency)
        .where(Invoice.status != "draft")
        .group_by(Invoice.currency)
        .order_by(func.count().desc(), Invoice.currency)
    )
    return list(rows.scalars())


def by_month(session: Session, currency: str, last: date) -> list[Margin]:
    """The twelve months up to that of `last`, oldest first; `about` is the first day of each. One statement."""
    first = anchored_day(last.replace(day=1), 1 - MONTHS)
    year, month = extract("year", Invoice.issued_on), extract("month", Invoice.issued_on)
    rows = session.execute(
        select(year, month, *_sums(Invoice))
        .where(*issued_in(currency, first, anchored_day(last.replace(day=1), 1)))
        .group_by(year, month)
    )
    found = {date(int(row[0]), int(row[1]), 1): _margin(None, row[2:]) for row in rows}
    months = [anchored_day(first, number) for number in range(MONTHS)]
    return [
        Margin(each, one.retail_micros, one.wholesale_micros, one.invoices)
        for each in months
        for one in (found.get(each, Margin(each, 0, 0, 0)),)
    ]


def by_tenant(session: Session, currency: str, month: date, *, start: int = 0) -> tuple[list[Margin], int | None]:
    """The tenants of a month, those that bring most first, from place `start` on; and where the next page starts."""
    retail, wholesale, count = _sums(Invoice)
    rows = session.execute(
        select(Invoice.tenant_id, retail, wholesale, count)
        .where(*_in_month(currency, month))
        .group_by(Invoice.tenant_id)
        .order_by((retail - wholesale).desc(), Invoice.tenant_id)
        .offset(start)
        .limit(PAGE_SIZE + 1)
    ).all()
    named = _by_id(session, Tenant, [row.tenant_id for row in rows])
    found = [_margin(named[row.tenant_id], row[1:]) for row in rows[:PAGE_SIZE]]
    return found, start + PAGE_SIZE if len(rows) > PAGE_SIZE else None


def by_package(session: Session, currency: str, month: date) -> list[Margin]:
    """The packages of a month, those that bring most first; None is what belongs to no package."""
    retail, wholesale = func.sum(InvoiceLine.net_micros), func.sum(InvoiceLine.cost_micros)
    rows = session.execute(
        select(InvoiceLine.package_id, retail, wholesale, func.count(Invoice.id.distinct()))
        .join(Invoice, _OF_INVOICE)
        .where(*_in_month(currency, month))
        .group_by(InvoiceLine.package_id)
        .order_by((retail - wholesale).desc(), InvoiceLine.package_id)
    ).all()
    named = _by_id(session, Package, [row.package_id for row in rows])
    return [_margin(named.get(row.package_id), row[1:]) for row in rows]


def lines_of(
    session: Session, currency: str, month: date, package: Package | None, *, after: tuple[int, int] | None = None
) -> tuple[Sequence[tuple[InvoiceLine, Invoice]], tuple[int, int] | None]:
    """The lines that a package's figures sum, newest invoice first, and where the next page begins. One statement."""
    statement = (
        select(InvoiceLine, Invoice)
        .join(Invoice, _OF_INVOICE)
        .where(*_in_month(currency, month), InvoiceLine.package_id == (package.id if package else None))
        .order_by(Invoice.id.desc(), InvoiceLine.id)
    )
    if after is not None:
        place = tuple_(-Invoice.id, InvoiceLine.id)
        statement = statement.where(place > (-after[0], after[1]))
    rows = [(row.InvoiceLine, row.Invoice) for row in session.execute(statement.limit(PAGE_SIZE + 1))]
    shown = rows[:PAGE_SIZE]
    return shown, (shown[-1][1].id, shown[-1][0].id) if len(rows) > PAGE_SIZE else None


def _in_month(currency: str, month: date) -> tuple[ColumnElement[bool], ...]:
    return issued_in(currency, month, anchored_day(month, 1))


def _sums(table: type[Invoice]) -> tuple[ColumnElement[Any], ColumnElement[Any], ColumnElement[int]]:
    return func.sum(table.net_micros), func.sum(table.cost_micros), func.count()


def _margin(about: Any, sums: Sequence[Any]) -> Margin:
    return Margin(about, int(sums[0]), int(sums[1]), sums[2])


def _by_id(session: Session, model: type[Any], ids: Sequence[int | None]) -> dict[int | None, Any]:
    rows = session.scalars(select(model).where(model.id.in_([each for each in ids if each is not None])))
    return {row.id: row for row in rows}

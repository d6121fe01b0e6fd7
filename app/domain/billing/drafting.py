"""Make drafts of what is due, many at once, and make them anew from the figures as they stand."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, insert, select
from sqlalchemy.orm import Session

from app.core.ids import new_id, new_ids
from app.db import among, insert_new
from app.domain.billing import lines, profiles
from app.domain.billing.due import PERIOD, Due
from app.domain.billing.figures import Figures, Supposed
from app.domain.billing.lines import Line, Rate, Totals
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Terms
from app.domain.metering.models import Quarantined
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant, TenantName

NEGATIVE, TENFOLD, QUARANTINE, CHANGED = "negative_total", "ten_times_the_last", "open_quarantine", "changed"
_LINE_FIELDS = [field.name for field in fields(Line)]
Made = tuple[dict[str, Any], list[Line], Totals]  # an invoice's columns, its lines and what they come to
_KEY = [Invoice.tenant_id, Invoice.subscription_id, Invoice.period_on, Invoice.reason]


class Reckoning:
    """Lines and totals of what is due, on the figures as they stand now: a fixed number of statements for all."""

    def __init__(
        self, session: Session, dues: Sequence[Due], terms: Terms, supposed: Supposed = MappingProxyType({})
    ) -> None:
        """`supposed`: see `Figures`."""
        self.rates = profiles.rates(session)
        self._terms = terms
        self._provider = terms.issuer.printed()
        self._profiles = profiles.many(session, (due.subscription.tenant_id for due in dues), terms)
        self._figures = Figures(session, dues, supposed)

    def profile(self, tenant_id: int) -> Profile:
        """How the tenant is billed."""
        return self._profiles[tenant_id]

    def lines_of(self, due: Due, one_off: Sequence[Line] = ()) -> list[Line]:
        """Every line of the invoice, those of staff among them."""
        tax_code = self.profile(due.subscription.tenant_id).tax_code
        found = [*self._figures.lines_of(due, tax_code), *one_off]
        return [*found, *lines.up_to_minimum(found, self._terms.minimum_micros, tax_code=tax_code)]

    def totals_of(self, found: Sequence[Line], currency: str) -> Totals:
        """What lines come to, with their taxes."""
        return lines.total(found, self.rates.values(), unit_micros=minor_unit_micros(currency))

    def printed(self, tenant: Tenant, totals: Totals) -> dict[str, Any]:
        """Names, addresses and taxes, for the invoice to keep."""
        return {
            "provider": self._provider,
            "customer": self.profile(tenant.id).printed(tenant),
            "taxes": taxes_of(totals),
        }


def draft(
    session: Session, dues: Sequence[Due], terms: Terms, *, now: datetime, bill_run_id: int | None = None
) -> list[int]:
    """Write drafts of what is due and was not drafted yet; returns their ids. What is odd is marked so."""
    if not dues:
        return []
    reckoning = Reckoning(session, dues, terms)
    made = [_made(reckoning, due, now, bill_run_id) for due in dues]
    _mark_odd(session, made)
    written = {tuple(row) for row in insert_new(session, Invoice, [row for row, _, _ in made], _KEY)}
    kept = [each for each in made if tuple(each[0][column.name] for column in _KEY) in written]
    write_lines(session, [(row["tenant_id"], row["id"], found, totals) for row, found, totals in kept])
    return [row["id"] for row, _, _ in kept]


def draft_one(session: Session, due: Due, terms: Terms, *, now: datetime) -> Invoice:
    """The draft of one invoice, or the invoice that there is of it."""
    draft(session, [due], terms, now=now)
    keys = dict(zip((column.name for column in _KEY), due.key, strict=True))
    return session.scalars(select(Invoice).filter_by(**keys)).one()


def due_of(session: Session, found: Iterable[Invoice]) -> dict[int, Due]:
    """What each invoice is about, by its id. One statement."""
    found = list(found)
    rows = session.scalars(
        select(Subscription).where(
            among(
                session,
                {(row.tenant_id, row.subscription_id) for row in found},
                Subscription.tenant_id,
                Subscription.id,
            )
        )
    )
    by_id = {row.id: row for row in rows}
    return {
        row.id: Due(by_id[row.subscription_id], _period_of(by_id[row.subscription_id], row), row.reason)
        for row in found
    }


def _period_of(subscription: Subscription, invoice: Invoice) -> Any:
    return subscriptions.period_on_day(subscription, invoice.period_on)


def redraft(session: Session, found: Sequence[Invoice], terms: Terms) -> set[int]:
    """Reckon drafts anew; returns the ids of those whose lines are no longer what they were, which are written anew."""
    if not found:
        return set()
    dues = due_of(session, found)
    reckoning = Reckoning(session, list(dues.values()), terms)
    stored = _stored_lines(session, found)
    changed = []
    for invoice in found:
        before = stored[invoice.id]
        now_lines = reckoning.lines_of(dues[invoice.id], [line for line in before if line.kind == lines.ONE_OFF])
        totals = reckoning.totals_of(now_lines, invoice.currency)
        printed = reckoning.printed(invoice.tenant, totals)
        if invoice.printed != printed:
            invoice.printed = printed
        if now_lines != before or totals.total_micros != invoice.total_micros:
            invoice.net_micros, invoice.tax_micros = totals.net_micros, totals.tax_micros
            invoice.tax_within_micros, invoice.total_micros = totals.tax_within_micros, totals.total_micros
            invoice.cost_micros = sum(line.cost_micros for line in now_lines)
            changed.append((invoice, now_lines, totals))
    session.flush()
    _drop_lines(session, [invoice for invoice, _, _ in changed])
    write_lines(session, [(invoice.tenant_id, invoice.id, rows, totals) for invoice, rows, totals in changed])
    return {invoice.id for invoice, _, _ in changed}


def lines_by_invoice(session: Session, found: Sequence[Invoice]) -> dict[int, list[InvoiceLine]]:
    """The lines of these invoices in their order. One statement."""
    by_invoice: dict[int, list[InvoiceLine]] = defaultdict(list)
    for row in session.scalars(_of_invoices(session, select(InvoiceLine), found)):
        by_invoice[row.invoice_id].append(row)
    return by_invoice


def _stored_lines(session: Session, found: Sequence[Invoice]) -> dict[int, list[Line]]:
    """The same as plain figures, straight from their columns: a bill run reads a great many."""
    columns = (InvoiceLine.invoice_id, *(getattr(InvoiceLine, name) for name in _LINE_FIELDS))
    by_invoice: dict[int, list[Line]] = defaultdict(list)
    for invoice_id, *values in session.execute(_of_invoices(session, select(*columns), found)):
        by_invoice[invoice_id].append(Line(*values))
    return by_invoice


def _of_invoices(session: Session, statement: Select[Any], found: Sequence[Invoice]) -> Select[Any]:
    return statement.where(_belonging_to(session, found)).order_by(
        InvoiceLine.tenant_id, InvoiceLine.invoice_id, InvoiceLine.position
    )


def _belonging_to(session: Session, found: Sequence[Invoice]) -> ColumnElement[bool]:
    """The condition on the lines of these invoices."""
    keys = [(row.tenant_id, row.id) for row in found]
    return among(session, keys, InvoiceLine.tenant_id, InvoiceLine.invoice_id)


def as_line(row: InvoiceLine) -> Line:
    """A stored line as plain figures."""
    return Line(**{name: getattr(row, name) for name in _LINE_FIELDS})


def write_lines(
    session: Session, found: Iterable[tuple[int, int, Sequence[Line], Totals]], credits: Sequence[int] = ()
) -> None:
    """Store the lines of (tenant, invoice)s; `credits` are the lines that those of a credit note take back."""
    rows = [
        {"tenant_id": tenant_id, "invoice_id": invoice_id, "position": position, "net_micros": net, **values_of(line)}
        for tenant_id, invoice_id, each, totals in found
        for position, (line, net) in enumerate(zip(each, lines.nets(each, totals), strict=True), start=1)
    ]
    for row, line_id in zip(rows, new_ids(len(rows)) if rows else (), strict=True):
        row["id"] = line_id
    for row, credited_id in zip(rows, credits, strict=False):
        row["credits_line_id"] = credited_id
    if rows:
        # Of the table: through the class, each change between lines with and without nulls is a statement more.
        session.execute(insert(InvoiceLine.__table__), rows)  # type: ignore[arg-type]


def values_of(line: Line) -> dict[str, Any]:
    """A line as the columns that keep it."""
    return {name: getattr(line, name) for name in _LINE_FIELDS}


def taxes_of(totals: Totals) -> list[dict[str, Any]]:
    """The taxes as an invoice keeps them."""
    return [{**_kept(tax.rate), "net_micros": tax.net_micros, "tax_micros": tax.tax_micros} for tax in totals.taxes]


@lru_cache
def _kept(rate: Rate) -> dict[str, Any]:
    return asdict(rate)


def rate_of(kept: dict[str, Any]) -> Rate:
    """The rate in what `taxes_of` made."""
    return Rate(**{field.name: kept[field.name] for field in fields(Rate)})


def _made(reckoning: Reckoning, due: Due, now: datetime, bill_run_id: int | None) -> Made:
    subscription, currency = due.subscription, due.subscription.package.revision.currency
    found = reckoning.lines_of(due)
    totals = reckoning.totals_of(found, currency)
    row = {
        "tenant_id": subscription.tenant_id,
        "id": new_id(),
        "kind": "invoice",
        "subscription_id": subscription.id,
        "period_on": due.period.first_on,
        "period_end_on": due.period.end_on,
        "reason": due.reason,
        "status": "draft",
        "currency": currency,
        "created_at": now,
        "net_micros": totals.net_micros,
        "tax_micros": totals.tax_micros,
        "tax_within_micros": totals.tax_within_micros,
        "total_micros": totals.total_micros,
        "cost_micros": sum(line.cost_micros for line in found),
        "open_micros": 0,
        "printed": reckoning.printed(subscription.tenant, totals),
        "bill_run_id": bill_run_id,
        "odd": "",
    }
    return row, found, totals


def _drop_lines(session: Session, found: Sequence[Invoice]) -> None:
    if found:
        session.execute(
            delete(InvoiceLine).where(_belonging_to(session, found)).execution_options(synchronize_session=False)
        )


def _mark_odd(session: Session, made: Sequence[Made]) -> None:
    """Say of each draft why a person should look at it first, if anybody should."""
    tenants = {row["tenant_id"] for row, _, _ in made}
    kept_aside, last = _in_quarantine(session, tenants), _last_totals(session, tenants)
    for row, _, _ in made:
        before = last.get(row["subscription_id"], 0)
        if row["total_micros"] < 0:
            row["odd"] = NEGATIVE
        elif row["reason"] == PERIOD and 0 < before * 10 <= row["total_micros"]:
            row["odd"] = TENFOLD
        elif row["tenant_id"] in kept_aside:
            row["odd"] = QUARANTINE


def _in_quarantine(session: Session, tenants: set[int]) -> set[int]:
    """Of whom something waits in quarantine that may belong on the invoice."""
    return set(
        session.scalars(
            select(TenantName.tenant_id)
            .join(Quarantined, func.lower(Quarantined.tenant_ref) == TenantName.name)
            .where(Quarantined.resolved_at.is_(None), among(session, tenants, TenantName.tenant_id))
            .distinct()
        )
    )


def _last_totals(session: Session, tenants: set[int]) -> dict[int, int]:
    """What the newest issued invoice about a period came to, by subscription."""
    newest = (
        select(Invoice.tenant_id, func.max(Invoice.id).label("id"))
        .where(among(session, tenants, Invoice.tenant_id), Invoice.reason == PERIOD, Invoice.status != "draft")
        .group_by(Invoice.tenant_id, Invoice.subscription_id)
        .subquery()
    )
    rows = session.execute(
        select(Invoice.subscription_id, Invoice.total_micros).join(
            newest, (newest.c.tenant_id == Invoice.tenant_id) & (newest.c.id == Invoice.id)
        )
    )
    return {row.subscription_id: row.total_micros for row in rows}

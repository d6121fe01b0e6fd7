"""An invoice in words: the page, its print and the PDF say the same strings, made here once."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.domain.billing.models import Invoice, InvoiceLine
from app.web.kit.display import written_in
from app.web.kit.formats import longdate, money, number, percent_of, period_text, with_unit
from app.web.kit.i18n import gettext
from app.web.kit.payment_code import payment_code
from app.web.kit.qr_code import Drawing

_SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class InvoiceWords:
    """What the document says. Every value is text to be shown as it is, never markup."""

    title: str
    draft: str  # empty once it is issued
    facts: list[dict[str, str]]  # label, value
    logo: str  # hash of the picture; empty: none
    provider: list[str]  # the name first
    customer: list[str]  # likewise
    lines: list[dict[str, Any]]  # text, note, quantity, price, amount; resource and period of a usage line
    sums: list[dict[str, str]]  # label, amount; the total last
    notes: list[str]
    code: Drawing | None  # the QR code that pays it
    labels: dict[str, str]


def in_words(invoice: Invoice, lines: Sequence[InvoiceLine]) -> InvoiceWords:
    """The invoice in the page's language, with numbers and dates as the customer had chosen when it was made."""
    with written_for(invoice):
        return _in_words(invoice, lines)


def written_for(invoice: Invoice) -> AbstractContextManager[None]:
    """What the invoice says is the same whoever looks."""
    return written_in(invoice.printed["customer"].get("locale", ""))


def _in_words(invoice: Invoice, lines: Sequence[InvoiceLine]) -> InvoiceWords:
    return InvoiceWords(
        title=title_of(invoice),
        draft="" if invoice.number else gettext("Draft: it has no number yet and is not to be paid."),
        facts=_facts(invoice),
        logo=invoice.printed["provider"].get("logo", ""),
        provider=_provider(invoice.printed["provider"]),
        customer=_customer(invoice.printed["customer"]),
        lines=[_line(line, invoice.currency) for line in lines],
        sums=_sums(invoice),
        notes=_notes(invoice),
        code=_code(invoice),
        labels=_labels(),
    )


def title_of(invoice: Invoice) -> str:
    """`Invoice 2026-00001`, `Credit note 2026-00002`, `Draft invoice`."""
    if invoice.number is None:
        return gettext("Draft invoice")
    if invoice.kind == "credit_note":
        return gettext("Credit note %(number)s", number=invoice.number)
    return gettext("Invoice %(number)s", number=invoice.number)


def odd_words() -> dict[str, str]:
    """Why a bill run sets a draft aside."""
    return {
        "negative_total": gettext("below zero"),
        "ten_times_the_last": gettext("ten times the last one or more"),
        "open_quarantine": gettext("usage waits in quarantine"),
        "changed": gettext("changed since the review"),
    }


def _facts(invoice: Invoice) -> list[dict[str, str]]:
    found = [(gettext("Period"), period_text(invoice.period_on, invoice.period_end_on))]
    if invoice.issued_on:
        found.append((gettext("Date"), longdate(invoice.issued_on)))
    if invoice.due_on and invoice.kind == "invoice" and invoice.total_micros > 0:
        found.append((gettext("To be paid by"), longdate(invoice.due_on)))
    if credits := invoice.printed.get("credits"):
        found.append((gettext("Credits invoice"), credits))
    return [{"label": label, "value": value} for label, value in found]


def _provider(printed: dict[str, Any]) -> list[str]:
    tax_id = gettext("VAT ID %(id)s", id=printed["tax_id"]) if printed["tax_id"] else ""
    return [text for text in (printed["name"], *printed["address"], printed["email"], tax_id) if text]


def _customer(printed: dict[str, Any]) -> list[str]:
    tax_id = gettext("VAT ID %(id)s", id=printed["tax_id"]) if printed["tax_id"] else ""
    return [text for text in (printed["name"], *printed["address"], printed["email"], tax_id) if text]


def _line(line: InvoiceLine, currency: str) -> dict[str, Any]:
    shown = {"quantity": "", "price": "", "amount": money(line.amount_micros, currency)}
    if line.kind == "overage":
        shown["quantity"] = with_unit(line.quantity, line)
        shown["price"] = gettext("%(price)s a %(unit)s", price=money(line.price_micros, currency), unit=line.unit_one)
    elif line.kind == "one_off":
        shown |= {"quantity": number(line.quantity), "price": money(line.price_micros, currency)}
    elif line.of_days:
        shown["quantity"] = gettext("%(days)s of %(all)s days", days=number(line.days), all=number(line.of_days))
        shown["price"] = money(line.price_micros, currency)
    return {
        "text": line_text(line, currency),
        "note": _note(line),
        **shown,
        "resource": line.resource_code,
        "period": line.usage_on.isoformat() if line.usage_on else "",
    }


def line_text(line: InvoiceLine, currency: str) -> str:
    """What a line charges for."""
    name = line.name
    return {
        "recurring": gettext("%(name)s, in advance", name=name),
        "setup": gettext("Setup of %(name)s", name=name),
        "credit": gettext("Credit for %(name)s", name=name),
        "charge": gettext("%(name)s, from the change on", name=name),
        "overage": gettext("%(name)s beyond the allowance", name=name),
        "minimum": gettext("Up to the least amount of %(amount)s", amount=money(line.price_micros, currency)),
    }.get(line.kind, name)


def _note(line: InvoiceLine) -> str:
    when = _span(line.first_on, line.end_on)
    if not line.late:
        return when
    return _SEPARATOR.join(filter(None, (when, gettext("reported late"))))


def _span(first_on: date | None, end_on: date | None) -> str:
    if first_on is None or end_on is None:
        return ""
    return period_text(first_on, end_on) if end_on - first_on > timedelta(days=1) else longdate(first_on)


def _sums(invoice: Invoice) -> list[dict[str, str]]:
    currency = invoice.currency
    found = []
    if invoice.tax_micros or len(invoice.printed["taxes"]) > 1:
        found.append((gettext("Net"), invoice.net_micros))
    for tax in invoice.printed["taxes"]:
        if tax["category"] == "O":
            continue
        words = {"name": tax["name"], "share": percent_of(tax["ppm"]), "net": money(tax["net_micros"], currency)}
        found.append((gettext("%(name)s, %(share)s of %(net)s", **words), tax["tax_micros"]))
    found.append((gettext("Total"), invoice.total_micros))
    return [{"label": label, "amount": money(amount, currency)} for label, amount in found]


def _notes(invoice: Invoice) -> list[str]:
    found = [tax["note"] for tax in invoice.printed["taxes"] if tax["note"]]
    if invoice.number and (terms := payment_terms(invoice)):
        found.append(terms)
    return found


def payment_terms(invoice: Invoice) -> str:
    """Where to pay an issued invoice, or what becomes of a credit."""
    provider = invoice.printed["provider"]
    if invoice.kind == "credit_note" or invoice.total_micros < 0:
        return gettext("The amount is credited to your account with us.")
    if not invoice.total_micros or not provider["iban"]:
        return ""
    account = " ".join(filter(None, (provider["iban"], provider["bic"])))
    return gettext("Please pay to %(account)s, naming %(number)s.", account=account, number=invoice.number)


def _code(invoice: Invoice) -> Drawing | None:
    if invoice.kind != "invoice" or invoice.number is None:
        return None
    provider = invoice.printed["provider"]
    return payment_code(
        name=provider["name"],
        iban=provider["iban"],
        bic=provider["bic"],
        micros=invoice.total_micros,
        currency=invoice.currency,
        text=invoice.number,
    )


def _labels() -> dict[str, str]:
    return {
        "to": gettext("To"),
        "what": gettext("What"),
        "quantity": gettext("Quantity"),
        "price": gettext("Price"),
        "amount": gettext("Amount"),
        "nothing": gettext("Nothing was charged."),
        "code": gettext("Scan to pay with your banking app"),
        "page": gettext("Page"),
        "of": gettext("of"),
    }

"""An issued invoice as data: the terms of EN 16931 (BT-…, BG-…), written as CII for the PDF or as UBL for download.

Pure: the figures are those of the invoice, in whole coins. README.md, "As data".
"""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from app.core.errors import Conflict
from app.core.money import format_micros, half_up
from app.domain.billing import lines
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.metering.statement import minor_unit_micros

CENT_MICROS = 10_000  # EN 16931 has no amounts finer than two decimals
SECONDS, PIECES = "SEC", "C62"  # UN/ECE recommendation 20
_EXEMPTIONS = {"AE": "VATEX-EU-AE", "O": "VATEX-EU-O"}
_COUNTED = (lines.OVERAGE, lines.ONE_OFF)
_VAT_ID = re.compile(r"[A-Z]{2}[0-9A-Z+*]{2,13}")
_POSTCODE_AND_CITY = re.compile(r"(?:[A-Z]{1,2}-)?(\d{4,5}) +(\S.*)")
Tax = dict[str, Any]  # as `drafting.taxes_of` keeps it


def problem_of(invoice: Invoice) -> str:
    """Why there are no such data of this invoice; empty where there are."""
    provider, customer, taxes = (invoice.printed[name] for name in ("provider", "customer", "taxes"))
    categories = {_category(tax) for tax in taxes}
    problems = {
        "A draft has no number yet.": invoice.number is None,
        "Nothing is charged on it.": not taxes,
        "It was issued without a tax id of the provider (PROVIDER_TAX_ID).": not provider["tax_id"],
        "It was issued without the provider's country (PROVIDER_COUNTRY).": not country_of(provider),
        "Reverse charge needs the customer's tax id.": "AE" in categories and not customer["tax_id"],
        "What is out of the tax's scope cannot stand beside what is taxed.": "O" in categories and len(categories) > 1,
        f"EN 16931 knows two decimals, {invoice.currency} has more.": minor_unit_micros(invoice.currency) < CENT_MICROS,
    }
    return next((problem for problem, is_so in problems.items() if is_so), "")


def data_of(invoice: Invoice, rows: Sequence[InvoiceLine], *, names: Sequence[str], terms: str) -> dict[str, Any]:
    """Its terms by their names in EN 16931; `names` are the lines' words, `terms` those of the payment.

    A credit note (381) takes back: its amounts are positive here. Raises Conflict (`no_einvoice`).
    """
    if problem := problem_of(invoice):
        raise Conflict("no_einvoice", f"There is no e-invoice of this document. {problem}")
    sign = -1 if invoice.kind == "credit_note" else 1
    taxes = {tax["code"]: tax for tax in invoice.printed["taxes"]}
    nets = net_amounts(rows, taxes, minor_unit_micros(invoice.currency))
    items = [
        _line(row, taxes[row.tax_code], sign * net, name) for row, net, name in zip(rows, nets, names, strict=True)
    ]
    total = format_micros(sign * invoice.total_micros)
    return {
        "BT-1": invoice.number,
        "BT-2": invoice.issued_on,
        "BT-3": "381" if sign < 0 else "380",
        "BT-5": invoice.currency,
        "BT-20": terms,
        "BG-1": [{"BT-22": tax["note"]} for tax in taxes.values() if tax["note"]],
        "BG-3": [{"BT-25": invoice.printed["credits"]}] if sign < 0 else [],
        "BG-4": _seller(invoice.printed["provider"], outside="O" in map(_category, taxes.values())),
        "BG-7": _buyer(invoice),
        **_span(items, invoice),
        **_payment(invoice),
        "BG-23": list(_breakdown(taxes, sign)),
        "BG-25": items,
        "BT-106": format_micros(sign * invoice.net_micros),
        "BT-109": format_micros(sign * invoice.net_micros),
        "BT-110": format_micros(sign * invoice.tax_micros),
        "BT-112": total,
        "BT-115": total,
    }


def as_cii(data: dict[str, Any]) -> bytes:
    """As UN/CEFACT Cross Industry Invoice, the XML inside a Factur-X document."""
    return _written(data, "factur-x")


def as_ubl(data: dict[str, Any]) -> bytes:
    """As UBL 2.1, an Invoice or a CreditNote."""
    return _written(data, "ubl-2.1")


def net_amounts(rows: Sequence[InvoiceLine], taxes: dict[str, Tax], unit_micros: int) -> list[int]:
    """What each line comes to without the tax that its price holds; per rate they add up to the rate's net.

    The part of some lines is the difference of two sums, each rounded once, as in `proration`; what a last credit
    note has left over is on the rate's last line.
    """
    sums, done, last, found = dict.fromkeys(taxes, 0), dict.fromkeys(taxes, 0), {}, []
    for index, row in enumerate(rows):
        code = row.tax_code
        tax = taxes[code]
        sums[code] += row.amount_micros
        within = half_up(sums[code] * tax["ppm"], lines.PER_MILLION + tax["ppm"], unit_micros)
        net = sums[code] - (within if tax["inclusive"] else 0)
        found.append(net - done[code])
        done[code], last[code] = net, index
    for code, index in last.items():
        found[index] += taxes[code]["net_micros"] - done[code]
    return found


def country_of(party: dict[str, Any]) -> str:
    """ISO 3166, as given, else out of the VAT id or the bank account."""
    return str(party.get("country") or _vat_id(party["tax_id"])[:2].replace("EL", "GR") or party.get("iban", "")[:2])


def _written(data: dict[str, Any], flavor: str) -> bytes:
    # It brings requests and more along, half a second of every start.
    from facturx import generate_xml  # noqa: PLC0415

    written: bytes = generate_xml(data, flavor=flavor, level="en16931", check_xsd=False, check_schematron=False)
    return written


def _category(tax: Tax) -> str:
    return "Z" if tax["category"] == "S" and not tax["ppm"] else str(tax["category"])


def _rate(tax: Tax) -> str | None:
    """In percent; what is out of scope has none."""
    return None if _category(tax) == "O" else format_micros(tax["ppm"] * 100)


def _line(row: InvoiceLine, tax: Tax, net: int, name: str) -> dict[str, Any]:
    """A line below zero has a negative quantity: a price never is. The price of an inclusive or prorated line is that
    of all of its quantity."""
    counted = row.kind in _COUNTED
    quantity = abs(row.quantity) if counted else 1
    plain = counted and not tax["inclusive"]
    last_on = (
        row.end_on - timedelta(days=1) if row.end_on and row.first_on and row.end_on > row.first_on else row.end_on
    )
    return {
        "BT-126": str(row.position),
        "BT-129": str(-quantity if net < 0 else quantity),
        "BT-130": SECONDS if row.factor % 60 == 0 else PIECES,
        "BT-131": format_micros(net),
        "BT-134": row.first_on,
        "BT-135": last_on,
        "BT-146": format_micros(abs(row.price_micros if plain else net)),
        "BT-149": str(row.factor if plain else quantity),
        "BT-151": _category(tax),
        "BT-152": _rate(tax),
        "BT-153": name,
    }


def _breakdown(taxes: dict[str, Tax], sign: int) -> Iterator[dict[str, Any]]:
    """One group per category and rate, though two named rates may share them."""
    groups: dict[tuple[str, int], list[Tax]] = {}
    for tax in taxes.values():
        groups.setdefault((_category(tax), tax["ppm"]), []).append(tax)
    for (category, _), group in sorted(groups.items()):
        reason = next((tax["note"] for tax in group if tax["note"]), group[0]["name"])
        yield {
            "BT-116": format_micros(sign * sum(tax["net_micros"] for tax in group)),
            "BT-117": format_micros(sign * sum(tax["tax_micros"] for tax in group)),
            "BT-118": category,
            "BT-119": _rate(group[0]),
            "BT-120": "" if category in ("S", "Z") else reason,
            "BT-121": _EXEMPTIONS.get(category, ""),
        }


def _seller(printed: dict[str, Any], *, outside: bool) -> dict[str, Any]:
    """What is out of the tax's scope names no VAT id, but the seller has to be known by something."""
    vat_id = "" if outside else _vat_id(printed["tax_id"])
    return {
        **_party(printed, country_of(printed)),
        **({"vat_identifier": vat_id} if vat_id else {"legal_identifier": printed["tax_id"]}),
        **({} if vat_id or outside else {"tax_identifier": printed["tax_id"]}),
    }


def _buyer(invoice: Invoice) -> dict[str, Any]:
    """A customer whose country nobody said is one of the provider's own."""
    printed = invoice.printed["customer"]
    outside = any(_category(tax) == "O" for tax in invoice.printed["taxes"])
    vat_id = "" if outside else _vat_id(printed["tax_id"])
    return {
        **_party(printed, printed["country"] or country_of(invoice.printed["provider"])),
        **({"vat_identifier": vat_id} if vat_id else {"legal_identifier": printed["tax_id"]}),
    }


def _party(printed: dict[str, Any], country: str) -> dict[str, Any]:
    address = list(printed["address"])
    city = _POSTCODE_AND_CITY.fullmatch(address[-1]) if address else None
    if city:
        address.pop()
    if len(address) > 2:
        address[2:] = [", ".join(address[2:])]
    found = dict(zip(("addr_l1", "addr_l2", "addr_l3"), address, strict=False))
    found |= {"postcode": city[1], "city": city[2]} if city else {}
    found |= {"einvoicing_addr": printed["email"], "einvoicing_addr_schemeid": "EM"} if printed["email"] else {}
    return {"name": printed["name"], "country_code": country, **found}


def _vat_id(tax_id: str) -> str:
    """Without blanks and dots, where it begins with a country as VAT ids do; else empty."""
    compact = re.sub(r"[ .-]", "", tax_id).upper()
    return compact if _VAT_ID.fullmatch(compact) else ""


def _span(items: Sequence[dict[str, Any]], invoice: Invoice) -> dict[str, Any]:
    """From the first to the last day of its lines, which is when it is delivered."""
    first = [item["BT-134"] for item in items if item["BT-134"]]
    last = [item["BT-135"] for item in items if item["BT-135"]]
    if not first or not last:
        return {"BT-72": invoice.issued_on}
    return {"BT-72": max(last), "BT-73": min(first), "BT-74": max(last)}


def _payment(invoice: Invoice) -> dict[str, Any]:
    """When and where to pay; a SEPA transfer (58) in euros, else a transfer (30)."""
    if invoice.kind != "invoice" or invoice.total_micros <= 0:
        return {}
    provider = invoice.printed["provider"]
    iban = provider["iban"].replace(" ", "")
    account = {
        "BT-81": "58" if invoice.currency == "EUR" else "30",
        "BT-83": invoice.number,
        "BT-84": iban,
        "BT-85": provider["name"],
        "BT-86": provider["bic"].replace(" ", ""),
    }
    return {"BT-9": invoice.due_on, **(account if iban else {})}

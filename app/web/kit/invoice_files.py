"""An invoice as files: the PDF, which holds it as EN 16931 data, too, and the same data as UBL.

Each is the same bytes whenever it is asked for: an issued invoice keeps all that it says.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask import Response

from app.domain.billing import einvoice
from app.domain.billing.models import Invoice, InvoiceLine
from app.web.kit import documents, invoice_text
from app.web.kit.filters import page_language


def pdf(invoice: Invoice, lines: Sequence[InvoiceLine]) -> bytes:
    """A Factur-X document unless the invoice cannot be put into EN 16931's terms."""
    has_data = not einvoice.problem_of(invoice)
    content = documents.pdf(
        "invoice.typ",
        asdict(invoice_text.in_words(invoice, lines)),
        paper=documents.paper_for(invoice.printed["customer"]["country"]),
        made_at=invoice.issued_at or invoice.created_at,
        language=page_language(),
        logo=invoice.printed["provider"].get("logo", ""),
        attached=einvoice.as_cii(_data(invoice, lines)) if has_data else b"",
    )
    return documents.as_facturx(content) if has_data else content


def ubl(invoice: Invoice, lines: Sequence[InvoiceLine]) -> bytes:
    """UBL 2.1. Raises Conflict (`no_einvoice`) with what is missing."""
    return einvoice.as_ubl(_data(invoice, lines))


def pdf_response(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Response:
    """The PDF to save."""
    return documents.pdf_response(pdf(invoice, lines), f"{invoice.filename}.pdf")


def ubl_response(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Response:
    """The UBL to save. Raises as `ubl`."""
    return documents.xml_response(ubl(invoice, lines), f"{invoice.filename}.xml")


def _data(invoice: Invoice, lines: Sequence[InvoiceLine]) -> dict[str, Any]:
    with invoice_text.written_for(invoice):
        names = [invoice_text.line_text(line, invoice.currency) for line in lines]
        return einvoice.data_of(invoice, lines, names=names, terms=invoice_text.payment_terms(invoice))

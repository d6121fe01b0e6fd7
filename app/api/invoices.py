"""Invoices over the API: what was issued, as JSON, as PDF or as UBL."""

from typing import Any

import msgspec
from flask import Response, current_app, request

from app.api.blueprint import answer, cursor_of, operation
from app.core.clock import utc_now
from app.core.cursor import encode_cursor
from app.core.money import format_micros
from app.db import db
from app.domain.billing import reading, service
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.reading import InvoiceQuery
from app.domain.tenants import service as tenants

PAGE_SIZE = 100
JSON, PDF, UBL = "application/json", "application/pdf", "application/xml"
UBL_AS_TEXT = "text/xml"  # an alias, says RFC 7303
_ENDINGS = {".json": JSON, ".pdf": PDF, ".xml": UBL}


class InvoiceAnswer(msgspec.Struct):
    """An issued invoice or credit note. Amounts are decimal strings in `currency`."""

    number: str
    kind: str
    status: str
    period: list[str]
    issued_on: str
    due_on: str
    currency: str
    net: str
    tax: str
    total: str
    open: str
    credits: str | None


class InvoiceListAnswer(msgspec.Struct):
    """Newest first; `next` is the cursor of the following page, null at the end."""

    data: list[InvoiceAnswer]
    next: str | None


class InvoiceLineAnswer(msgspec.Struct):
    """A line. `quantity` is in base units, `price` per display unit of `factor` base units; `usage_period` tells
    which period's records it sums."""

    kind: str
    name: str
    amount: str
    quantity: int
    factor: int
    price: str
    tax_code: str
    resource: str | None
    usage_period: str | None
    late: bool
    first_on: str | None
    end_on: str | None


class WholeInvoiceAnswer(InvoiceAnswer):
    """An invoice with its lines, and the names, addresses and taxes as they were when it was issued."""

    lines: list[InvoiceLineAnswer] = []
    printed: dict[str, Any] = {}


@operation(
    "GET", "/tenants/<ref>/invoices", "Issued invoices, newest first", scope="read", gives=InvoiceListAnswer,
    also=(404, 422), query=("cursor",),
)  # fmt: skip
def list_invoices(ref: str) -> Response:
    """A hundred a page, by cursor; credit notes among them."""
    tenant = tenants.by_name(db.session(), ref)
    after = cursor_of(int)
    query = InvoiceQuery(tenant_id=tenant.id, issued_only=True)
    page = reading.find(db.session(), query, today=utc_now().date(), after=after[0] if after else None, most=PAGE_SIZE)
    return answer(
        InvoiceListAnswer([InvoiceAnswer(**_fields(row)) for row in page.invoices], encode_cursor(page.older))
    )


@operation(
    "GET", "/tenants/<ref>/invoices/<number>", "One invoice", scope="read", gives=WholeInvoiceAnswer,
    gives_also=(PDF, UBL, UBL_AS_TEXT), also=(404, 409),
)  # fmt: skip
def get_invoice(ref: str, number: str) -> Response:
    """JSON, PDF or UBL, as `Accept` says or an address that ends in `.json`, `.pdf` or `.xml`.

    409 `no_einvoice` where it cannot be put into the terms of EN 16931, of which UBL is made.
    """
    session = db.session()
    name, dot, ending = number.rpartition(".")
    if named := _ENDINGS.get(dot + ending):
        number = name
    found = reading.by_number(session, tenants.by_name(session, ref).id, number)
    lines = service.lines_of(session, found)
    wanted = named or request.accept_mimetypes.best_match((*_ENDINGS.values(), UBL_AS_TEXT))
    # The pages set documents and say how: machines and people know nothing of one another.
    files = current_app.extensions["invoice_files"]
    if wanted == PDF:
        response = Response(files.pdf(found, lines), mimetype=PDF)
    elif wanted in (UBL, UBL_AS_TEXT):
        response = Response(files.ubl(found, lines), mimetype=wanted)
    else:
        response = answer(
            WholeInvoiceAnswer(**_fields(found), lines=[_line(line) for line in lines], printed=found.printed)
        )
    response.vary.add("Accept")
    return response


def _fields(row: Invoice) -> dict[str, Any]:
    return {
        "number": row.number,
        "kind": row.kind,
        "status": row.status,
        "period": [row.period_on.isoformat(), row.period_end_on.isoformat()],
        "issued_on": str(row.issued_on),
        "due_on": str(row.due_on),
        "currency": row.currency,
        "net": format_micros(row.net_micros),
        "tax": format_micros(row.tax_micros),
        "total": format_micros(row.total_micros),
        "open": format_micros(row.open_micros),
        "credits": row.printed.get("credits"),
    }


def _line(line: InvoiceLine) -> InvoiceLineAnswer:
    return InvoiceLineAnswer(
        kind=line.kind,
        name=line.name,
        amount=format_micros(line.amount_micros),
        quantity=line.quantity,
        factor=line.factor,
        price=format_micros(line.price_micros),
        tax_code=line.tax_code,
        resource=line.resource_code or None,
        usage_period=line.usage_on.isoformat() if line.usage_on else None,
        late=line.late,
        first_on=line.first_on.isoformat() if line.first_on else None,
        end_on=line.end_on.isoformat() if line.end_on else None,
    )

"""The tenant's invoices: list, page, print, PDF."""

from flask import Response, current_app, g, request, url_for

from app import mail
from app.core.clock import utc_now
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.billing import einvoice, ledger, payments, reading, service
from app.domain.billing.models import Invoice
from app.domain.billing.online import GatewayError, PayRequest
from app.domain.billing.reading import InvoiceQuery
from app.domain.tenants.models import Tenant
from app.web import pay
from app.web.guards import needs
from app.web.kit import documents, invoice_files, invoice_text
from app.web.kit.i18n import gettext
from app.web.kit.paging import decode_cursor
from app.web.kit.render import redirect_to, render, say
from app.web.tenant import bp


@bp.get("/invoices")
@needs(Permission.READ_BILLING)
def invoices() -> Response:
    """What was issued, newest first, and what is still to be paid."""
    session, today = db.session(), utc_now().date()
    tenant = session.get_one(Tenant, g.tenant_id)
    query = InvoiceQuery(tenant_id=tenant.id, issued_only=True)
    after, before = (decode_cursor(request.args.get(name), int) for name in ("after", "before"))
    return render(
        "tenant/invoices.html",
        block="invoice_rows",
        tenant=tenant,
        page=reading.find(
            session, query, today=today, after=after[0] if after else None, before=before[0] if before else None
        ),
        balances=ledger.balances_of(session, tenant.id),
        title_of=invoice_text.title_of,
        today=today,
        who_name=tenant.name,
    )


@bp.get("/invoices/<number>")
@needs(Permission.READ_BILLING)
def invoice(number: str) -> Response:
    """One as it is printed."""
    session = db.session()
    found = _found(number)
    lines = service.lines_of(session, found)
    return render(
        "tenant/invoice.html",
        invoice=found,
        words=invoice_text.in_words(found, lines),
        no_data=einvoice.problem_of(found),
        matches=payments.matches_of(session, found),
        today=utc_now().date(),
        paper=documents.paper_for(found.printed["customer"]["country"]),
        can_pay=bool(found.open_micros and pay.gateway()),
        who_name=found.tenant.name,
    )


@bp.get("/invoices/<number>/paid")
@needs(Permission.READ_BILLING)
def invoice_paid(number: str) -> Response:
    """Back from the gateway's page: what was paid shows once the gateway has told us."""
    found = _found(number)
    if found.open_micros:
        say(gettext("Thank you. The payment shows here as soon as it is confirmed."), "info")
    else:
        say(gettext("Thank you. The invoice is paid."))
    return redirect_to(url_for("tenant.invoice", number=number))


@bp.post("/invoices/<number>/pay")
@needs(Permission.PAY_INVOICES)
def invoice_pay(number: str) -> Response:
    """On to the gateway's page, to pay what is open."""
    found, gateway = _found(number), pay.gateway()
    if gateway is None or not found.open_micros:
        say(gettext("Nothing is to be paid here."), "warning")
        return redirect_to(url_for("tenant.invoice", number=number))
    wanted = PayRequest(
        tenant_id=found.tenant_id,
        invoice_id=found.id,
        number=number,
        open_micros=found.open_micros,
        currency=found.currency,
        email=found.printed["customer"]["email"],
        paid_url=mail.link("tenant.invoice_paid", number=number),
        back_url=mail.link("tenant.invoice", number=number),
        wish=f"{found.id}-{found.open_micros}-{utc_now().date()}",
    )
    db.session().rollback()  # nothing is held while another house is asked
    try:
        return redirect_to(gateway.pay_link(wanted))
    except GatewayError as error:
        current_app.logger.warning("pay link for %s: %s", number, error)
        say(gettext("The payment page cannot be reached just now. Try again, or pay by bank transfer."), "error")
        return redirect_to(url_for("tenant.invoice", number=number))


@bp.get("/invoices/<number>.pdf")
@needs(Permission.READ_BILLING)
def invoice_pdf(number: str) -> Response:
    """The same as a document, the same bytes each time."""
    found = _found(number)
    return invoice_files.pdf_response(found, service.lines_of(db.session(), found))


@bp.get("/invoices/<number>.xml")
@needs(Permission.READ_BILLING)
def invoice_xml(number: str) -> Response:
    """The same as UBL, for the books of the one who pays it."""
    found = _found(number)
    return invoice_files.ubl_response(found, service.lines_of(db.session(), found))


def _found(number: str) -> Invoice:
    return reading.by_number(db.session(), g.tenant_id, number.replace("\0", ""))

"""Invoices: the list, each as it is printed, and what may be done with it."""

from typing import Any

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from app import branding
from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.billing import credit_notes, einvoice, payments, profiles, reading, service
from app.domain.billing.models import Invoice
from app.domain.billing.reading import InvoiceQuery
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit import invoice_files, invoice_text
from app.web.kit.i18n import gettext
from app.web.kit.months import month_of
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.billing_form import LineForm

STATES = ("draft", "odd", "open", "overdue", "paid", "void", "credit_note")
MAX_TEXT = 64


@bp.get("/invoices")
@needs(Permission.READ_BILLING)
def invoices() -> Response:
    """Newest first, by state, number or tenant."""
    session, today = db.session(), utc_now().date()
    slug, state = request.args.get("tenant", ""), request.args.get("state", "")
    tenant = tenants.by_slug(session, slug) if slug else None
    query = InvoiceQuery(
        text=request.args.get("text", "").replace("\0", "").strip()[:MAX_TEXT],
        state=state if state in STATES else "",
        tenant_id=tenant.id if tenant else None,
        run_id=request.args.get("run", type=int),
        month=month_of(request.args.get("month", "")),
        currency=request.args.get("currency", "").replace("\0", "")[:3],
    )
    return render(
        "provider/invoices.html",
        block="invoice_rows",
        query=query,
        tenant=tenant,
        today=today,
        page=reading.find(session, query, today=today, after=_key("after"), before=_key("before")),
        odd_words=invoice_text.odd_words(),
        title_of=invoice_text.title_of,
    )


@bp.get("/tenants/<slug>/invoices/<int:invoice_id>")
@needs(Permission.READ_BILLING)
def invoice(slug: str, invoice_id: int) -> Response:
    """One invoice as it is printed, with what may be done."""
    return _page(_found(db.session(), slug, invoice_id))


@bp.get("/tenants/<slug>/invoices/<int:invoice_id>.pdf")
@needs(Permission.READ_BILLING)
def invoice_pdf(slug: str, invoice_id: int) -> Response:
    """The same as a document."""
    found = _found(db.session(), slug, invoice_id)
    return invoice_files.pdf_response(found, service.lines_of(db.session(), found))


@bp.get("/tenants/<slug>/invoices/<int:invoice_id>.xml")
@needs(Permission.READ_BILLING)
def invoice_xml(slug: str, invoice_id: int) -> Response:
    """The same as UBL."""
    found = _found(db.session(), slug, invoice_id)
    return invoice_files.ubl_response(found, service.lines_of(db.session(), found))


@bp.post("/tenants/<slug>/invoices/<int:invoice_id>/lines")
@needs(Permission.CHANGE_BILLING)
def invoice_line_new(slug: str, invoice_id: int) -> Response:
    """Put a line on a draft."""
    found = _found(db.session(), slug, invoice_id)
    form = _line_form(found)
    if not form.validate():
        return _page(found, form, 422)
    typed = (form.name.data or "", form.quantity.data or 0, form.price_micros)

    def act(session: Session) -> None:
        draft = _found(session, slug, invoice_id)
        service.add_line(session, draft, *typed, branding.terms(), tax_code=form.tax_code.data, **_edge())

    try:
        run_in_transaction(act)
    except DomainError as error:
        add_refusal(form, error)
        return _page(_found(db.session(), slug, invoice_id), form, 422)
    say(gettext("The line is on the invoice."))
    return _back(slug, invoice_id)


@bp.post("/tenants/<slug>/invoices/<int:invoice_id>/lines/<int:line_id>/remove")
@needs(Permission.CHANGE_BILLING)
def invoice_line_remove(slug: str, invoice_id: int, line_id: int) -> Response:
    """Take a line of staff's own off a draft."""

    def act(session: Session) -> None:
        service.remove_line(session, _found(session, slug, invoice_id), line_id, branding.terms(), **_edge())

    run_in_transaction(act)
    say(gettext("The line is off the invoice."))
    return _back(slug, invoice_id)


@bp.post("/tenants/<slug>/invoices/<int:invoice_id>/finalise")
@needs(Permission.CHANGE_BILLING)
def invoice_finalise(slug: str, invoice_id: int) -> Response:
    """Give a draft its number, if it still comes to what the page said."""
    seen = request.form.get("seen", type=int)

    def act(session: Session) -> str | None:
        draft = _found(session, slug, invoice_id)
        return service.finalise(session, draft, branding.terms(), seen_micros=seen, **_edge()).number

    try:
        number = run_in_transaction(act)
    except Conflict as error:
        if error.code == "changed_meanwhile":
            run_in_transaction(
                lambda session: service.refresh(session, _found(session, slug, invoice_id), branding.terms())
            )
        say(error.message, "warning")
        return _page(_found(db.session(), slug, invoice_id), status=409)
    say(gettext("Invoice %(number)s is issued.", number=number))
    return _back(slug, invoice_id)


@bp.post("/tenants/<slug>/invoices/<int:invoice_id>/<any(refresh, accept, discard):act>")
@needs(Permission.CHANGE_BILLING)
def invoice_act(slug: str, invoice_id: int, act: str) -> Response:
    """Reckon a draft anew, let it go on though it is odd, or drop it."""

    def do(session: Session) -> None:
        draft = _found(session, slug, invoice_id)
        if act == "refresh":
            service.refresh(session, draft, branding.terms())
        elif act == "accept":
            service.accept(session, draft, **_edge())
        else:
            service.discard(session, draft, **_edge())

    run_in_transaction(do)
    said = {
        "refresh": gettext("These are the figures as they stand now."),
        "accept": gettext("It goes on with its bill run."),
        "discard": gettext("The draft is gone; the next bill run makes a new one."),
    }
    say(said[act])
    return redirect_to(url_for("provider.invoices", tenant=slug)) if act == "discard" else _back(slug, invoice_id)


@bp.route("/tenants/<slug>/invoices/<int:invoice_id>/credit", methods=["GET", "POST"])
@needs(Permission.CHANGE_BILLING)
def invoice_credit(slug: str, invoice_id: int) -> Response:
    """Choose the lines that a credit note takes back."""
    if request.method == "GET":
        return _credit_page(_found(db.session(), slug, invoice_id))
    chosen = set(request.form.getlist("line", type=int))

    def act(session: Session) -> Invoice:
        found = _found(session, slug, invoice_id)
        return credit_notes.credit(session, found, branding.terms(), line_ids=chosen, **_edge())

    try:
        note = run_in_transaction(act)
    except Conflict as error:
        return _credit_page(_found(db.session(), slug, invoice_id), error.message, error.status)
    say(gettext("Credit note %(number)s is issued.", number=note.number))
    return _back(slug, note.id)


def _found(session: Session, slug: str, invoice_id: int) -> Invoice:
    return service.get(session, tenants.by_slug(session, slug).id, invoice_id)


def _edge() -> dict[str, Any]:
    return {"actor": current_user.email, "now": utc_now()}


def _back(slug: str, invoice_id: int) -> Response:
    return redirect_to(url_for("provider.invoice", slug=slug, invoice_id=invoice_id))


def _line_form(found: Invoice) -> LineForm:
    form = LineForm(meta={"currency": found.currency})
    form.tax_code.choices = [(rate.code, rate.name) for rate in profiles.rates(db.session()).values()]
    return form


def _page(found: Invoice, form: LineForm | None = None, status: int = 200) -> Response:
    session = db.session()
    lines = service.lines_of(session, found)
    if form is None:
        form = _line_form(found)
        form.tax_code.data = profiles.profile(session, found.tenant_id, branding.terms()).tax_code
    return render(
        "provider/invoice.html",
        status=status,
        invoice=found,
        tenant=found.tenant,
        lines=lines,
        words=invoice_text.in_words(found, lines),
        no_data=einvoice.problem_of(found),
        form=form,
        notes=credit_notes.notes_of(session, found),
        credits=service.get(session, found.tenant_id, found.credits_id) if found.credits_id else None,
        matches=payments.matches_of(session, found),
        odd_words=invoice_text.odd_words(),
        today=utc_now().date(),
        menu_entry="provider.invoices",
    )


def _credit_page(found: Invoice, problem: str = "", status: int = 200) -> Response:
    session = db.session()
    lines = service.lines_of(session, found)
    notes = credit_notes.notes_of(session, found)
    gone = {line.credits_line_id for note in notes for line in service.lines_of(session, note)}
    return render(
        "provider/invoice_credit.html",
        status=status,
        invoice=found,
        tenant=found.tenant,
        rows=list(zip(lines, invoice_text.in_words(found, lines).lines, strict=True)),
        gone=gone,
        problem=problem,
        menu_entry="provider.invoices",
    )


def _key(name: str) -> int | None:
    found = decode_cursor(request.args.get(name), int)
    return found[0] if found else None

"""A tenant's money: its ledger, payments in and back, and how it is billed; tax rates."""

from decimal import Decimal

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from app import branding
from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.billing import ledger as ledgers, payments, profiles, reading, service
from app.domain.billing.models import Payment
from app.domain.billing.payments import Receipt
from app.domain.billing.reading import InvoiceQuery
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.web.guards import current_user, needs
from app.web.kit.formats import money
from app.web.kit.i18n import gettext
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.billing_form import PaymentForm, ProfileForm, RateForm

MOST_OPEN = 100


@bp.get("/tenants/<slug>/ledger")
@needs(Permission.READ_BILLING)
def tenant_ledger(slug: str) -> Response:
    """What the tenant owes and every movement of it, newest first."""
    session = db.session()
    found = tenants.by_slug(session, slug)
    after = decode_cursor(request.args.get("after"), int)
    return render(
        "provider/tenant_ledger.html",
        block="entries",
        tenant=found,
        balances=ledgers.balances_of(session, found.id),
        page=ledgers.find_entries(session, found.id, after=after[0] if after else None),
        credit=payments.credit_of(session, found.id, found.currency),
    )


@bp.route("/tenants/<slug>/payments/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_BILLING)
def tenant_payment(slug: str) -> Response:
    """Enter what came in, or with `back` what was paid back."""
    session = db.session()
    found = tenants.by_slug(session, slug)
    form = _payment_form(session, found)
    if not form.is_submitted():
        return _payment_page(found, form)
    if not form.validate():
        return _payment_page(found, form, 422)
    receipt = _receipt(form, found)

    def act(unit: Session) -> Payment:
        enter = payments.repay if form.back.data else payments.receive
        return enter(unit, tenants.by_slug(unit, slug), receipt, actor=current_user.email, now=utc_now())

    try:
        run_in_transaction(act)
    except DomainError as error:
        add_refusal(form, error)
        return _payment_page(tenants.by_slug(db.session(), slug), form, 422)
    amount = money(receipt.amount_micros, receipt.currency)
    if form.back.data:
        say(gettext("%(amount)s paid back, reference %(reference)s.", amount=amount, reference=receipt.reference))
    else:
        say(
            gettext(
                "Payment of %(amount)s entered, reference %(reference)s.", amount=amount, reference=receipt.reference
            )
        )
    return redirect_to(url_for("provider.tenant_ledger", slug=slug))


@bp.route("/tenants/<slug>/billing", methods=["GET", "POST"])
@needs(Permission.CHANGE_BILLING)
def tenant_billing(slug: str) -> Response:
    """How the tenant is billed: its name and address on invoices, tax, days to pay."""
    session = db.session()
    found = tenants.by_slug(session, slug)
    form = ProfileForm(obj=profiles.profile(session, found.id, branding.terms()), meta={"currency": found.currency})
    form.tax_code.choices = [(rate.code, rate.name) for rate in profiles.rates(session).values()]
    if not form.is_submitted():
        return render("provider/tenant_billing.html", form=form, tenant=found)
    if not form.validate():
        return render("provider/tenant_billing.html", form=form, tenant=found, status=422)
    wanted = form.profile()

    def act(unit: Session) -> None:
        tenant = tenants.by_slug(unit, slug)
        profiles.save_profile(unit, tenant, wanted, actor=current_user.email, now=utc_now())
        for draft in reading.find(
            unit, InvoiceQuery(state="draft", tenant_id=tenant.id), today=utc_now().date()
        ).invoices:
            service.refresh(unit, draft, branding.terms())

    try:
        run_in_transaction(act)
    except DomainError as error:
        add_refusal(form, error)
        return render("provider/tenant_billing.html", form=form, tenant=tenants.by_slug(db.session(), slug), status=422)
    say(gettext("Saved. Invoices that are issued stay as they are."))
    return redirect_to(url_for("provider.tenant_ledger", slug=slug))


@bp.route("/billing/tax", methods=["GET", "POST"])
@needs(Permission.CHANGE_BILLING)
def billing_tax() -> Response:
    """Every tax rate; add one, or change the one of the code."""
    rates = profiles.rates(db.session())
    chosen = rates.get(request.args.get("code", ""))
    form = RateForm(obj=chosen)
    if chosen and not form.is_submitted():
        form.percent.data = Decimal(chosen.ppm) / 10_000
    if form.is_submitted():
        try:
            if form.validate():
                rate = form.rate()
                run_in_transaction(lambda unit: profiles.save_rate(unit, rate, actor=current_user.email, now=utc_now()))
                say(gettext("Saved. Invoices that are issued stay as they are."))
                return redirect_to(url_for("provider.billing_tax"))
        except DomainError as error:
            add_refusal(form, error)
    return render(
        "provider/billing_tax.html",
        status=422 if form.errors else 200,
        form=form,
        chosen=chosen,
        rates=profiles.rates(db.session()),
        default=branding.terms().tax_code,
    )


def _payment_form(session: Session, found: Tenant) -> PaymentForm:
    form = PaymentForm(meta={"currency": found.currency})
    query = InvoiceQuery(state="open", tenant_id=found.id)
    still_open = reading.find(session, query, today=utc_now().date(), most=MOST_OPEN).invoices
    form.invoice.choices = [
        ("", gettext("what is due first")),
        *((str(row.id), f"{row.number} · {money(row.open_micros, row.currency)}") for row in reversed(still_open)),
    ]
    if not form.is_submitted():
        form.received_on.data = utc_now().date()
        form.back.data = "1" if request.args.get("back") else ""
        chosen = next((row for row in still_open if str(row.id) == request.args.get("invoice")), None)
        if chosen:
            form.invoice.data, form.amount.data = str(chosen.id), chosen.open_micros
        elif form.back.data:
            form.amount.data = payments.credit_of(session, found.id, found.currency)
    return form


def _payment_page(found: Tenant, form: PaymentForm, status: int = 200) -> Response:
    session = db.session()
    return render(
        "provider/tenant_payment.html",
        status=status,
        tenant=found,
        form=form,
        balance=ledgers.balances_of(session, found.id).get(found.currency, 0),
        credit=payments.credit_of(session, found.id, found.currency),
    )


def _receipt(form: PaymentForm, found: Tenant) -> Receipt:
    return Receipt(
        key=f"{form.method.data}:{form.reference.data}"[:200],
        amount_micros=form.amount.data or 0,
        currency=found.currency,
        method=form.method.data,
        reference=form.reference.data or "",
        received_on=form.received_on.data or utc_now().date(),
        invoice_ids=(int(form.invoice.data),) if str(form.invoice.data).isdecimal() and not form.back.data else (),
    )

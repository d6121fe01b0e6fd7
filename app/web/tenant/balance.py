"""What a prepaid tenant can spend, and a way to raise it."""

from flask import Response, abort, current_app, g, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from jinja2_fragments.flask import render_block
from wtforms.validators import InputRequired

from app import mail
from app.core.ids import new_id
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.billing import ledger
from app.domain.billing.online import GatewayError, PayRequest
from app.domain.metering import prepaid
from app.domain.metering.prepaid import Purse
from app.domain.tenants.models import Tenant
from app.web import pay
from app.web.guards import needs
from app.web.kit.forms import Form, MoneyField
from app.web.kit.i18n import gettext
from app.web.kit.paging import decode_cursor
from app.web.kit.render import redirect_to, render, say
from app.web.tenant import bp

MOST_MICROS = 100_000 * 1_000_000  # of one top-up: more is a slip of the hand


class TopUpForm(Form):
    """How much to pay in."""

    amount = MoneyField(_("Amount"), [InputRequired(_("Enter an amount."))])


@bp.get("/balance")
@needs(Permission.READ_BILLING)
def balance() -> Response:
    """The balance, and every movement of it, newest first."""
    tenant, purse = _prepaid_tenant()
    return _page(tenant, purse, TopUpForm(meta={"currency": tenant.currency}))


@bp.get("/balance/card")
@needs(Permission.READ_BILLING)
def balance_card() -> str:
    """What the home page shows of it, as of now."""
    _, purse = _prepaid_tenant()
    return render_block("tenant/home.html", "balance", purse=purse)


@bp.post("/balance")
@needs(Permission.PAY_INVOICES)
def balance_top_up() -> Response:
    """On to the gateway's page, to pay in what was typed."""
    (tenant, purse), gateway = _prepaid_tenant(), pay.gateway()
    form = TopUpForm(meta={"currency": tenant.currency})
    if gateway is None:
        say(gettext("Nothing is to be paid here."), "warning")
        return redirect_to(url_for("tenant.balance"))
    if form.validate() and not 0 < (form.amount.data or 0) <= MOST_MICROS:
        form.amount.errors = [gettext("Enter an amount above zero, and no more than 100,000.")]
    if form.errors:
        return _page(tenant, purse, form, 422)
    wanted = PayRequest(
        tenant_id=tenant.id,
        invoice_id=None,
        number=gettext("Top-up of %(name)s", name=tenant.name),
        open_micros=form.amount.data or 0,
        currency=tenant.currency,
        email=tenant.contact_email,
        paid_url=mail.link("tenant.balance_paid"),
        back_url=mail.link("tenant.balance"),
        wish=f"top-up-{new_id()}",  # the same amount twice a day is paid in twice
    )
    db.session().rollback()  # nothing is held while another house is asked
    try:
        return redirect_to(gateway.pay_link(wanted))
    except GatewayError as error:
        current_app.logger.warning("pay link for a top-up: %s", error)
        say(gettext("The payment page cannot be reached just now. Try again, or pay by bank transfer."), "error")
        return redirect_to(url_for("tenant.balance"))


@bp.get("/balance/paid")
@needs(Permission.READ_BILLING)
def balance_paid() -> Response:
    """Back from the gateway's page: what was paid counts once the gateway has told us."""
    say(gettext("Thank you. The payment counts as soon as it is confirmed."), "info")
    return redirect_to(url_for("tenant.balance"))


def _prepaid_tenant() -> tuple[Tenant, Purse]:
    session = db.session()
    purse = prepaid.purse(session.connection(), g.tenant_id)
    if purse is None:
        abort(404)
    return session.get_one(Tenant, g.tenant_id), purse


def _page(tenant: Tenant, purse: Purse, form: TopUpForm, status: int = 200) -> Response:
    after = decode_cursor(request.args.get("after"), int)
    return render(
        "tenant/balance.html",
        block="entries",
        status=status,
        tenant=tenant,
        purse=purse,
        form=form,
        can_pay=pay.gateway() is not None,
        page=ledger.find_entries(db.session(), tenant.id, after=after[0] if after else None),
        who_name=tenant.name,
    )

"""Proving again who one is, before what is sensitive."""

from flask import Response, request

from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Permission
from app.domain.factors import service as factors
from app.web.account import bp
from app.web.account.kit import later
from app.web.auth.next_page import local_page
from app.web.guards import confirmed, current_user, home_url, needs
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render, say
from app.web.proofs import CONFIRM, ConfirmForm, accept, refuse, request_options


@bp.route("/confirm", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def confirm() -> Response:
    """Ask for the password, a code or a passkey; then back to the page that wanted to know."""
    form = ConfirmForm(next=local_page(request.args.get("next")), again=request.args.get("again"))
    if not form.is_submitted():
        return _ask(form)
    account = db.session.get_one(Account, current_user.account_id)
    try:
        if form.validate():
            accept(form, account, CONFIRM)
            return _done(form)
    except Invalid as error:
        refuse(form, error)
    except Throttled as error:
        return later(form, error, lambda status: _ask(form, status))
    return _ask(form, 422)


def _ask(form: ConfirmForm, status: int = 200) -> Response:
    found = factors.factors_of(db.session(), current_user.account_id)
    options = request_options(CONFIRM, current_user.account_id) if found.passkeys else ""
    return render("account/confirm.html", form=form, status=status, factors=found, options=options)


def _done(form: ConfirmForm) -> Response:
    confirmed()
    if form.again.data:
        say(gettext("Thank you. What you sent before was not done: please send it again."), "warning")
    return redirect_to(local_page(form.next.data) or home_url())

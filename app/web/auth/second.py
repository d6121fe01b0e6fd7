"""The second step of signing in, and signing in with a passkey alone."""

from typing import Any

from flask import Response, request, url_for

from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts.models import Account
from app.domain.factors import service as factors
from app.web.account.kit import later
from app.web.auth.enter import complete, half_signed_in
from app.web.auth.next_page import local_page
from app.web.auth.views import bp, login_page
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.render import redirect_to, render, say
from app.web.proofs import (
    SECOND_STEP,
    SIGN_IN,
    SecondForm,
    accept,
    accept_passkey,
    passkey_host,
    refuse,
    request_options,
)


@bp.route("/login/second", methods=["GET", "POST"])
def second() -> Response:
    """Ask whose password fitted for a code, a passkey or a recovery code."""
    form = SecondForm(next=local_page(request.args.get("next")))
    target = local_page(form.next.data)
    account = half_signed_in()
    if account is None:
        return redirect_to(url_for("auth.login", next=target))
    if not form.is_submitted():
        return _ask(form, account)
    try:
        if form.validate():
            left = accept(form, account, SECOND_STEP)
            if half_signed_in():  # the password may have been replaced meanwhile
                return _done(account, target, left)
            return redirect_to(url_for("auth.login", next=target))
    except Invalid as error:
        refuse(form, error)
    except Throttled as error:
        return later(form, error, lambda status: _ask(form, account, status))
    return _ask(form, account, 422)


@bp.post("/login/passkey")
def passkey() -> Response:
    """Sign in with a passkey whose device has verified its holder: possession and a finger or PIN are two factors."""
    form = SecondForm()
    target = local_page(form.next.data)
    try:
        account_id = accept_passkey(form.credential.data or "", None, SIGN_IN)
        account = db.session.get_one(Account, account_id)
        if account.disabled_at is None:
            return complete(account, target)
        refuse(form, Invalid("passkey_refused", "The account is closed."))
    except Invalid as error:
        refuse(form, error)
    except Throttled as error:
        return later(form, error, lambda status: login_page(target, form.form_errors, status))
    return login_page(target, form.form_errors, 422)


def _ask(form: SecondForm, account: Account, status: int = 200) -> Response:
    found = factors.factors_of(db.session(), account.id)
    options = request_options(SECOND_STEP, account.id) if found.passkeys else ""
    more: dict[str, Any] = {"account": account, "factors": found, "options": options, "host": passkey_host()}
    return render("auth/second.html", form=form, status=status, **more)


def _done(account: Account, target: str | None, codes_left: int | None) -> Response:
    response = complete(account, target)
    if codes_left is not None:
        words = ngettext(
            "%(num)s recovery code is left. If you lost a device, remove it and set up another.",
            "%(num)s recovery codes are left. If you lost a device, remove it and set up another.",
            codes_left,
        )
        say(words, "warning", link_url=url_for("account.security"), link_label=gettext("Sign-in security"))
    return response

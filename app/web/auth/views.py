"""Signing in and out."""

from collections.abc import Iterable

from flask import Blueprint, Response, request, url_for

from app.core.clock import utc_now
from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.account.kit import later
from app.web.auth.enter import enter
from app.web.auth.forms import SignInForm
from app.web.auth.next_page import local_page
from app.web.guards import current_user, home_url, needs, sign_out
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render
from app.web.proofs import SIGN_IN, request_options

bp = Blueprint("auth", __name__)


@bp.get("/")
@needs(Permission.USE_OWN_ACCOUNT)
def index() -> Response:
    """The start page of whoever is signed in."""
    return redirect_to(home_url())


@bp.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Sign in, and go on to the page that asked for it."""
    form = SignInForm(next=local_page(request.args.get("next")))
    if request.method == "GET":
        return redirect_to(local_page(form.next.data) or home_url()) if current_user.is_authenticated else _ask(form)
    if not form.validate():
        return _ask(form, 422)
    try:
        account = accounts.authenticate(
            db.session(),
            form.email.data or "",
            form.password.data or "",
            address=request.remote_addr or "",
            now=utc_now(),
        )
        return enter(account, local_page(form.next.data))
    except Invalid:
        form.form_errors.append(gettext("The e-mail address or the password is not right."))
        return _ask(form, 422)
    except Throttled as error:
        return later(form, error, lambda status: _ask(form, status))


@bp.post("/logout")
@needs(Permission.USE_OWN_ACCOUNT)
def logout() -> Response:
    """Sign this browser out."""
    sign_out()
    return redirect_to(url_for("auth.login"))


def _ask(form: SignInForm, status: int = 200) -> Response:
    options = request_options(SIGN_IN, None)
    return render("auth/login.html", form=form, status=status, options=options)


def login_page(target: str | None, problems: Iterable[str], status: int) -> Response:
    """The page to sign in at, saying what went wrong on another way in."""
    form = SignInForm(formdata=None, next=target)
    form.form_errors.extend(problems)
    return _ask(form, status)

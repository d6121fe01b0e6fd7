"""Signing in and out, and one's own password."""

from flask import Blueprint, Response, request, url_for

from app.core.clock import utc_now
from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.auth.forms import PasswordForm, SignInForm
from app.web.auth.next_page import local_page
from app.web.guards import current_user, home_url, needs, sign_in, sign_out
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.render import redirect_to, render, say

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
    except Invalid:
        form.form_errors.append(gettext("The e-mail address or the password is not right."))
        return _ask(form, 422)
    except Throttled as error:
        return _later("auth/login.html", form, error)
    sign_in(account)
    return redirect_to(local_page(form.next.data) or home_url())


@bp.post("/logout")
@needs(Permission.USE_OWN_ACCOUNT)
def logout() -> Response:
    """Sign this browser out."""
    sign_out()
    return redirect_to(url_for("auth.login"))


@bp.route("/password", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def password() -> Response:
    """Change one's own password; every other browser is signed out."""
    form = PasswordForm()
    if not form.is_submitted():
        return render("auth/password.html", form=form)
    try:
        if form.validate():
            _change_password(form)
            say(gettext("Your password is changed. Other places where you were signed in are signed out."))
            return redirect_to(home_url())
    except Invalid as error:
        form[error.details["field"]].errors = [_password_words(error)]
    except Throttled as error:
        return _later("auth/password.html", form, error)
    return render("auth/password.html", form=form, status=422)


def _change_password(form: PasswordForm) -> None:
    accounts.change_password(
        db.session(),
        current_user.email,
        form.current.data or "",
        form.new.data or "",
        address=request.remote_addr or "",
        keep=current_user.token,
        now=utc_now(),
    )


def _password_words(error: Invalid) -> str:
    return {
        "wrong_password": gettext("This is not your current password."),
        "password_too_short": gettext("Use at least 12 characters."),
        "password_is_email": gettext("Use something else than your e-mail address."),
    }.get(error.code, error.message)


def _ask(form: SignInForm, status: int = 200) -> Response:
    return render("auth/login.html", form=form, status=status)


def _later(template: str, form: Form, error: Throttled) -> Response:
    """The form again, saying when to come back."""
    seconds: int = error.details["retry_after"]
    minutes = -(-seconds // 60)
    form.form_errors.append(
        ngettext(
            "Too many attempts. Try again in %(num)s minute.",
            "Too many attempts. Try again in %(num)s minutes.",
            minutes,
        )
    )
    response = render(template, form=form, status=429)
    response.headers["Retry-After"] = str(seconds)
    return response

"""What a link from a mail opens, and asking for a new password: for people who are not signed in."""

from flask import Response, request, url_for

from app.core.clock import utc_now
from app.core.errors import Conflict, Invalid, NotFound, Throttled
from app.db import db, run_in_transaction
from app.domain.accounts import invitations, links, recovery
from app.domain.accounts.links import Purpose
from app.domain.tenants.models import Tenant
from app.web.account.kit import later, password_words
from app.web.account.password import NewPasswordForm
from app.web.auth.forms import ForgotForm, InvitationForm
from app.web.auth.views import bp
from app.web.guards import home_url, sign_in
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render, say


@bp.route("/forgot", methods=["GET", "POST"])
def forgot() -> Response:
    """Ask for a link by which to choose a new password; the answer is the same whoever asks."""
    form = ForgotForm()
    if not form.validate_on_submit():
        return render("auth/forgot.html", form=form, status=422 if form.is_submitted() else 200)
    email = form.email.data or ""
    try:
        recovery.ask_reset(db.session(), email, address=request.remote_addr or "", now=utc_now())
    except Throttled as error:
        return later(form, error, lambda status: render("auth/forgot.html", form=form, status=status))
    return render("auth/forgot_sent.html", email=email)


@bp.route("/reset/<token>", methods=["GET", "POST"])
def reset(token: str) -> Response:
    """Choose a new password. Looking does not use the link up: mail programs look at links by themselves."""
    form = NewPasswordForm()
    try:
        email = links.find(db.session(), Purpose.RESET, token, now=utc_now()).email
        if form.validate_on_submit():
            recovery.reset_password(db.session(), token, form.new.data or "", now=utc_now())
            say(gettext("Your password is changed, and you are signed out everywhere. Sign in with the new one."))
            return redirect_to(url_for("auth.login"))
    except NotFound:
        return _over(Purpose.RESET)
    except Invalid as error:
        _refuse_password(form, error)
    return render("auth/reset.html", form=form, email=email, token=token, status=_status(form))


@bp.route("/invitation/<token>", methods=["GET", "POST"])
def invitation(token: str) -> Response:
    """Choose a name and a password, and be signed in."""
    form = InvitationForm()
    session = db.session()
    try:
        found = links.find(session, Purpose.INVITATION, token, now=utc_now())
        tenant = session.get(Tenant, found.tenant_id) if found.tenant_id else None
        shown = {"email": found.email, "asked_by": found.asked_by, "tenant": tenant.name if tenant else ""}
        if form.validate_on_submit():
            name, new = form.name.data or "", form.new.data or ""
            sign_in(invitations.accept(session, token, name, new, now=utc_now()))
            return redirect_to(home_url())
    except NotFound:
        return _over(Purpose.INVITATION)
    except Conflict:
        form.form_errors.append(
            gettext("This address already has an account here. Ask to be invited at another address, or sign in.")
        )
    except Invalid as error:
        _refuse_password(form, error)
    return render("auth/invitation.html", form=form, token=token, **shown, status=_status(form))


@bp.route("/new-email/<token>", methods=["GET", "POST"])
def new_email(token: str) -> Response:
    """Confirm that the mail of a new address was read."""
    form = Form()
    try:
        email = links.find(db.session(), Purpose.EMAIL, token, now=utc_now()).email
        if form.validate_on_submit():
            run_in_transaction(lambda unit: recovery.confirm_email(unit, token, now=utc_now()))
            say(gettext("From now on you sign in as %(email)s.", email=email))
            return redirect_to(url_for("auth.index"))
    except NotFound:
        return _over(Purpose.EMAIL)
    except Conflict:
        form.form_errors.append(gettext("This address already has an account here; use another one."))
    return render("auth/new_email.html", form=form, email=email, token=token, status=_status(form))


def _over(purpose: Purpose) -> Response:
    """The link opens nothing (any more): what to do now."""
    return render("auth/link_over.html", purpose=purpose, status=404)


def _refuse_password(form: NewPasswordForm, error: Invalid) -> None:
    form.new.errors = [password_words(error)]


def _status(form: Form) -> int:
    return 422 if form.is_submitted() else 200

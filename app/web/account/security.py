"""One's own second factor: the authenticator app, passkeys, recovery codes."""

from collections.abc import Callable
from typing import TypeVar

from flask import Response, current_app, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import HiddenField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Conflict, Invalid
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.factors import passkeys, service as factors, totp
from app.domain.factors.passkeys import MAX_ANSWER
from app.web.account import bp
from app.web.account.kit import show
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.qr_code import code_of
from app.web.kit.render import redirect_to, say
from app.web.proofs import ADD, ceremony

T = TypeVar("T")


class AppForm(Form):
    """The first code of an app."""

    code = StringField(_("Code from your app"), [InputRequired(_("Enter the code that the app shows."))])


class PasskeyForm(Form):
    """What the browser made, and how its owner calls it."""

    name = StringField(_("Name of the device"), [DataRequired(_("Give it a name, such as Laptop.")), Length(max=60)])
    credential = HiddenField(validators=[Length(max=MAX_ANSWER)])


@bp.get("/security")
@needs(Permission.USE_OWN_ACCOUNT)
def security() -> Response:
    """What is set up."""
    return show("account/security.html", factors=factors.factors_of(db.session(), current_user.account_id))


@bp.post("/security/app/new")
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_app_new() -> Response:
    """Make a secret for an app; it counts once a code of it was entered."""
    secret_key, account_id = str(current_app.secret_key), current_user.account_id
    run_in_transaction(lambda unit: totp.draft(unit, account_id, secret_key=secret_key, now=utc_now()))
    return redirect_to(url_for("account.security_app"))


@bp.route("/security/app", methods=["GET", "POST"])
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_app() -> Response:
    """Show the secret to the app, and let it prove that it has it."""
    form, secret_key, account_id = AppForm(), str(current_app.secret_key), current_user.account_id
    secret = totp.drafted(db.session(), account_id, secret_key=secret_key)
    if secret is None:
        return redirect_to(url_for("account.security"))
    if form.validate_on_submit():
        code = form.code.data or ""
        try:
            codes = _act(lambda unit, **by: factors.add_totp(unit, account_id, code, secret_key=secret_key, **by))
            return _added(gettext("Your app is set up."), codes)
        except Invalid:
            form.code.errors = [gettext("This is not the code of this moment. Look at the app again.")]
    settings: Settings = current_app.config["RINGPLAN"]
    drawing = code_of(totp.setup_uri(secret, current_user.email, settings.PRODUCT_NAME))
    status = 422 if form.is_submitted() else 200
    return show("account/security_app.html", status, form=form, drawing=drawing, secret=secret)


@bp.post("/security/app/remove")
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_app_remove() -> Response:
    """Forget the app."""
    account_id = current_user.account_id
    _act(lambda unit, **by: factors.remove_totp(unit, account_id, **by))
    say(gettext("The authenticator app is removed."))
    return redirect_to(url_for("account.security"))


@bp.route("/security/passkeys/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_passkey_new() -> Response:
    """Add a passkey: the browser makes it, the form brings it."""
    form, where = PasskeyForm(), ceremony(ADD)
    account_id = current_user.account_id
    if form.validate_on_submit() and where is not None:
        answer, name = form.credential.data or "", form.name.data or ""
        try:
            codes = _act(lambda unit, **by: factors.add_passkey(unit, where, account_id, answer, name, **by))
            return _added(gettext("The passkey %(name)s is set up.", name=name), codes)
        except (Invalid, Conflict) as error:
            form.form_errors.append(_refusal(error))
    options = ""
    if where is not None:
        session, now = db.session(), utc_now()
        options = passkeys.creation_options(session, where, account_id, current_user.email, current_user.name, now)
    return show("account/security_passkey.html", 422 if form.is_submitted() else 200, form=form, options=options)


@bp.post("/security/passkeys/<int:passkey_id>/remove")
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_passkey_remove(passkey_id: int) -> Response:
    """Forget a passkey."""
    account_id = current_user.account_id
    name = _act(lambda unit, **by: factors.remove_passkey(unit, account_id, passkey_id, **by))
    say(gettext("The passkey %(name)s is removed.", name=name))
    return redirect_to(url_for("account.security"))


@bp.post("/security/codes")
@needs(Permission.CHANGE_SECOND_FACTOR)
def security_codes() -> Response:
    """New recovery codes; the old ones no longer work."""
    account_id = current_user.account_id
    return _codes_page(_act(lambda unit, **by: factors.new_recovery_codes(unit, account_id, **by)))


def _act(act: Callable[..., T]) -> T:
    """One act in one transaction, done by the visitor now."""
    actor, now = current_user.email, utc_now()

    def run(unit: Session) -> T:
        return act(unit, actor=actor, now=now)

    return run_in_transaction(run)


def _added(words: str, codes: list[str] | None) -> Response:
    """On to the overview, or first to the recovery codes that came with the first factor."""
    if codes is not None:
        return _codes_page(codes, words)
    say(words)
    return redirect_to(url_for("account.security"))


def _codes_page(codes: list[str], words: str = "") -> Response:
    """The one page that shows them; nothing keeps them, so it is no page to come back to."""
    return show("account/security_codes.html", codes=codes, words=words)


def _refusal(error: Invalid | Conflict) -> str:
    return {
        "challenge_over": gettext("That took too long. Try again."),
        "too_many_passkeys": gettext("You have as many passkeys as can be kept. Remove one first."),
    }.get(error.code, gettext("The passkey was not accepted. Try again, or use another device."))

"""One's own address, which changes once the mail of the new one was read."""

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import EmailField, PasswordField
from wtforms.validators import InputRequired

from app.core.clock import utc_now
from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts import recovery
from app.domain.accounts.roles import Permission
from app.web.account import bp
from app.web.account.kit import later, show
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, say


class EmailForm(Form):
    """The new address, and the password again."""

    email = EmailField(_("New e-mail address"), [InputRequired(_("Enter the new address."))])
    current = PasswordField(_("Your password"), [InputRequired(_("Enter your password."))])


@bp.route("/email", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def email() -> Response:
    """Ask for a link to the new address."""
    form = EmailForm()
    if not form.is_submitted():
        return show("account/email.html", form=form)
    try:
        if form.validate():
            _ask(form)
            say(gettext("Open the link that we sent to %(email)s. Until then nothing changes.", email=form.email.data))
            return redirect_to(url_for("account.profile"))
    except Invalid as error:
        form[error.details["field"]].errors = [_words(error)]
    except Throttled as error:
        return later(form, error, lambda status: show("account/email.html", status, form=form))
    return show("account/email.html", form=form, status=422)


def _ask(form: EmailForm) -> None:
    recovery.ask_new_email(
        db.session(),
        current_user.email,
        form.current.data or "",
        form.email.data or "",
        address=request.remote_addr or "",
        now=utc_now(),
    )


def _words(error: Invalid) -> str:
    return {
        "invalid_email": gettext("This is no e-mail address."),
        "same_email": gettext("This is your address already."),
        "wrong_password": gettext("This is not your password."),
    }.get(error.code, error.message)

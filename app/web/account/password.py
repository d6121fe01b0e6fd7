"""One's own password."""

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import PasswordField
from wtforms.validators import EqualTo, InputRequired

from app.core.clock import utc_now
from app.core.errors import Invalid, Throttled
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.account import bp
from app.web.account.kit import later, password_words, show
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, say


class NewPasswordForm(Form):
    """Twice the new password."""

    new = PasswordField(_("New password"), [InputRequired(_("Enter a new password."))])
    repeat = PasswordField(
        _("New password again"),
        [InputRequired(_("Enter the new password again.")), EqualTo("new", _("The two new passwords differ."))],
    )


class PasswordForm(NewPasswordForm):
    """The current password and twice the new one."""

    current = PasswordField(_("Current password"), [InputRequired(_("Enter your current password."))])


@bp.route("/password", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def password() -> Response:
    """Change one's own password; every other browser is signed out."""
    form = PasswordForm()
    if not form.is_submitted():
        return show("account/password.html", form=form)
    try:
        if form.validate():
            _change(form)
            say(gettext("Your password is changed. Other places where you were signed in are signed out."))
            return redirect_to(url_for("account.password"))
    except Invalid as error:
        form[error.details["field"]].errors = [password_words(error)]
    except Throttled as error:
        return later(form, error, lambda status: show("account/password.html", status, form=form))
    return show("account/password.html", form=form, status=422)


def _change(form: PasswordForm) -> None:
    accounts.change_password(
        db.session(),
        current_user.email,
        form.current.data or "",
        form.new.data or "",
        address=request.remote_addr or "",
        keep=current_user.token,
        now=utc_now(),
    )

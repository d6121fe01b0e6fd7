"""What is typed to sign in and to change a password."""

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length

from app.web.auth.next_page import MAX_LENGTH
from app.web.kit.forms import Form


class SignInForm(Form):
    """Address and password; `next` is the page to go on to."""

    next = HiddenField(validators=[Length(max=MAX_LENGTH)])
    email = StringField(_("E-mail address"), [InputRequired(_("Enter your e-mail address."))])
    password = PasswordField(_("Password"), [InputRequired(_("Enter your password."))])


class PasswordForm(Form):
    """The current password and twice the new one."""

    current = PasswordField(_("Current password"), [InputRequired(_("Enter your current password."))])
    new = PasswordField(_("New password"), [InputRequired(_("Enter a new password."))])
    repeat = PasswordField(
        _("New password again"),
        [InputRequired(_("Enter the new password again.")), EqualTo("new", _("The two new passwords differ."))],
    )

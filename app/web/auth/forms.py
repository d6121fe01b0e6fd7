"""What is typed to sign in."""

from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import DataRequired, InputRequired, Length

from app.web.account.password import NewPasswordForm
from app.web.auth.next_page import MAX_LENGTH
from app.web.kit.forms import Form


class SignInForm(Form):
    """Address and password; `next` is the page to go on to."""

    next = HiddenField(validators=[Length(max=MAX_LENGTH)])
    email = StringField(_("E-mail address"), [InputRequired(_("Enter your e-mail address."))])
    password = PasswordField(_("Password"), [InputRequired(_("Enter your password."))])


class ForgotForm(Form):
    """The address of whoever lost the password."""

    email = StringField(_("E-mail address"), [InputRequired(_("Enter your e-mail address."))])


class InvitationForm(NewPasswordForm):
    """What an invited person chooses."""

    name = StringField(_("Your name"), [DataRequired(_("Enter your name."))])

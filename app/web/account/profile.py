"""One's own name and address."""

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import StringField
from wtforms.validators import DataRequired

from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.account import bp
from app.web.account.kit import show
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, say


class ProfileForm(Form):
    """How a person is called."""

    name = StringField(_("Name"), [DataRequired(_("Enter your name."))])


@bp.route("", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def profile() -> Response:
    """One's own name."""
    form = ProfileForm(data={"name": current_user.name})
    if form.validate_on_submit():
        with unit_of_work() as session:
            account_id, actor = current_user.account_id, current_user.email
            accounts.rename(session, account_id, form.name.data or "", actor=actor, now=utc_now())
        say(gettext("Saved."))
        return redirect_to(url_for("account.profile"))
    return show("account/profile.html", form=form, status=422 if form.is_submitted() else 200)

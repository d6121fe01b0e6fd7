"""How one is shown numbers, dates, times and talk time."""

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.core.clock import utc_now
from app.core.display import Display
from app.db import db, unit_of_work
from app.domain.accounts import display as displays
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.account import bp
from app.web.account.kit import show
from app.web.guards import current_user, needs
from app.web.kit.forms import Form, LocaleField, TimeZoneField, UnitsField
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, say


class DisplayForm(Form):
    """What is left empty is as the tenant has it, or as it comes."""

    locale = LocaleField(_("Numbers and dates"))
    zone = TimeZoneField(_("Time zone"), optional=True)
    units = UnitsField(_("Minutes"))


@bp.route("/display", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def display() -> Response:
    """One's own choice; it goes before the tenant's."""
    form = DisplayForm(data=displays.display_of(db.session(), current_user.account_id)._asdict())
    if form.validate_on_submit():
        wanted = Display(form.locale.data, form.zone.data, form.units.data)
        with unit_of_work() as session:
            account_id, actor = current_user.account_id, current_user.email
            displays.set_display(session, account_id, wanted, actor=actor, now=utc_now())
        say(gettext("Saved."))
        return redirect_to(url_for("account.display"))
    tenant = db.session.get_one(Tenant, current_user.tenant_id) if current_user.tenant_id else None
    return show("account/display.html", form=form, tenant=tenant, status=422 if form.is_submitted() else 200)

"""What a tenant's user is told by mail, and at which shares of a limit."""

from flask import Response, g, url_for

from app.core.clock import utc_now
from app.core.errors import Invalid
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.kit.thresholds import NotificationsForm
from app.web.tenant import bp


@bp.route("/notifications", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def notifications() -> Response:
    """One's own choice, and the thresholds of the whole tenant."""
    tenant = db.session.get_one(Tenant, g.tenant_id)
    account = db.session.get_one(Account, current_user.account_id)
    form = NotificationsForm(data={"wanted": account.wants_threshold_mail, "thresholds": tenant.thresholds})
    if not current_user.may(Permission.CHANGE_THRESHOLDS):
        del form.thresholds
    try:
        if form.validate_on_submit():
            _save(form)
            say(gettext("Saved."))
            return redirect_to(url_for("tenant.notifications"))
    except Invalid as error:
        add_refusal(form, error)
        tenant = db.session.get_one(Tenant, g.tenant_id)
    status = 422 if form.is_submitted() else 200
    return render("tenant/notifications.html", form=form, tenant=tenant, status=status)


def _save(form: NotificationsForm) -> None:
    edge = {"actor": current_user.email, "now": utc_now()}
    with unit_of_work() as session:
        accounts.set_threshold_mail(session, current_user.account_id, form.wanted.data, **edge)
        if "thresholds" in form:
            tenants.set_thresholds(session, session.get_one(Tenant, g.tenant_id), form.thresholds.data, **edge)

"""What staff are told by mail, and at which shares of a tenant's limits people are told."""

from flask import Response, url_for

from app.core.clock import utc_now
from app.core.errors import Invalid
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.kit.thresholds import OwnMailForm, ThresholdsForm
from app.web.provider import bp


@bp.route("/notifications", methods=["GET", "POST"])
@needs(Permission.USE_OWN_ACCOUNT)
def notifications() -> Response:
    """One's own choice, about every tenant."""
    account = db.session.get_one(Account, current_user.account_id)
    form = OwnMailForm(data={"wanted": account.wants_threshold_mail})
    if not form.validate_on_submit():
        return render("provider/notifications.html", form=form, status=422 if form.is_submitted() else 200)
    with unit_of_work() as session:
        accounts.set_threshold_mail(
            session, current_user.account_id, form.wanted.data, actor=current_user.email, now=utc_now()
        )
    say(gettext("Saved."))
    return redirect_to(url_for("provider.notifications"))


@bp.route("/tenants/<slug>/thresholds", methods=["GET", "POST"])
@needs(Permission.CHANGE_THRESHOLDS)
def tenant_thresholds(slug: str) -> Response:
    """At which shares of its limits a tenant and staff are told."""
    found = tenants.by_slug(db.session(), slug)
    form = ThresholdsForm(data={"thresholds": found.thresholds})
    try:
        if form.validate_on_submit():
            with unit_of_work() as session:
                found = tenants.by_slug(session, slug)
                tenants.set_thresholds(session, found, form.thresholds.data, actor=current_user.email, now=utc_now())
            say(gettext("The thresholds of %(tenant)s are changed.", tenant=found.name))
            return redirect_to(url_for("provider.tenant", slug=slug))
    except Invalid as error:
        add_refusal(form, error)
        found = tenants.by_slug(db.session(), slug)
    status = 422 if form.is_submitted() else 200
    return render("provider/tenant_thresholds.html", form=form, tenant=found, status=status)

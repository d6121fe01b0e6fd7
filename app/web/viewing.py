"""Staff look at the portal as a tenant: begun with a reason on the tenant's page, ended by the banner or in time."""

from flask import Blueprint, Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import RadioField, SelectChoice, StringField  # type: ignore[attr-defined]  # newer than the types
from wtforms.validators import InputRequired, Length

from app.core.clock import utc_now
from app.db import db, run_in_transaction
from app.domain.accounts import viewing
from app.domain.accounts.roles import TENANT_ROLES, Permission, Role
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render, say
from app.web.kit.role_words import role_name

bp = Blueprint("viewing", __name__)


class ViewForm(Form):
    """Why, and as whom."""

    reason = StringField(_("Reason"), [InputRequired(_("Say why.")), Length(max=viewing.MAX_REASON)])
    role = RadioField(_("As"), default=Role.ADMIN.value)


@bp.route("/provider/tenants/<slug>/view", methods=["GET", "POST"])
@needs(Permission.VIEW_AS_TENANT)
def start(slug: str) -> Response:
    """Ask for the reason, then show the tenant's home."""
    tenant, form = tenants.by_slug(db.session(), slug), ViewForm()
    form.role.choices = [SelectChoice(role.value, role_name(role)) for role in TENANT_ROLES]
    if not form.validate_on_submit():
        return render("provider/tenant_view.html", form=form, tenant=tenant, status=422 if form.is_submitted() else 200)
    token, actor, now = current_user.token, current_user.email, utc_now()
    role, reason = Role(form.role.data), form.reason.data or ""
    run_in_transaction(
        lambda session: viewing.start(
            session, token, tenants.by_slug(session, slug), role, reason, actor=actor, now=now
        )
    )
    return redirect_to(url_for("tenant.home"))


@bp.post("/viewing/end")
@needs(Permission.VIEW_AS_TENANT)
def end() -> Response:
    """Be oneself again."""
    token, actor, now = current_user.token, current_user.email, utc_now()
    tenant = run_in_transaction(lambda session: viewing.end(session, token, actor=actor, now=now))
    if tenant is None:
        return redirect_to(url_for("provider.home"))
    say(gettext("You no longer view the portal as %(tenant)s.", tenant=tenant.name))
    return redirect_to(url_for("provider.tenant", slug=tenant.slug))

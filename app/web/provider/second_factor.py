"""Who must have a second factor, and taking it from somebody who lost it."""

from typing import Any

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import SelectMultipleField
from wtforms.widgets import CheckboxInput

from app.core.clock import utc_now
from app.core.errors import NotFound
from app.db import db, run_in_transaction
from app.domain.accounts import demand
from app.domain.accounts.models import Account
from app.domain.accounts.roles import STAFF_ROLES, TENANT_ROLES, Permission, Role
from app.domain.factors import service as factors
from app.domain.tenants.models import Tenant
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render, say
from app.web.kit.role_words import role_name
from app.web.provider import bp


class DemandForm(Form):
    """The roles on either side that must have one."""

    staff = SelectMultipleField(_("Of the provider's people"), option_widget=CheckboxInput(), coerce=str)
    tenants = SelectMultipleField(_("Of the tenants' people"), option_widget=CheckboxInput(), coerce=str)


@bp.route("/people/second-factor", methods=["GET", "POST"])
@needs(Permission.RESET_SECOND_FACTOR)
def second_factor() -> Response:
    """Choose the roles; it holds for everybody at their next click."""
    session = db.session()
    chosen = {side: sorted(demand.demanded(session, of_staff=side == "staff")) for side in ("staff", "tenants")}
    form = DemandForm(data=chosen)
    form.staff.choices = _choices(STAFF_ROLES, of_staff=True)
    form.tenants.choices = _choices(TENANT_ROLES, of_staff=False)
    if form.validate_on_submit():
        _save(frozenset(map(Role, form.staff.data or ())), frozenset(map(Role, form.tenants.data or ())))
        say(gettext("Saved. Whoever needs a second factor and has none is led to setting it up at the next click."))
        return redirect_to(url_for("provider.second_factor"))
    return render(
        "provider/second_factor.html",
        menu_entry="provider.people",
        form=form,
        status=422 if form.is_submitted() else 200,
    )


@bp.route("/people/<int:account_id>/second-factor", methods=["GET", "POST"])
@needs(Permission.RESET_SECOND_FACTOR)
def second_factor_reset(account_id: int) -> Response:
    """Say what a reset does, then do it."""
    form, account = Form(), db.session.get(Account, account_id)
    if account is None:
        raise NotFound("unknown_account", gettext("There is no such person."))
    tenant = db.session.get(Tenant, account.tenant_id) if account.tenant_id else None
    back = url_for("provider.tenant_people", slug=tenant.slug) if tenant else url_for("provider.people")
    if form.validate_on_submit():
        actor, now = current_user.email, utc_now()
        run_in_transaction(lambda unit: factors.reset(unit, unit.get_one(Account, account_id), actor=actor, now=now))
        say(gettext("%(email)s has no second factor any more and is signed out everywhere.", email=account.email))
        return redirect_to(back)
    return render("provider/second_factor_reset.html", form=form, account=account, tenant=tenant, back=back)


def _choices(roles: tuple[Role, ...], *, of_staff: bool) -> list[tuple[str, str]]:
    """Each role with how many of its people have a second factor already."""
    counted = demand.coverage(db.session(), of_staff=of_staff)

    def words(role: Role) -> str:
        people, having = counted.get(role, (0, 0))
        return str(
            gettext("%(role)s – %(having)s of %(people)s have one", role=role_name(role), having=having, people=people)
        )

    return [(str(role), words(role)) for role in roles]


def _save(staff: frozenset[Role], tenants: frozenset[Role]) -> None:
    actor, now = current_user.email, utc_now()

    def act(unit: Any) -> None:
        demand.demand(unit, staff, of_staff=True, actor=actor, now=now)
        demand.demand(unit, tenants, of_staff=False, actor=actor, now=now)

    run_in_transaction(act)

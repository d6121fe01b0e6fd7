"""Resources: what packages can limit. A row of data each, so a new one needs no code."""

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import (  # type: ignore[attr-defined]  # SelectChoice is newer than the types
    IntegerField,
    SelectChoice,
    SelectField,
    StringField,
)
from wtforms.validators import InputRequired, Length, NumberRange

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.core.quantities import MAX_QUANTITY
from app.db import db, unit_of_work
from app.domain.accounts.roles import Permission
from app.domain.catalog import browse, service as catalog
from app.domain.catalog.models import Resource
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

MAX_FACTOR = 1_000_000
UNIT = [InputRequired(_("Name the unit.")), Length(max=32)]
STEP = [InputRequired(_("Enter a whole number.")), NumberRange(1, min(MAX_QUANTITY, MAX_FACTOR))]


class ResourceForm(Form):
    """A resource. Factor and steps are in base units."""

    name = StringField(_("Name"), [InputRequired(_("Give the resource a name."))])
    code = StringField(_("Code"), [InputRequired(_("Give the resource a code."))])
    kind = SelectField(
        _("How it is used"),
        choices=[
            SelectChoice("metered", _("metered: counted up in a billing period")),
            SelectChoice("allocated", _("allocated: held until released")),
            SelectChoice("concurrent", _("concurrent: in use at this instant")),
        ],
    )
    base_unit = StringField(_("Base unit"), UNIT)
    unit_one = StringField(_("Shown as, one"), UNIT)
    unit_many = StringField(_("Shown as, many"), UNIT)
    factor = IntegerField(_("Base units in one shown"), STEP, default=1)
    first_step = IntegerField(_("Billing step, first"), STEP, default=1)
    next_step = IntegerField(_("Billing step, then"), STEP, default=1)


@bp.get("/resources")
@needs(Permission.READ_PLANS)
def resources() -> Response:
    """Every resource, and how many packages name it."""
    session = db.session()
    return render(
        "provider/resources.html",
        resources=catalog.list_resources(session),
        named=browse.packages_per_resource(session),
    )


@bp.route("/resources/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_CATALOG)
def resource_new() -> Response:
    """Add one; it can be used in a package at once."""
    form = ResourceForm()
    if not form.is_submitted():
        return render("provider/resource_edit.html", form=form)
    try:
        if form.validate():
            resource = Resource()
            form.populate_obj(resource)
            with unit_of_work() as session:
                catalog.add_resource(session, resource, actor=current_user.email, now=utc_now())
            say(gettext("%(name)s can be used in packages now.", name=resource.name))
            return redirect_to(url_for("provider.resources"))
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/resource_edit.html", form=form, status=422)

"""Sources: the PBXs that report, and how their reports are read."""

from flask import Response, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import (  # type: ignore[attr-defined]  # SelectChoice is newer than the types
    SelectChoice,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Length, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.core.usage import SourceSettings
from app.db import db, unit_of_work
from app.domain.accounts import directory, service as accounts
from app.domain.accounts.models import Source
from app.domain.accounts.roles import Permission
from app.web.guards import current_user, needs
from app.web.kit.forms import Form, TimeZoneField
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp


class SourceForm(Form):
    """How a source is called and how its reports are read."""

    name = StringField(_("Name"))
    code = StringField(_("Code"), [InputRequired(_("Give the source a code."))])
    metered_directions = SelectMultipleField(
        _("Calls that use up the allowance"),
        choices=[
            SelectChoice("outbound", _("outbound")),
            SelectChoice("inbound", _("inbound")),
            SelectChoice("internal", _("internal")),
        ],
        default=["outbound"],
        option_widget=CheckboxInput(),
        widget=ListWidget(prefix_label=False),
    )
    trunk_patterns = TextAreaField(_("Trunk channels (Asterisk)"), [Length(max=2000)])
    time_zone = TimeZoneField(_("Time zone of times without one"), default="UTC")

    def validate_code(self, field: StringField) -> None:
        """Keep the code out of the way of our own addresses."""
        if field.data == "new":
            raise ValidationError(gettext("This word is taken by the portal itself; use another one."))

    def settings(self) -> SourceSettings:
        """What was typed, as the parsers take it; one pattern a line."""
        lines = (self.trunk_patterns.data or "").splitlines()
        return SourceSettings(
            metered_directions=tuple(self.metered_directions.data or ()),
            trunk_patterns=tuple(line.strip() for line in lines if line.strip()),
            time_zone=self.time_zone.data,
        )


@bp.get("/sources")
@needs(Permission.READ_OPERATIONS)
def sources() -> Response:
    """Who reports, and when last."""
    found, now = directory.list_sources(db.session()), utc_now()
    valid_keys = {source.code: sum(key.is_valid(now) for key in source.keys) for source in found}
    return render("provider/sources.html", sources=found, valid_keys=valid_keys)


@bp.route("/sources/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_SOURCES)
def source_new() -> Response:
    """Register one; the next page issues its first key to whoever may."""
    form = SourceForm()
    if not form.is_submitted():
        return render("provider/source_edit.html", form=form, source=None)
    try:
        if form.validate():
            who = {"actor": current_user.email, "now": utc_now()}
            with unit_of_work() as session:
                made = accounts.create_source(
                    session, form.code.data or "", form.name.data or "", settings=form.settings(), **who
                )
            say(gettext("%(name)s is registered. It reports once it has a key.", name=made.name))
            if current_user.may(Permission.CHANGE_KEYS):
                return redirect_to(url_for("provider.key_new", source=made.code))
            return redirect_to(url_for("provider.source", code=made.code))
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/source_edit.html", form=form, source=None, status=422)


@bp.get("/sources/<code>")
@needs(Permission.READ_OPERATIONS)
def source(code: str) -> Response:
    """One source: how its reports are read, and its keys."""
    found = accounts.source_by_code(db.session(), code)
    return render("provider/source.html", source=found, settings=accounts.settings_of(found), now=utc_now())


@bp.route("/sources/<code>/edit", methods=["GET", "POST"])
@needs(Permission.CHANGE_SOURCES)
def source_edit(code: str) -> Response:
    """Change how a source's reports are read from now on."""
    found = accounts.source_by_code(db.session(), code)
    form = _edit_form(found)
    if not form.is_submitted():
        return render("provider/source_edit.html", form=form, source=found)
    try:
        if form.validate():
            with unit_of_work() as session:
                accounts.update_source(
                    session,
                    accounts.source_by_code(session, code),
                    name=form.name.data or "",
                    settings=form.settings(),
                    actor=current_user.email,
                    now=utc_now(),
                )
            say(gettext("Saved. Reports are read like this from now on."))
            return redirect_to(url_for("provider.source", code=code))
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/source_edit.html", form=form, source=found, status=422)


def _edit_form(found: Source) -> SourceForm:
    settings = accounts.settings_of(found)
    form = SourceForm(
        data={
            "name": found.name,
            "metered_directions": list(settings.metered_directions),
            "trunk_patterns": "\n".join(settings.trunk_patterns),
            "time_zone": settings.time_zone,
        }
    )
    del form.code
    return form

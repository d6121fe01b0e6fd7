"""Sources: the PBXs that report, and their keys. A key is shown once, in the answer that makes it."""

from flask import Response, request, url_for
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
from app.domain.subscriptions.listing import TenantQuery, find_tenants
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
    return render("provider/sources.html", sources=directory.list_sources(db.session()))


@bp.route("/sources/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_SOURCES)
def source_new() -> Response:
    """Register one; the answer shows its first key."""
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
                key = accounts.issue_key(session, made, accounts.SCOPES, **who)
            return _key_page(made, key)
    except DomainError as error:
        add_refusal(form, error)
    return render("provider/source_edit.html", form=form, source=None, status=422)


@bp.get("/sources/<code>")
@needs(Permission.READ_OPERATIONS)
def source(code: str) -> Response:
    """One source: how its reports are read, and its keys."""
    found = accounts.source_by_code(db.session(), code)
    return render("provider/source.html", source=found, settings=accounts.settings_of(found))


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


@bp.post("/sources/<code>/keys")
@needs(Permission.CHANGE_KEYS)
def source_key_new(code: str) -> Response:
    """Issue a further key; the older ones stay valid until they are revoked."""
    scopes = request.form.getlist("scopes") or list(accounts.SCOPES)
    with unit_of_work() as session:
        found = accounts.source_by_code(session, code)
        key = accounts.issue_key(session, found, scopes, actor=current_user.email, now=utc_now())
    return _key_page(found, key)


@bp.post("/sources/<code>/keys/<prefix>/revoke")
@needs(Permission.CHANGE_KEYS)
def source_key_revoke(code: str, prefix: str) -> Response:
    """Refuse a key from now on. It cannot be taken back: another one can be issued."""
    with unit_of_work() as session:
        key = accounts.find_key(session, accounts.source_by_code(session, code), prefix)
        accounts.revoke_key(session, key, actor=current_user.email, now=utc_now())
    say(gettext("The key rp_%(prefix)s… is refused from now on.", prefix=prefix))
    return redirect_to(url_for("provider.source", code=code))


def _key_page(found: Source, key: str) -> Response:
    """The one page that shows the key; nothing keeps it, so it is no page to come back to."""
    subscribed = find_tenants(db.session(), TenantQuery(state="subscribed"), most=1).entries
    example = subscribed[0].tenant if subscribed else None
    return render("provider/source_key.html", source=found, key=key, now=utc_now(), example=example)

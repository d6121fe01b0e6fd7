"""What a tenant holds, as pages: one set for both sides, which differ in address and frame alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import FileField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional

from app.core.clock import utc_now
from app.core.errors import DomainError, Invalid, NotFound
from app.db import db, run_in_transaction
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package, Resource
from app.domain.changes.package_fit import smallest_package_allowing
from app.domain.metering import meters
from app.domain.metering.meters import MeterView
from app.domain.telephony import listing, service as telephony
from app.domain.telephony.bulk import MAX_TEXT, parse_csv
from app.domain.telephony.models import Allocation
from app.domain.telephony.service import Wanted
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit.csv import csv_response
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.pages import Pages
from app.web.kit.paging import decode_cursor
from app.web.kit.phones import phone
from app.web.kit.refusals import add_refusal
from app.web.kit.render import is_htmx, redirect_to, render, say

MAX_PASTED = 400_000  # characters; a form's fields have at most 500,000 bytes, a file has 10 MB
MOST_ROWS_NAMED = 50
CSV_HEADER = ("name", "note", "since")
WORDS = {  # what the names of a resource are, and how they are written
    "extensions": (_("Extension"), _("2 to 10 digits")),
    "dids": (_("Phone number"), _("With its country code, such as +44 20 7946 0958")),
}
Act = Callable[[Session, Tenant], list[Allocation]]


class LineForm(Form):
    """One thing to add, named in the resource's own terms."""

    name = StringField(_("Name"), [InputRequired(_("Say which one."))])
    note = StringField(_("Note"), [Optional()])

    @classmethod
    def of(cls, resource: Resource, **arguments: Any) -> "LineForm":
        """The form for this resource."""
        form = cls(**arguments)
        form.name.label.text, form.name.description = WORDS.get(resource.code, (gettext("Name"), ""))
        return form


class ImportForm(Form):
    """Many things to add: a file, or its lines pasted."""

    file = FileField(_("CSV file"))
    text = TextAreaField(_("Or paste the lines"), [Length(max=MAX_PASTED)])

    def wanted(self) -> list[Wanted]:
        """What the file says, else what was pasted. Raises Invalid."""
        raw = self.file.data.read(4 * MAX_TEXT + 1) if self.file.data else b""
        try:
            return parse_csv(raw.decode() if raw else self.text.data or "")
        except UnicodeDecodeError:
            raise Invalid("unreadable_csv", gettext("Save the file as CSV in UTF-8."), field="file") from None


@dataclass(frozen=True, slots=True)
class Holding:
    """One resource of a tenant: its meter, whether the limit stops the next one, and the package that would not."""

    meter: MeterView
    has_package: bool
    is_full: bool = False
    fitting: Package | None = None


@dataclass(frozen=True, slots=True)
class LinePages(Pages):
    """The pages of one tenant on one side: `endpoint` and `template` are what their names begin with."""

    tenant_id: int
    template: str

    def overview(self) -> Response:
        """Each allocated resource that the package limits or that is held, and the others by name."""
        tenant = self._tenant()
        found = meters.current(db.session(), tenant, now=utc_now())
        shown = [meter for meter in found.meters if meter.kind == "allocated"]
        codes = {meter.resource_code for meter in shown}
        others = [each for each in catalog.list_resources(db.session()) if each.kind == "allocated"]
        others = [each for each in others if each.code not in codes] if found.package else []
        return self._render("s", m=found, meters=shown, others=others, tenant=tenant)

    def one(self, code: str) -> Response:
        """What is held of one resource; a POST adds one more."""
        resource = self._resource(code)
        form = LineForm.of(resource)
        if not form.is_submitted():
            return self._list(resource, form)
        wanted = [Wanted(form.name.data or "", form.note.data or "")]
        try:
            if form.validate():
                added = self._add(wanted, lambda s, t: self._add_now(s, t, code, wanted))
                say(gettext("%(name)s is added.", name=phone(added[0].name)))
                return (
                    self._list(resource, LineForm.of(resource, formdata=None))
                    if is_htmx()
                    else redirect_to(self.url(code=code))
                )
        except DomainError as error:
            add_refusal(form, error)
            return self._list(resource, form, error.status)
        return self._list(resource, form, 422)

    def release(self, code: str, allocation_id: int) -> Response:
        """Give one back; it can be undone while there is room."""
        resource, actor, now = self._resource(code), current_user.email, utc_now()
        released = run_in_transaction(
            lambda session: telephony.release(session, self._tenant(session), allocation_id, actor=actor, now=now)
        )
        has_room = not self._holding(resource).is_full
        undo = self.url("_again", code=code, allocation_id=allocation_id) if has_room else ""
        say(gettext("%(name)s is released.", name=phone(released.name)), undo_url=undo)
        kept: dict[str, Any] = {name: request.form.get(name) or None for name in ("text", "after", "before")}
        return redirect_to(self.url("", code=code, **kept))

    def again(self, code: str, allocation_id: int) -> Response:
        """Undo a release."""
        self._resource(code)
        before = db.session().get(Allocation, (self.tenant_id, allocation_id))
        wanted = [Wanted(before.name)] if before else []
        actor, now = current_user.email, utc_now()
        try:
            self._add(wanted, lambda s, t: [telephony.add_again(s, t, allocation_id, actor=actor, now=now)])
            say(gettext("%(name)s is held again.", name=phone(wanted[0].name)))
        except NotFound:
            raise
        except DomainError as error:
            say(error.message, "error")
        return redirect_to(self.url(code=code))

    def import_csv(self, code: str) -> Response:
        """Add all lines of a file, or none."""
        resource, form, rows, status = self._resource(code), ImportForm(), [], 200
        try:
            if form.validate_on_submit():
                wanted = form.wanted()
                added = self._add(wanted, lambda s, t: self._add_now(s, t, code, wanted))
                say(ngettext("%(num)s line is added.", "%(num)s lines are added.", len(added)))
                return redirect_to(self.url(code=code))
            status = 422 if form.is_submitted() else 200
        except DomainError as error:
            rows, status = error.details.get("rows", []), error.status
            add_refusal(form, error)
        return self._render(
            "_import",
            status=status,
            form=form,
            resource=resource,
            holding=self._holding(resource),
            rows=[gettext("Line %(line)s: %(detail)s", **row) for row in rows[:MOST_ROWS_NAMED]],
            more_rows=max(0, len(rows) - MOST_ROWS_NAMED),
        )

    def export(self, code: str) -> Response:
        """All of one resource, in the form that an import reads."""
        resource, tenant = self._resource(code), self._tenant()
        held = listing.every_held(db.session(), tenant.id, resource.code)
        rows = ((each.name, each.note, each.created_at.isoformat(timespec="seconds")) for each in held)
        return csv_response(f"{resource.code}-{tenant.slug}.csv", CSV_HEADER, rows)

    def _list(self, resource: Resource, form: LineForm, status: int = 200) -> Response:
        text = request.args.get("text", "").replace("\0", "")[:200].strip()
        after, before = (decode_cursor(request.args.get(name), str, str) for name in ("after", "before"))
        page = listing.find_held(
            db.session(), self.tenant_id, resource_code=resource.code, text=text,
            after=(after[0], after[1]) if after else None, before=(before[0], before[1]) if before else None,
        )  # fmt: skip
        return self._render(
            suffix="",
            block=("line_page", "line_rows"),
            status=status,
            form=form,
            resource=resource,
            holding=self._holding(resource),
            page=page,
            text=text,
        )

    def _holding(self, resource: Resource) -> Holding:
        """How one resource stands; the package that would allow one more is looked for once it is nearly full."""
        session, tenant = db.session(), self._tenant()
        found = meters.current(session, tenant, now=utc_now())
        meter = next((each for each in found.meters if each.resource_code == resource.code), _unlimited(resource))
        has_package = found.package is not None
        if meter.included is None or meter.at_limit != "block":
            return Holding(meter, has_package)
        is_full = meter.used >= meter.included
        next_one = max(meter.used, meter.included) + 1
        is_near = is_full or meter.state != "fine"
        fitting = smallest_package_allowing(session, tenant, resource.code, next_one) if is_near else None
        return Holding(meter, has_package, is_full, fitting)

    def _add(self, wanted: list[Wanted], act: Act) -> list[Allocation]:
        with telephony.refusals_kept(self.tenant_id, wanted, now=utc_now()):
            return run_in_transaction(lambda session: act(session, self._tenant(session)))

    def _add_now(self, session: Session, tenant: Tenant, code: str, wanted: list[Wanted]) -> list[Allocation]:
        return telephony.add(session, tenant, code, wanted, actor=current_user.email, now=utc_now())

    def _tenant(self, session: Session | None = None) -> Tenant:
        return (session or db.session()).get_one(Tenant, self.tenant_id)

    def _resource(self, code: str) -> Resource:
        try:
            return telephony.allocated_resource(db.session(), code)
        except Invalid as error:
            raise NotFound(error.code, error.message) from None

    def _render(self, suffix: str, **context: Any) -> Response:
        return render(f"{self.template}{suffix}.html", **{"tenant": self._tenant(), "pages": self, **context})


def _unlimited(resource: Resource) -> MeterView:
    """The meter of what no limit names and nobody holds."""
    return MeterView(
        resource_code=resource.code, name=resource.name, kind=resource.kind, unit_one=resource.unit_one,
        unit_many=resource.unit_many, factor=resource.factor, included=None, carried_in=0, used=0, on_hold=0,
        at_limit="block", overage_price_micros=0, currency="",
    )  # fmt: skip

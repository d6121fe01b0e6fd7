"""API keys as pages: all of them for the provider, its own for a tenant. A key is shown in the answer that makes it."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from flask import Response, request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import (  # type: ignore[attr-defined]  # SelectChoice is newer than the types
    DateField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
)
from wtforms.validators import InputRequired, Length, Optional, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from app.core.clock import utc_now
from app.core.errors import DomainError, Invalid
from app.db import db, run_in_transaction
from app.domain.accounts import directory, service as accounts
from app.domain.accounts.directory import KeyQuery
from app.domain.accounts.keys import MAX_LABEL
from app.domain.accounts.models import ApiKey
from app.domain.accounts.roles import Permission
from app.domain.subscriptions.listing import TenantQuery, find_tenants
from app.domain.tenants.models import Tenant
from app.keyset import read_page
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.pages import OwnPages, route
from app.web.kit.paging import newest_first_key
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say

PAGE = 50
STATES = ("valid", "ended")
WHOSE = ("sources", "tenants")
SCOPE_WORDS = {
    "usage": _("report usage and call records"),
    "calls": _("ask before a call, and end it"),
    "read": _("read tenants, meters, usage and invoices"),
    "provision": _("make packages, tenants and subscriptions"),
}
USUAL_SCOPES = ("usage", "calls", "read")  # what a PBX needs; who only reports needs less
OVERLAPS = {
    "0": _("at once"),
    "1": _("in an hour"),
    "24": _("in a day"),
    "168": _("in a week"),
    "720": _("in 30 days"),
}
LONGEST = timedelta(days=3653)  # a key that is to last longer has no end


class Try(NamedTuple):
    """A line for a shell that shows that the key works."""

    words: str
    line: str


class EndForm(Form):
    """The last day of a key; `meta` has the time zone in which the day ends."""

    ends_on = DateField(_("Last day"), [Optional()])

    def validate_ends_on(self, field: DateField) -> None:
        """A day to come, near enough to be meant."""
        today = utc_now().astimezone(ZoneInfo(self.meta.zone)).date()
        if field.data and not today <= field.data <= today + LONGEST:
            raise ValidationError(gettext("Enter a day within the next ten years, or leave it empty."))

    @property
    def expires_at(self) -> datetime | None:
        """The end of that day."""
        day: date | None = self.ends_on.data
        return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(self.meta.zone)) if day else None


class KeyForm(EndForm):
    """A new key."""

    label = StringField(_("Label"), [Length(max=MAX_LABEL)])


class SourceKeyForm(KeyForm):
    """A new key of a source."""

    source = SelectField(_("Source"), [InputRequired(_("Choose the source."))])
    scopes = SelectMultipleField(
        _("It may"),
        choices=[SelectChoice(*each) for each in SCOPE_WORDS.items()],
        default=list(USUAL_SCOPES),
        option_widget=CheckboxInput(),
        widget=ListWidget(prefix_label=False),
    )


class RotateForm(Form):
    """When the old key ends."""

    overlap = SelectField(
        _("The old key ends"), choices=[SelectChoice(*each) for each in OVERLAPS.items()], default="24"
    )


class KeyPages(OwnPages):
    """Keys of sources and of tenants for the provider; a tenant's own for it."""

    @route("s", "/keys")
    @needs(Permission.READ_KEYS)
    def overview(self) -> Response:
        """Each key with its state, newest first."""
        given = {"whose": request.args.get("whose", ""), "state": request.args.get("state", "")}
        query = KeyQuery(
            self.tenant_id,
            whose=given["whose"] if given["whose"] in WHOSE else "",
            state=given["state"] if given["state"] in STATES else "",
        )
        page = read_page(
            db.session(), directory.matching(query, utc_now()), ApiKey.created_at, ApiKey.id,
            after=newest_first_key("after"), before=newest_first_key("before"), most=PAGE,
        )  # fmt: skip
        keys = [key for (key,) in page.rows]
        return self._render("list", block="key_rows", keys=keys, page=page, given=given)

    @route("_new", "/keys/new", "GET", "POST")
    @needs(Permission.CHANGE_KEYS)
    def new(self) -> Response:
        """Ask what for, and show the key."""
        form = self._new_form()
        if not form.is_submitted():
            return self._new_page(form)
        try:
            if form.validate():
                return self._secret_page(*self._in_unit(lambda session, **who: self._issue(session, form, **who)))
        except DomainError as error:
            add_refusal(form, error, expires_at="ends_on")
        return self._new_page(form, 422)

    @route("", "/keys/<prefix>")
    @needs(Permission.READ_KEYS)
    def one(self, prefix: str, end_form: EndForm | None = None) -> Response:
        """One key: what it may, and how to change it."""
        key = self._find(db.session(), prefix)
        before = db.session.query(ApiKey.prefix).filter_by(replaced_by=prefix).scalar()
        return self._render(
            "one",
            status=422 if end_form else 200,
            key=key,
            follows=before,
            form=end_form or EndForm(formdata=None, data={"ends_on": self._last_day(key)}, meta={"zone": self.zone}),
            rotate_form=RotateForm(formdata=None),
        )

    @route("_rotate", "/keys/<prefix>/rotate", "POST")
    @needs(Permission.CHANGE_KEYS)
    def rotate(self, prefix: str) -> Response:
        """A key in its place, shown once; the old one works on for as long as was chosen."""
        self._find(db.session(), prefix)  # before anything that was sent is looked at
        form = RotateForm()
        if not form.validate():
            raise Invalid("unknown_overlap", gettext("Choose one of the times."), field="overlap")
        overlap = timedelta(hours=int(form.overlap.data))

        def act(session: Session, **who: Any) -> tuple[ApiKey, str, ApiKey]:
            old = self._find(session, prefix)
            plain = accounts.rotate_key(session, old, overlap, **who)
            return self._find(session, plain.split("_")[1]), plain, old

        return self._secret_page(*self._in_unit(act))

    @route("_end", "/keys/<prefix>/end", "POST")
    @needs(Permission.CHANGE_KEYS)
    def end(self, prefix: str) -> Response:
        """Give it a last day, or take it away."""
        form = EndForm(meta={"zone": self.zone})
        try:
            if form.validate():
                self._in_unit(
                    lambda session, **who: accounts.change_end(
                        session, self._find(session, prefix), form.expires_at, **who
                    )
                )
                say(gettext("Saved."))
                return redirect_to(self.url(prefix=prefix))
        except DomainError as error:
            add_refusal(form, error, expires_at="ends_on")
        return self.one(prefix, form)

    @route("_revoke", "/keys/<prefix>/revoke", "POST")
    @needs(Permission.CHANGE_KEYS)
    def revoke(self, prefix: str) -> Response:
        """Refuse it from now on. It cannot be taken back: another one can be issued."""
        self._in_unit(lambda session, **who: accounts.revoke_key(session, self._find(session, prefix), **who))
        say(gettext("The key rp_%(prefix)s… is refused from now on.", prefix=prefix))
        return redirect_to(self.url(prefix=prefix))

    def _find(self, session: Session, prefix: str) -> ApiKey:
        return accounts.find_key(session, prefix, tenant_id=self.tenant_id)

    def _in_unit(self, act: Callable[..., Any]) -> Any:
        who = {"actor": current_user.email, "now": utc_now()}
        return run_in_transaction(lambda session: act(session, **who))

    def _issue(self, session: Session, form: KeyForm, **who: Any) -> tuple[ApiKey, str]:
        more = {"label": form.label.data or "", "expires_at": form.expires_at, **who}
        if isinstance(form, SourceKeyForm):
            source = accounts.source_by_code(session, form.source.data)
            plain = accounts.issue_key(session, source, form.scopes.data or (), **more)
        else:
            owner = session.get_one(Tenant, self.tenant_id)
            plain = accounts.issue_tenant_key(session, owner, **more)
        return self._find(session, plain.split("_")[1]), plain

    def _new_form(self) -> KeyForm:
        if self.tenant_id is not None:
            return KeyForm(meta={"zone": self.zone})
        form = SourceKeyForm(meta={"zone": self.zone}, data={"source": request.args.get("source", "")})
        form.source.choices = [
            SelectChoice(source.code, source.name) for source in directory.list_sources(db.session())
        ]
        return form

    def _last_day(self, key: ApiKey) -> date | None:
        """The day on which it ends, so that saving what stands there changes as little as can be."""
        if key.expires_at is None:
            return None
        return (key.expires_at - timedelta(microseconds=1)).astimezone(ZoneInfo(self.zone)).date()

    def _new_page(self, form: KeyForm, status: int = 200) -> Response:
        return self._render("new", status=status, form=form)

    def _secret_page(self, key: ApiKey, plain: str, old: ApiKey | None = None) -> Response:
        """The one page that shows the key; nothing keeps it, so it is no page to come back to."""
        slug, name = self._example()
        return self._render("secret", key=key, plain=plain, old=old, tries=tries(key, plain, slug, name))

    def _example(self) -> tuple[str, str]:
        """The tenant that the lines to try ask about."""
        if tenant := self.tenant:
            return tenant.slug, tenant.name
        subscribed = find_tenants(db.session(), TenantQuery(state="subscribed"), most=1).entries
        return (subscribed[0].tenant.slug, subscribed[0].tenant.name) if subscribed else ("acme", "")

    def _render(self, template: str, **context: Any) -> Response:
        named: dict[str, Any] = {"who_name": tenant.name} if (tenant := self.tenant) else {}
        menu_entry = "tenant.people" if tenant else "provider.keys"
        return render(
            f"keys/{template}.html", pages=self, now=utc_now(), menu_entry=menu_entry,
            scope_words=SCOPE_WORDS, **named, **context,
        )  # fmt: skip


def tries(key: ApiKey, plain: str, slug: str, name: str) -> list[Try]:
    """Lines that work with the key as it is, harmless ones first."""
    start, now = f'curl -H "Authorization: Bearer {plain}"', utc_now()
    found = []
    if "read" in key.scopes or "provision" in key.scopes:
        words = gettext("What is left of %(name)s:", name=name) if name else gettext("What is left of a tenant:")
        found.append(Try(words, f"{start} {request.host_url}api/v1/tenants/{slug}/meters"))
    if "calls" in key.scopes:
        found.append(
            Try(gettext("Whether a call may begin:"), f'{start} "{request.host_url}billing/gate?tenant_id={slug}"')
        )
    if "usage" in key.scopes:
        event = (
            f'{{"id": "try-{now:%H%M%S}", "tenant": "{slug}", "resource": "fax_pages", "quantity": 1, '
            f'"occurred_at": "{now:%Y-%m-%dT%H:%M:%SZ}"}}'
        )
        words = (
            gettext("Count one fax page of %(name)s:", name=name)
            if name
            else gettext("Count one fax page; until the tenant is there with a package, it waits in quarantine:")
        )
        url = f"{request.host_url}api/v1/usage"
        found.append(Try(words, f"{start} -H \"Content-Type: application/json\" {url} \\\n  -d '{event}'"))
    return found

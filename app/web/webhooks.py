"""Webhook endpoints as pages: one set for both sides, which differ in address and frame alone."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, current_app, request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import DateTimeLocalField, SelectMultipleField, StringField
from wtforms.validators import InputRequired, Length, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from app import webhooks
from app.core.addresses import parse_ranges
from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.webhooks import delivery, endpoints, events
from app.domain.webhooks.endpoints import MAX_URL, Wanted
from app.domain.webhooks.models import WebhookEndpoint
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.pages import OwnPages, route
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say

STATES = ("waiting", "delivered", "failed")
ONE = "/webhooks/<int:endpoint_id>"
TYPE_WORDS = {
    events.THRESHOLD_REACHED: _("A threshold is reached"),
    events.LIMIT_REACHED: _("A limit is reached"),
    events.SUBSCRIPTION_CHANGED: _("A package or its state changes"),
    events.INVOICE_FINAL: _("An invoice is issued"),
    events.PAYMENT_RECEIVED: _("A payment comes in"),
    events.QUARANTINE_NOT_EMPTY: _("Quarantine is empty no longer"),
    events.PING: _("A test"),
}
Act = Callable[..., Any]  # (session, endpoint, *, actor, now)


class EndpointForm(Form):
    """Where to send, and what."""

    url = StringField(_("Address"), [InputRequired(_("Enter the address.")), Length(max=MAX_URL)])
    types = SelectMultipleField(_("Tell it when"), option_widget=CheckboxInput(), widget=ListWidget(prefix_label=False))
    note = StringField(_("Note"))

    def validate_types(self, field: SelectMultipleField) -> None:
        """None would never be told anything."""
        if not field.data:
            raise ValidationError(gettext("Choose at least one event."))

    @property
    def wanted(self) -> Wanted:
        """What was entered."""
        return Wanted(self.url.data or "", tuple(self.types.data or ()), self.note.data or "")


class SinceForm(Form):
    """From which moment on what failed is sent again."""

    since = DateTimeLocalField(_("What failed since"), [InputRequired(_("Enter a day and a time."))])


class WebhookPages(OwnPages):
    """Endpoints that hear of all tenants for the provider, of itself alone for a tenant."""

    @route("s", "/webhooks")
    @needs(Permission.READ_WEBHOOKS)
    def overview(self) -> Response:
        """Each endpoint with its state."""
        return self._render("list", endpoints=endpoints.of_owner(db.session(), self.tenant_id))

    @route("_new", "/webhooks/new", "GET", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def new(self) -> Response:
        """Add one; the answer shows its secret, once."""
        form = self._form()
        made = self._saved(form, lambda session, wanted, **who: endpoints.add(session, self.tenant_id, wanted, **who))
        return self._secret_page(made) if made else self._edit_page(form, None)

    @route("_edit", f"{ONE}/edit", "GET", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def edit(self, endpoint_id: int) -> Response:
        """Change the address, or what it hears of."""
        found = self._get(endpoint_id)
        form = self._form(url=found.url, note=found.note, types=found.event_types)

        def save(session: Session, wanted: Wanted, **who: Any) -> WebhookEndpoint:
            endpoint = self._get(endpoint_id, session)
            endpoints.change(session, endpoint, wanted, **who)
            return endpoint

        if self._saved(form, save):
            say(gettext("Saved."))
            return redirect_to(self.url(endpoint_id=endpoint_id))
        return self._edit_page(form, found)

    @route("", ONE)
    @needs(Permission.READ_WEBHOOKS)
    def one(self, endpoint_id: int, form: SinceForm | None = None, status: int = 200) -> Response:
        """One endpoint: how it does, and what was sent to it."""
        session, found = db.session(), self._get(endpoint_id)
        state = request.args.get("state", "")
        after = decode_cursor(request.args.get("after"), int)
        page = delivery.find(session, found, state=state if state in STATES else "", after=after[0] if after else None)
        a_day_ago = (utc_now() - timedelta(days=1)).astimezone(ZoneInfo(self.zone)).replace(second=0, microsecond=0)
        return self._render(
            "one",
            block="messages",
            status=status,
            hook=found,
            page=page,
            state=state,
            states=STATES,
            body_of=lambda message: delivery.body_of(message).decode(),
            max_attempts=delivery.MAX_ATTEMPTS,
            form=form or SinceForm(formdata=None, data={"since": a_day_ago.replace(tzinfo=None)}),
            now=utc_now(),
        )

    @route("_rotate", f"{ONE}/secret", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def rotate(self, endpoint_id: int) -> Response:
        """A new secret, shown once; the old one signs along for a while."""
        return self._secret_page(self._act(endpoint_id, endpoints.rotate))

    @route("_ping", f"{ONE}/ping", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def ping(self, endpoint_id: int) -> Response:
        """Send a test."""
        slug = tenant.slug if (tenant := self.tenant) else ""
        self._act(endpoint_id, lambda session, found, *, actor, now: endpoints.ping(session, found, slug, now=now))
        say(gettext("A test is on its way; look again in a moment."))
        return redirect_to(self.url(endpoint_id=endpoint_id))

    @route("_on", f"{ONE}/on", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def turn_on(self, endpoint_id: int) -> Response:
        """Tell it again."""
        self._act(endpoint_id, endpoints.enable)
        say(gettext("It is told again of what happens from now on. What failed meanwhile can be sent again below."))
        return redirect_to(self.url(endpoint_id=endpoint_id))

    @route("_off", f"{ONE}/off", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def turn_off(self, endpoint_id: int) -> Response:
        """Tell it no more."""
        self._act(endpoint_id, lambda session, found, **who: endpoints.disable(session, found.id, "person", **who))
        say(gettext("Nothing is sent to it any more."))
        return redirect_to(self.url(endpoint_id=endpoint_id))

    @route("_remove", f"{ONE}/remove", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def remove(self, endpoint_id: int) -> Response:
        """Forget it."""
        self._act(endpoint_id, endpoints.remove)
        say(gettext("The endpoint is removed."))
        return redirect_to(self.url("s"))

    @route("_replay", f"{ONE}/messages/<int:message_id>/replay", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def replay(self, endpoint_id: int, message_id: int) -> Response:
        """Send one message again."""
        self._act(endpoint_id, lambda session, found, **who: delivery.replay(session, found, message_id, **who))
        say(gettext("It is sent again now."))
        return redirect_to(self.url(endpoint_id=endpoint_id, state=request.form.get("state") or None))

    @route("_replay_failed", f"{ONE}/replay", "POST")
    @needs(Permission.CHANGE_WEBHOOKS)
    def replay_failed(self, endpoint_id: int) -> Response:
        """Send everything again that failed since a moment."""
        form = SinceForm()
        if not form.validate() or form.since.data is None:
            return self.one(endpoint_id, form, 422)
        since, sent = form.since.data.replace(tzinfo=ZoneInfo(self.zone)), [0]

        def act(session: Session, found: WebhookEndpoint, **who: Any) -> None:
            sent[0] = delivery.replay_failed(session, found, since, **who)

        self._act(endpoint_id, act)
        say(ngettext("%(num)s message is sent again now.", "%(num)s messages are sent again now.", sent[0]))
        return redirect_to(self.url(endpoint_id=endpoint_id))

    def _get(self, endpoint_id: int, session: Session | None = None) -> WebhookEndpoint:
        return endpoints.get(session or db.session(), self.tenant_id, endpoint_id)

    def _act(self, endpoint_id: int, act: Act) -> WebhookEndpoint:
        who = {"actor": current_user.email, "now": utc_now()}

        def whole(session: Session) -> WebhookEndpoint:
            found = self._get(endpoint_id, session)
            act(session, found, **who)
            return found

        return run_in_transaction(whole)

    def _form(self, **data: Any) -> EndpointForm:
        form = EndpointForm(data=data)
        types = events.TYPES if self.tenant_id is None else events.TENANT_TYPES
        form.types.choices = [(each, TYPE_WORDS[each]) for each in types]
        return form

    def _saved(self, form: EndpointForm, save: Callable[..., WebhookEndpoint]) -> WebhookEndpoint | None:
        """What `save` made of a form that was sent, or None and the errors in the form."""
        if not form.validate_on_submit():
            return None
        who = {"actor": current_user.email, "now": utc_now()}
        try:
            # The name is looked up before the transaction, which nobody may hold up.
            webhooks.check(form.wanted.url, parse_ranges(current_app.config["RINGPLAN"].WEBHOOK_ALLOWED_RANGES))
            return run_in_transaction(lambda session: save(session, form.wanted, **who))
        except DomainError as error:
            add_refusal(form, error)
            return None

    def _edit_page(self, form: EndpointForm, found: WebhookEndpoint | None) -> Response:
        return self._render("edit", status=422 if form.is_submitted() else 200, form=form, hook=found)

    def _secret_page(self, found: WebhookEndpoint) -> Response:
        """The one page that shows the secret."""
        now, overlap = utc_now(), found.previous_until
        secret = endpoints.secrets_of(found, current_app.config["SECRET_KEY"], now)[0]
        return self._render("secret", hook=found, secret=secret, overlap=overlap)

    def _render(self, template: str, **context: Any) -> Response:
        named: dict[str, Any] = (
            {"who_name": tenant.name, "menu_entry": "tenant.notifications"}
            if (tenant := self.tenant)
            else {"menu_entry": "provider.webhooks"}
        )
        return render(f"webhooks/{template}.html", pages=self, type_words=TYPE_WORDS, **named, **context)

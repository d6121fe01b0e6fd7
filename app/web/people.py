"""Who signs in and as what, as pages: one set for staff, for a tenant's people seen by staff, and for the tenant."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from sqlalchemy.orm import Session
from wtforms import EmailField, SelectField
from wtforms.validators import InputRequired

from app import wall
from app.config import Settings
from app.core.clock import utc_now
from app.core.errors import Conflict, DomainError, Invalid
from app.db import db, run_in_transaction
from app.domain.accounts import invitations, people, service as accounts
from app.domain.accounts.models import Account, MailedLink
from app.domain.accounts.roles import STAFF_ROLES, TABLE, TENANT_ROLES, Role, roles_to_give
from app.domain.privacy import erasure
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.pages import Pages
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.kit.role_words import permission_name, role_name


class InviteForm(Form):
    """Who is invited as what."""

    email = EmailField(_("E-mail address"), [InputRequired(_("Enter the person's e-mail address."))])
    role = SelectField(_("Role"))


@dataclass(frozen=True, slots=True)
class PeoplePages(Pages):
    """The pages about one side's people: `tenant_id` is None for staff, `endpoint` what the names begin with."""

    template: str

    def show(self) -> Response:
        """Everybody, with role and when last seen."""
        session = db.session()
        invited = invitations.open_of(session, self.tenant_id)
        return render(
            self.template,
            pages=self,
            people=people.of(session, self.tenant_id),
            invitations=invited,
            said_by=self._said_by({each.asked_by for each in invited}),
            now=utc_now(),
            roles=self._choices(),
            role_name=role_name,
            tenant=self._tenant(),
        )

    def _said_by(self, actors: set[str]) -> dict[str, str]:
        """Who invited, as the reader may know it."""
        if self.tenant_id is None or (current_user.is_staff and not current_user.view):
            return {actor: actor for actor in actors}
        settings: Settings = current_app.config["RINGPLAN"]
        return people.as_told(db.session(), self.tenant_id, actors, settings.PROVIDER_NAME)

    def rights(self) -> Response:
        """The table of permissions as a matrix; a tenant's people see their own side of it."""
        columns = [(role, role_name(role), "tenant") for role in TENANT_ROLES]
        if with_staff := self.tenant_id is None:
            columns = [(role, role_name(role), "staff") for role in STAFF_ROLES] + columns
        rows = [
            (permission_name(permission), [role in getattr(grant, side) for role, _, side in columns])
            for permission, grant in TABLE.items()
            if with_staff or grant.tenant
        ]
        tenant = self._tenant()
        return render(
            "people/rights.html", pages=self, tenant=tenant, columns=columns, rows=rows, with_staff=with_staff
        )

    def invite(self) -> Response:
        """Ask whom to invite as what, and send the invitation."""
        form = InviteForm()
        form.role.choices = self._choices()
        if not form.is_submitted():
            form.role.data = self._roles()[-1].value  # the one that may least
        try:
            if form.validate_on_submit():
                email, role = form.email.data or "", Role(form.role.data)
                made = self._in_unit(invitations.invite, email, role)
                say(gettext("An invitation is on its way to %(email)s.", email=made.email))
                return redirect_to(self.url())
        except DomainError as error:
            add_refusal(form, error)
        status = 422 if form.is_submitted() else 200
        return render("people/invite.html", pages=self, form=form, tenant=self._tenant(), status=status)

    def resend(self, invitation_id: int) -> Response:
        """Send an invitation once more, with a new link."""
        try:
            sent = self._in_unit(invitations.resend, invitation_id)
            say(gettext("A new invitation is on its way to %(email)s; the old link no longer works.", email=sent.email))
        except Conflict as error:
            say(error.message, "error")
        return redirect_to(self.url())

    def withdraw(self, invitation_id: int) -> Response:
        """Take an invitation back."""
        withdrawn = self._in_unit(invitations.withdraw, invitation_id)
        say(gettext("The invitation of %(email)s is withdrawn.", email=withdrawn.email))
        return redirect_to(self.url())

    def _in_unit(self, act: Callable[..., MailedLink], *arguments: Any) -> MailedLink:
        edge: dict[str, Any] = {"actor": current_user.email, "now": utc_now()}
        return run_in_transaction(lambda session: act(session, self.tenant_id, *arguments, **edge))

    def _tenant(self) -> Tenant | None:
        return db.session.get_one(Tenant, self.tenant_id) if self.tenant_id else None

    def _choices(self) -> list[tuple[str, str]]:
        return [(role.value, role_name(role)) for role in self._roles()]

    def change_role(self, account_id: int) -> Response:
        """Give somebody the role that was chosen."""
        chosen = request.form.get("role", "")

        def act(session: Session, account: Account, **edge: Any) -> None:
            if chosen not in self._roles():
                raise Invalid("wrong_role", gettext("Choose one of the roles."), field="role")
            if account.role not in self._roles():
                raise Conflict("role_beyond", gettext("Only who may change a package may change this person's role."))
            accounts.change_role(session, account, Role(chosen), **edge)

        if account := self._do(account_id, act):
            say(gettext("%(email)s is %(role)s now.", email=account.email, role=role_name(chosen)))
        return redirect_to(self.url())

    def close(self, account_id: int) -> Response:
        """Refuse somebody from now on, also where they are signed in."""
        if account := self._do(account_id, accounts.disable_account):
            undo = self.url("_open", account_id=account_id)
            say(gettext("%(email)s can no longer sign in.", email=account.email), undo_url=undo)
        return redirect_to(self.url())

    def open(self, account_id: int) -> Response:
        """Let somebody sign in again."""
        if account := self._do(account_id, accounts.enable_account):
            say(gettext("%(email)s can sign in again.", email=account.email))
        return redirect_to(self.url())

    def delete(self, account_id: int) -> Response:
        """Say what goes and what stays, then delete the person."""
        if request.method == "POST":
            with wall.unwalled():  # people are numbered across tenants, and the jobs of all may name one
                gone = self._do(account_id, erasure.erase)
            if gone:
                say(gettext("The person is deleted. The address may be invited again."))
            return redirect_to(self.url())
        account = people.get(db.session(), self.tenant_id, account_id)
        return render("people/delete.html", pages=self, account=account, tenant=self._tenant())

    def _do(self, account_id: int, act: Callable[..., object]) -> Account | None:
        """Do it and return the person, or say why it was refused."""
        edge: dict[str, Any] = {"actor": current_user.email, "now": utc_now()}

        def do(session: Session) -> Account:
            account = people.get(session, self.tenant_id, account_id)
            if account.id == current_user.account_id:
                raise Conflict("yourself", gettext("Somebody else has to do that to your own account."))
            act(session, account, **edge)
            return account

        try:
            return run_in_transaction(do)
        except Conflict as error:
            say(_words(error), "error")
            return None

    def _roles(self) -> tuple[Role, ...]:
        """The roles that the visitor may give here."""
        return roles_to_give(current_user.role, giver_is_staff=current_user.is_staff, is_staff=self.tenant_id is None)


def _words(error: DomainError) -> str:
    if error.code == "last_owner":
        return gettext("Somebody has to stay owner: make someone else an owner first.")
    if error.code == "last_admin":
        return gettext("Somebody has to stay admin: make someone else an admin first.")
    return error.message

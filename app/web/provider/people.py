"""The provider's own people and each tenant's: roles, and who may still sign in."""

from flask import Response

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web.guards import needs
from app.web.people import PeoplePages
from app.web.provider import bp

ID = "<int:account_id>"
INVITATION = "<int:invitation_id>"
STAFF = PeoplePages(None, "provider.people", "provider/people.html")


def _of(slug: str) -> PeoplePages:
    found = tenants.by_slug(db.session(), slug)
    return PeoplePages(found.id, "provider.tenant_people", "provider/tenant_people.html", arguments={"slug": slug})


@bp.get("/people")
@needs(Permission.READ_PEOPLE)
def people() -> Response:
    """The provider's own people."""
    return STAFF.show()


@bp.get("/people/rights")
@needs(Permission.READ_PEOPLE)
def people_rights() -> Response:
    """Who may do what, on both sides."""
    return STAFF.rights()


@bp.post(f"/people/{ID}/role")
@needs(Permission.CHANGE_PEOPLE)
def people_role(account_id: int) -> Response:
    """Another role."""
    return STAFF.change_role(account_id)


@bp.post(f"/people/{ID}/close")
@needs(Permission.CHANGE_PEOPLE)
def people_close(account_id: int) -> Response:
    """No more sign-in."""
    return STAFF.close(account_id)


@bp.post(f"/people/{ID}/open")
@needs(Permission.CHANGE_PEOPLE)
def people_open(account_id: int) -> Response:
    """Sign-in again."""
    return STAFF.open(account_id)


@bp.route(f"/people/{ID}/delete", methods=["GET", "POST"])
@needs(Permission.ERASE_DATA)
def people_delete(account_id: int) -> Response:
    """Nobody any more."""
    return STAFF.delete(account_id)


@bp.route("/people/invite", methods=["GET", "POST"])
@needs(Permission.CHANGE_PEOPLE)
def people_invite() -> Response:
    """Somebody new."""
    return STAFF.invite()


@bp.post(f"/people/invitations/{INVITATION}/resend")
@needs(Permission.CHANGE_PEOPLE)
def people_resend(invitation_id: int) -> Response:
    """The invitation once more."""
    return STAFF.resend(invitation_id)


@bp.post(f"/people/invitations/{INVITATION}/withdraw")
@needs(Permission.CHANGE_PEOPLE)
def people_withdraw(invitation_id: int) -> Response:
    """No more invitation."""
    return STAFF.withdraw(invitation_id)


@bp.get("/tenants/<slug>/people")
@needs(Permission.READ_PEOPLE)
def tenant_people(slug: str) -> Response:
    """A tenant's people."""
    return _of(slug).show()


@bp.post(f"/tenants/<slug>/people/{ID}/role")
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_role(slug: str, account_id: int) -> Response:
    """Another role."""
    return _of(slug).change_role(account_id)


@bp.post(f"/tenants/<slug>/people/{ID}/close")
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_close(slug: str, account_id: int) -> Response:
    """No more sign-in."""
    return _of(slug).close(account_id)


@bp.post(f"/tenants/<slug>/people/{ID}/open")
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_open(slug: str, account_id: int) -> Response:
    """Sign-in again."""
    return _of(slug).open(account_id)


@bp.route(f"/tenants/<slug>/people/{ID}/delete", methods=["GET", "POST"])
@needs(Permission.ERASE_DATA)
def tenant_people_delete(slug: str, account_id: int) -> Response:
    """Nobody any more."""
    return _of(slug).delete(account_id)


@bp.route("/tenants/<slug>/people/invite", methods=["GET", "POST"])
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_invite(slug: str) -> Response:
    """Somebody new."""
    return _of(slug).invite()


@bp.post(f"/tenants/<slug>/people/invitations/{INVITATION}/resend")
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_resend(slug: str, invitation_id: int) -> Response:
    """The invitation once more."""
    return _of(slug).resend(invitation_id)


@bp.post(f"/tenants/<slug>/people/invitations/{INVITATION}/withdraw")
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_people_withdraw(slug: str, invitation_id: int) -> Response:
    """No more invitation."""
    return _of(slug).withdraw(invitation_id)

"""The tenant's own people: roles, and who may still sign in."""

from flask import Response, g

from app.domain.accounts.roles import Permission
from app.web.guards import needs
from app.web.people import PeoplePages
from app.web.tenant import bp

ID = "<int:account_id>"
INVITATION = "<int:invitation_id>"


def _pages() -> PeoplePages:
    return PeoplePages(g.tenant_id, "tenant.people", "tenant/people.html")


@bp.get("/people")
@needs(Permission.READ_PEOPLE)
def people() -> Response:
    """Everybody who signs in for the tenant."""
    return _pages().show()


@bp.get("/people/rights")
@needs(Permission.READ_PEOPLE)
def people_rights() -> Response:
    """Who may do what."""
    return _pages().rights()


@bp.post(f"/people/{ID}/role")
@needs(Permission.CHANGE_PEOPLE)
def people_role(account_id: int) -> Response:
    """Another role."""
    return _pages().change_role(account_id)


@bp.post(f"/people/{ID}/close")
@needs(Permission.CHANGE_PEOPLE)
def people_close(account_id: int) -> Response:
    """No more sign-in."""
    return _pages().close(account_id)


@bp.post(f"/people/{ID}/open")
@needs(Permission.CHANGE_PEOPLE)
def people_open(account_id: int) -> Response:
    """Sign-in again."""
    return _pages().open(account_id)


@bp.route(f"/people/{ID}/delete", methods=["GET", "POST"])
@needs(Permission.ERASE_DATA)
def people_delete(account_id: int) -> Response:
    """Nobody any more."""
    return _pages().delete(account_id)


@bp.route("/people/invite", methods=["GET", "POST"])
@needs(Permission.CHANGE_PEOPLE)
def people_invite() -> Response:
    """Somebody new."""
    return _pages().invite()


@bp.post(f"/people/invitations/{INVITATION}/resend")
@needs(Permission.CHANGE_PEOPLE)
def people_resend(invitation_id: int) -> Response:
    """The invitation once more."""
    return _pages().resend(invitation_id)


@bp.post(f"/people/invitations/{INVITATION}/withdraw")
@needs(Permission.CHANGE_PEOPLE)
def people_withdraw(invitation_id: int) -> Response:
    """No more invitation."""
    return _pages().withdraw(invitation_id)

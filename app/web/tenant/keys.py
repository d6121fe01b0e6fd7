"""API keys of the tenant's own, which read what is its own."""

from flask import Response, g

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.guards import needs
from app.web.keys import KeyPages
from app.web.tenant import bp


def _pages() -> KeyPages:
    return KeyPages(db.session.get_one(Tenant, g.tenant_id), "tenant.key")


@bp.get("/keys")
@needs(Permission.READ_KEYS)
def keys() -> Response:
    """Each key with its state."""
    return _pages().overview()


@bp.route("/keys/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_KEYS)
def key_new() -> Response:
    """Issue one; the answer shows it."""
    return _pages().new()


@bp.get("/keys/<prefix>")
@needs(Permission.READ_KEYS)
def key(prefix: str) -> Response:
    """One key."""
    return _pages().one(prefix)


@bp.post("/keys/<prefix>/rotate")
@needs(Permission.CHANGE_KEYS)
def key_rotate(prefix: str) -> Response:
    """Exchange it; the answer shows the new one."""
    return _pages().rotate(prefix)


@bp.post("/keys/<prefix>/end")
@needs(Permission.CHANGE_KEYS)
def key_end(prefix: str) -> Response:
    """Move its end."""
    return _pages().end(prefix)


@bp.post("/keys/<prefix>/revoke")
@needs(Permission.CHANGE_KEYS)
def key_revoke(prefix: str) -> Response:
    """Refuse it."""
    return _pages().revoke(prefix)

"""API keys of sources and tenants, in one place."""

from flask import Response

from app.domain.accounts.roles import Permission
from app.web.guards import needs
from app.web.keys import KeyPages
from app.web.provider import bp

PAGES = KeyPages(None, "provider.key")


@bp.get("/keys")
@needs(Permission.READ_KEYS)
def keys() -> Response:
    """Each key with its state."""
    return PAGES.overview()


@bp.route("/keys/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_KEYS)
def key_new() -> Response:
    """Issue one to a source; the answer shows it."""
    return PAGES.new()


@bp.get("/keys/<prefix>")
@needs(Permission.READ_KEYS)
def key(prefix: str) -> Response:
    """One key."""
    return PAGES.one(prefix)


@bp.post("/keys/<prefix>/rotate")
@needs(Permission.CHANGE_KEYS)
def key_rotate(prefix: str) -> Response:
    """Exchange it; the answer shows the new one."""
    return PAGES.rotate(prefix)


@bp.post("/keys/<prefix>/end")
@needs(Permission.CHANGE_KEYS)
def key_end(prefix: str) -> Response:
    """Move its end."""
    return PAGES.end(prefix)


@bp.post("/keys/<prefix>/revoke")
@needs(Permission.CHANGE_KEYS)
def key_revoke(prefix: str) -> Response:
    """Refuse it."""
    return PAGES.revoke(prefix)

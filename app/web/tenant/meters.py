"""The meters alone: streamed to open pages, or polled."""

from flask import Response, g

from app.domain.accounts.roles import Permission
from app.web import live
from app.web.guards import needs
from app.web.tenant import bp


@bp.get("/meters")
@needs(Permission.READ_USAGE)
def meters() -> str:
    """The fragment that the tenant's home shows, as of now."""
    return live.fragment(g.tenant_id)


@bp.get("/meters/stream")
@needs(Permission.READ_USAGE)
def meters_stream() -> Response:
    """The same fragment, again at each change."""
    return live.stream(g.tenant_id)

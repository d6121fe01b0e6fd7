"""The meters of one tenant as its own page shows them, for the provider's staff."""

from flask import Response

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web import live
from app.web.guards import needs
from app.web.provider import bp


@bp.get("/tenants/<slug>/meters")
@needs(Permission.READ_USAGE)
def tenant_meters(slug: str) -> str:
    """The fragment as of now."""
    return live.fragment(tenants.by_slug(db.session(), slug).id, heading_level=2)


@bp.get("/tenants/<slug>/meters/stream")
@needs(Permission.READ_USAGE)
def tenant_meters_stream(slug: str) -> Response:
    """The same fragment, again at each change."""
    return live.stream(tenants.by_slug(db.session(), slug).id, heading_level=2)

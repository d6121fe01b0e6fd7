"""What was refused: of one tenant, and of all."""

from flask import Response

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web.guards import needs
from app.web.provider import bp
from app.web.refused import refused_page


@bp.get("/refused")
@needs(Permission.READ_USAGE)
def refused() -> Response:
    """Of all tenants, newest first."""
    return refused_page("provider/refused.html", None)


@bp.get("/tenants/<slug>/refused")
@needs(Permission.READ_USAGE)
def tenant_refused(slug: str) -> Response:
    """Of one tenant, newest first."""
    return refused_page("provider/tenant_refused.html", tenants.by_slug(db.session(), slug))

"""Calls that did not go through and what could not be added."""

from flask import Response, g

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.guards import needs
from app.web.refused import refused_page
from app.web.tenant import bp


@bp.get("/refused")
@needs(Permission.READ_USAGE)
def refused() -> Response:
    """Newest first, with the limit that each met."""
    return refused_page("tenant/refused.html", db.session.get_one(Tenant, g.tenant_id))

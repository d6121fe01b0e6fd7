"""The tenant's own log: what its people did, and what the provider did to it."""

from flask import Response, g

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.audit import audit_csv, audit_page
from app.web.guards import needs
from app.web.tenant import bp


@bp.get("/audit")
@needs(Permission.READ_AUDIT)
def audit() -> Response:
    """Newest first, in the tenant's time zone."""
    return audit_page("tenant/audit.html", db.session.get_one(Tenant, g.tenant_id))


@bp.get("/audit.csv")
@needs(Permission.READ_AUDIT)
def audit_export() -> Response:
    """Those that fit the filters; the page with its 422 where they cannot be read."""
    return audit_csv("log", db.session.get_one(Tenant, g.tenant_id)) or audit()

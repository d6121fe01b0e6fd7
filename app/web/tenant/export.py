"""All data of the tenant, as one file."""

from flask import Response, g, request

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.export import export_page, export_zip
from app.web.guards import needs
from app.web.tenant import bp


@bp.route("/export", methods=["GET", "POST"])
@needs(Permission.EXPORT_DATA)
def export() -> Response:
    """Say what it holds, then send it."""
    tenant = db.session.get_one(Tenant, g.tenant_id)
    return export_zip(tenant) if request.method == "POST" else export_page(tenant)

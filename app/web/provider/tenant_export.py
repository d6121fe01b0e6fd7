"""All data of a tenant, as one file."""

from flask import Response, request

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web.export import export_page, export_zip
from app.web.guards import needs
from app.web.provider import bp


@bp.route("/tenants/<slug>/export", methods=["GET", "POST"])
@needs(Permission.EXPORT_DATA)
def tenant_export(slug: str) -> Response:
    """Say what it holds, then send it."""
    found = tenants.by_slug(db.session(), slug)
    return export_zip(found) if request.method == "POST" else export_page(found)

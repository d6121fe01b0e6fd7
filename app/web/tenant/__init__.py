"""The customer's pages, /portal: for a tenant's users, about `g.tenant_id` alone."""

from flask import Blueprint

from app.web.guards import tenant_users_only

bp = Blueprint("tenant", __name__, url_prefix="/portal")
bp.before_request(tenant_users_only)

from app.web.tenant import (  # noqa: E402, F401  views register on `bp`
    home,
    invoices,
    lines,
    meters,
    notifications,
    plans,
    refused,
    statements,
    usage,
)

"""The customer's pages, /portal: for a tenant's users, about `g.tenant_id` alone."""

from flask import Blueprint, Response

from app.web.guards import tenant_users_only
from app.web.kit.render import render

bp = Blueprint("tenant", __name__, url_prefix="/portal")
bp.before_request(tenant_users_only)


@bp.get("", strict_slashes=False)
def home() -> Response:
    """Where a tenant's user arrives."""
    return render("tenant/home.html")


from app.web.tenant import meters, statements  # noqa: E402, F401  views register on `bp`

"""What a tenant holds, for the provider's staff."""

from flask import Response

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants import service as tenants
from app.web.guards import needs
from app.web.lines import LinePages
from app.web.provider import bp


def _pages(slug: str) -> LinePages:
    tenant = tenants.by_slug(db.session(), slug)
    return LinePages(tenant.id, "provider.tenant_line", "provider/tenant_line", arguments={"slug": slug})


@bp.get("/tenants/<slug>/lines")
@needs(Permission.READ_LINES)
def tenant_lines(slug: str) -> Response:
    """Each resource with what is held of it."""
    return _pages(slug).overview()


@bp.route("/tenants/<slug>/lines/<code>", methods=["GET", "POST"])
@needs(Permission.READ_LINES, to_change=Permission.CHANGE_LINES)
def tenant_line(slug: str, code: str) -> Response:
    """What is held of one resource; a POST adds to it."""
    return _pages(slug).one(code)


@bp.post("/tenants/<slug>/lines/<code>/<int:allocation_id>/release")
@needs(Permission.CHANGE_LINES)
def tenant_line_release(slug: str, code: str, allocation_id: int) -> Response:
    """Give one back."""
    return _pages(slug).release(code, allocation_id)


@bp.post("/tenants/<slug>/lines/<code>/<int:allocation_id>/again")
@needs(Permission.CHANGE_LINES)
def tenant_line_again(slug: str, code: str, allocation_id: int) -> Response:
    """Undo a release."""
    return _pages(slug).again(code, allocation_id)


@bp.route("/tenants/<slug>/lines/<code>/import", methods=["GET", "POST"])
@needs(Permission.CHANGE_LINES)
def tenant_line_import(slug: str, code: str) -> Response:
    """Add the lines of a file."""
    return _pages(slug).import_csv(code)


@bp.get("/tenants/<slug>/lines/<code>/export.csv")
@needs(Permission.READ_LINES)
def tenant_line_export(slug: str, code: str) -> Response:
    """All of one resource."""
    return _pages(slug).export(code)

"""Lines & numbers: what the tenant holds, added and released by its own people."""

from flask import Response, g

from app.domain.accounts.roles import Permission
from app.web.guards import needs
from app.web.lines import LinePages
from app.web.tenant import bp


def _pages() -> LinePages:
    return LinePages(g.tenant_id, "tenant.line", "tenant/line")


@bp.get("/lines")
@needs(Permission.READ_LINES)
def lines() -> Response:
    """Each resource with what is held of it."""
    return _pages().overview()


@bp.route("/lines/<code>", methods=["GET", "POST"])
@needs(Permission.READ_LINES, to_change=Permission.CHANGE_LINES)
def line(code: str) -> Response:
    """What is held of one resource; a POST adds to it."""
    return _pages().one(code)


@bp.post("/lines/<code>/<int:allocation_id>/release")
@needs(Permission.CHANGE_LINES)
def line_release(code: str, allocation_id: int) -> Response:
    """Give one back."""
    return _pages().release(code, allocation_id)


@bp.post("/lines/<code>/<int:allocation_id>/again")
@needs(Permission.CHANGE_LINES)
def line_again(code: str, allocation_id: int) -> Response:
    """Undo a release."""
    return _pages().again(code, allocation_id)


@bp.route("/lines/<code>/import", methods=["GET", "POST"])
@needs(Permission.CHANGE_LINES)
def line_import(code: str) -> Response:
    """Add the lines of a file."""
    return _pages().import_csv(code)


@bp.get("/lines/<code>/export.csv")
@needs(Permission.READ_LINES)
def line_export(code: str) -> Response:
    """All of one resource."""
    return _pages().export(code)

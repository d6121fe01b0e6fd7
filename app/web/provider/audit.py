"""The audit trail: who did what, from where, and what it was before."""

from flask import Response

from app.domain.accounts.roles import Permission
from app.web.audit import audit_csv, audit_page
from app.web.guards import needs
from app.web.provider import bp


@bp.get("/audit")
@needs(Permission.READ_AUDIT)
def audit() -> Response:
    """All entries, newest first."""
    return audit_page("provider/audit.html", None)


@bp.get("/audit.csv")
@needs(Permission.READ_AUDIT)
def audit_export() -> Response:
    """Those that fit the filters; the page with its 422 where they cannot be read."""
    return audit_csv("audit", None) or audit()

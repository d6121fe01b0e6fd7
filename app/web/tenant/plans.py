"""Plans: what the provider sells, and changing to it."""

from flask import Response, g

from app.web.plans import PlanPages
from app.web.tenant import bp


def _pages() -> PlanPages:
    return PlanPages(g.tenant_id, "tenant.plans", "tenant/plans", {})


@bp.get("/plans")
def plans() -> Response:
    """Packages side by side; with `package` a quote."""
    return _pages().show()


@bp.post("/plans")
def plans_accept() -> Response:
    """Do what a quote says."""
    return _pages().accept()


@bp.post("/plans/cancel")
def plans_cancel() -> Response:
    """Drop the change that is pending."""
    return _pages().cancel()


@bp.post("/plans/ask")
def plans_ask() -> Response:
    """Ask the provider for a package."""
    return _pages().ask()


@bp.post("/plans/withdraw")
def plans_withdraw() -> Response:
    """Take the request back."""
    return _pages().withdraw()

"""Plans: what the provider sells, and changing to it."""

from flask import Response, g, url_for

from app.core.clock import utc_now
from app.db import run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.changes import offers
from app.domain.tenants.models import Tenant
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, say
from app.web.plans import PlanPages
from app.web.tenant import bp


def _pages() -> PlanPages:
    return PlanPages(g.tenant_id, "tenant.plans", "tenant/plans")


@bp.get("/plans")
@needs(Permission.READ_PLANS)
def plans() -> Response:
    """Packages side by side; with `package` a quote."""
    return _pages().show()


@bp.post("/plans")
@needs(Permission.CHANGE_PLANS)
def plans_accept() -> Response:
    """Do what a quote says."""
    return _pages().accept()


@bp.post("/plans/cancel")
@needs(Permission.CHANGE_PLANS)
def plans_cancel() -> Response:
    """Drop the change that is pending."""
    return _pages().cancel()


@bp.route("/plans/end", methods=["GET", "POST"])
@needs(Permission.CHANGE_PLANS)
def plans_end() -> Response:
    """End the package with its period."""
    return _pages().end()


@bp.post("/plans/ask")
@needs(Permission.CHANGE_PLANS)
def plans_ask() -> Response:
    """Ask the provider for a package."""
    return _pages().ask()


@bp.post("/plans/withdraw")
@needs(Permission.CHANGE_PLANS)
def plans_withdraw() -> Response:
    """Take the request back."""
    return _pages().withdraw()


@bp.post("/plans/decline")
@needs(Permission.CHANGE_PLANS)
def plans_decline() -> Response:
    """Say no to what the provider suggests."""
    edge = {"actor": current_user.email, "now": utc_now()}
    run_in_transaction(lambda session: offers.end(session, session.get_one(Tenant, g.tenant_id), "declined", **edge))
    say(gettext("The package stays as it is."))
    return redirect_to(url_for("tenant.plans"))

"""The meters of one tenant as its own page shows them, and its balance, for the provider's staff."""

from flask import Response, abort
from jinja2_fragments.flask import render_block

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.metering import prepaid
from app.domain.tenants import service as tenants
from app.web import live
from app.web.guards import needs
from app.web.provider import bp


@bp.get("/tenants/<slug>/meters")
@needs(Permission.READ_USAGE)
def tenant_meters(slug: str) -> str:
    """The fragment as of now."""
    return live.fragment(tenants.by_slug(db.session(), slug).id, heading_level=2)


@bp.get("/tenants/<slug>/meters/stream")
@needs(Permission.READ_USAGE)
def tenant_meters_stream(slug: str) -> Response:
    """The same fragment, again at each change."""
    return live.stream(tenants.by_slug(db.session(), slug).id, heading_level=2)


@bp.get("/tenants/<slug>/balance/card")
@needs(Permission.READ_TENANTS)
def tenant_balance_card(slug: str) -> str:
    """What the tenant's page shows of what it paid in advance, as of now; 404 where it pays afterwards."""
    session = db.session()
    tenant = tenants.by_slug(session, slug)
    purse = prepaid.purse(session.connection(), tenant.id)
    if purse is None:
        abort(404)
    return render_block("provider/tenant.html", "balance", tenant=tenant, purse=purse)

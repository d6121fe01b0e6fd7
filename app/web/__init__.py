"""HTTP for people."""

from flask import Flask
from flask_babel import Babel  # type: ignore[import-untyped]

from app.config import Settings
from app.oidc import Provider
from app.web import (
    account,
    brand,
    drawn,
    errors,
    guards,
    live,
    origin,
    pay,
    provider,
    scrape,
    security,
    tenant,
    viewing,
)
from app.web.auth import links, second, sso, views as auth  # noqa: F401  all register on one blueprint
from app.web.kit import filters, invoice_files


def init_app(app: Flask) -> None:
    """Register the pages and what stands in front of them. The guard comes before the CSRF check, so
    that a form sent after the sign-in has ended leads to the sign-in page."""
    settings: Settings = app.config["RINGPLAN"]
    Babel(app)
    filters.init_app(app)
    brand.init_app(app)
    guards.init_app(app)
    origin.init_app(app)
    pay.init_app(app)
    paid_at = app.extensions["payment_gateway"]
    security.init_app(app, forms_lead_to=paid_at.pays_at if paid_at else "")
    errors.init_app(app)
    drawn.init_app(app)
    live.init_app(app)
    scrape.init_app(app)
    app.extensions["oidc"] = oidc = Provider.of(settings)
    app.jinja_env.globals["sso_name"] = oidc.name if oidc else ""
    app.extensions["invoice_files"] = invoice_files  # the machine interface and mails hand them out, too
    for blueprint in (auth.bp, account.bp, provider.bp, tenant.bp, viewing.bp):
        app.register_blueprint(blueprint)

"""The operator's pages, /provider: for the provider's own people alone."""

from flask import Blueprint

bp = Blueprint("provider", __name__, url_prefix="/provider")

from app.web.provider import (  # noqa: E402, F401  views register on `bp`
    audit,
    bank,
    bank_lines,
    billing,
    calls,
    home,
    invoices,
    jobs,
    keys,
    lines,
    margin,
    meters,
    notifications,
    packages,
    payments,
    people,
    privacy,
    quarantine,
    ready,
    refused,
    resources,
    second_factor,
    settings,
    sources,
    tenant_export,
    tenant_page,
    tenant_plan,
    tenant_usage,
    tenants,
    verification,
    webhooks,
)

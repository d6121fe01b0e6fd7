"""The customer's pages, /portal: for a tenant's users, about `g.tenant_id` alone."""

from flask import Blueprint

bp = Blueprint("tenant", __name__, url_prefix="/portal")

from app.web.tenant import (  # noqa: E402, F401  views register on `bp`
    audit,
    balance,
    export,
    home,
    invoices,
    keys,
    lines,
    meters,
    notifications,
    people,
    plans,
    refused,
    statements,
    usage,
    webhooks,
)

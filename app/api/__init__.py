"""HTTP for machines, /api/v1. The contract is what `/api/v1/openapi.json` says, generated from this package."""

from flask import Flask

from app.api import (
    allocations,
    calls,
    cdr,
    gate,
    health,
    invoices,
    limits,
    openapi,
    packages,
    problems,
    quotes,
    records,
    tenants,
    usage,
)
from app.api.blueprint import bp

__all__ = [
    "allocations", "bp", "calls", "cdr", "gate", "health", "invoices", "openapi", "packages", "problems", "quotes",
    "records", "tenants", "usage",
]  # fmt: skip


def init_app(app: Flask) -> None:
    """Register the routes; machines carry a key instead of a cookie, so there is no forged form to fear."""
    problems.init_app(app)
    limits.init_app(app)
    app.extensions["csrf"].exempt(bp)
    app.register_blueprint(bp)
    calls.init_app(app)
    gate.init_app(app)
    health.init_app(app)

"""Webhooks of the tenant's own: endpoints that hear of it alone."""

from flask import Response, g

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.tenants.models import Tenant
from app.web.guards import needs
from app.web.tenant import bp
from app.web.webhooks import WebhookPages

ID = "<int:endpoint_id>"


def _pages() -> WebhookPages:
    return WebhookPages(db.session.get_one(Tenant, g.tenant_id), "tenant.webhook")


@bp.get("/webhooks")
@needs(Permission.READ_WEBHOOKS)
def webhooks() -> Response:
    """Each endpoint with its state."""
    return _pages().overview()


@bp.route("/webhooks/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_new() -> Response:
    """Add one; the answer shows its secret."""
    return _pages().new()


@bp.get(f"/webhooks/{ID}")
@needs(Permission.READ_WEBHOOKS)
def webhook(endpoint_id: int) -> Response:
    """One endpoint, and what was sent to it."""
    return _pages().one(endpoint_id)


@bp.route(f"/webhooks/{ID}/edit", methods=["GET", "POST"])
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_edit(endpoint_id: int) -> Response:
    """Change it."""
    return _pages().edit(endpoint_id)


@bp.post(f"/webhooks/{ID}/secret")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_rotate(endpoint_id: int) -> Response:
    """Exchange its secret."""
    return _pages().rotate(endpoint_id)


@bp.post(f"/webhooks/{ID}/ping")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_ping(endpoint_id: int) -> Response:
    """Send a test."""
    return _pages().ping(endpoint_id)


@bp.post(f"/webhooks/{ID}/on")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_on(endpoint_id: int) -> Response:
    """Tell it again."""
    return _pages().turn(endpoint_id, True)


@bp.post(f"/webhooks/{ID}/off")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_off(endpoint_id: int) -> Response:
    """Tell it no more."""
    return _pages().turn(endpoint_id, False)


@bp.post(f"/webhooks/{ID}/remove")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_remove(endpoint_id: int) -> Response:
    """Forget it."""
    return _pages().remove(endpoint_id)


@bp.post(f"/webhooks/{ID}/messages/<int:message_id>/replay")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_replay(endpoint_id: int, message_id: int) -> Response:
    """Send one message again."""
    return _pages().replay(endpoint_id, message_id)


@bp.post(f"/webhooks/{ID}/replay")
@needs(Permission.CHANGE_WEBHOOKS)
def webhook_replay_failed(endpoint_id: int) -> Response:
    """Send again what failed."""
    return _pages().replay_failed(endpoint_id)

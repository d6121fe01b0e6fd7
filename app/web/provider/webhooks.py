"""Webhooks of the provider's own: endpoints that hear of all tenants."""

from app.web.provider import bp
from app.web.webhooks import WebhookPages

WebhookPages.add_to(bp, "webhook", lambda: None)

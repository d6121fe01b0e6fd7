"""Webhooks of the tenant's own: endpoints that hear of it alone."""

from flask import g

from app.web.tenant import bp
from app.web.webhooks import WebhookPages

WebhookPages.add_to(bp, "webhook", lambda: g.tenant_id)

"""API keys of the tenant's own, which read what is its own."""

from flask import g

from app.web.keys import KeyPages
from app.web.tenant import bp

KeyPages.add_to(bp, "key", lambda: g.tenant_id)

"""API keys of sources and tenants, in one place."""

from app.web.keys import KeyPages
from app.web.provider import bp

KeyPages.add_to(bp, "key", lambda: None)

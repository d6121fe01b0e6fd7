"""From where the acts of a request come, for the audit trail."""

from flask import Flask, g, has_request_context, request

from app.domain.audit import origin
from app.domain.audit.origin import Origin
from app.web.guards import current_user


def init_app(app: Flask) -> None:
    """Have every audit entry ask the running request."""
    origin.ask_requests(_of_request)


def _of_request() -> Origin | None:
    if not has_request_context():
        return None
    return Origin(_kind(), request.remote_addr or "")


def _kind() -> str:
    if "key" in g:  # the machine interface found it
        return origin.KEY
    # Signing in records before anybody is signed in.
    if not current_user or not current_user.is_authenticated:
        return origin.VISITOR
    return origin.STAFF if current_user.is_staff else origin.USER

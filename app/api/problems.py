"""RFC 9457 problem details: what a machine reads when something is refused."""

from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Flask, Response, current_app, g
from sqlalchemy.exc import IntegrityError, OperationalError, TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.http import HTTP_STATUS_CODES

from app.core.errors import DomainError
from app.db import LostRace, is_disk_full

RETRY_SECONDS = 5
_WORDS = {
    400: ("bad_request", "The request could not be read."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method; `Allow` says which it takes."),
    413: ("body_too_large", "A body has at most 10 MB."),
    429: ("rate_limited", "Too many requests of this address are still on their way; try again shortly."),
    500: ("internal_error", "It is our fault, and it is logged."),
}
_UNKNOWN_HOST = "The portal does not answer to that host name; its operator names the right ones in TRUSTED_HOSTS."


class Problem(Exception):
    """An answer in place of the result; `more` joins the problem's members."""

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.more = status, code, detail, more
        self.headers: Sequence[tuple[str, str]] = ()


def invalid(code: str, detail: str, pointer: str) -> Problem:
    """A 422 about one place in the request."""
    return Problem(422, code, detail, errors=[{"pointer": pointer, "detail": detail}])


def init_app(app: Flask) -> None:
    """Answer every exception on the paths of machines; the pages' handlers hand them over."""
    app.extensions["api_errors"] = respond
    app.register_error_handler(Problem, respond)


def respond(error: Exception) -> Response:
    """The problem that `error` is."""
    match error:
        case Problem():
            answer = _answer(error.status, error.code, error.detail, error.more)
            answer.headers.extend(error.headers)
            return answer
        case DomainError():
            return _refused(error)
        case LostRace() | IntegrityError():
            return _answer(409, "changed_meanwhile", "Someone else was quicker; look again and retry.", {})
        case OperationalError() | PoolTimeout():
            return _database_away(error)
        case HTTPException():
            return _http(error)
    return _answer(500, *_WORDS[500], {})


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code, detail = _WORDS.get(status, ("http_error", error.description or HTTP_STATUS_CODES.get(status, "")))
    if isinstance(error, SecurityError):
        code, detail = "unknown_host", _UNKNOWN_HOST
    more = {"reference": g.error_id} if status == 500 and "error_id" in g else {}  # as it stands in the log
    answer = _answer(status, code, detail, more)
    answer.headers.extend({k: v for k, v in error.get_headers() if k in ("Allow", "Retry-After")})
    return answer


def _database_away(error: Exception) -> Response:
    current_app.logger.error("no answer of the database: %s", error)
    if is_disk_full(error):
        return _answer(507, "no_room", "The disk of the database is full; nothing was stored.", {})
    return _answer(503, "database_unavailable", "The database does not answer; nothing was stored.", {})


def _refused(error: DomainError) -> Response:
    more: dict[str, Any] = {}
    if errors := error.details.get("errors"):
        more["errors"] = errors
    elif field := error.details.get("field"):
        more["errors"] = [{"pointer": f"/{field}", "detail": error.message}]
    if limit := error.details.get("limit"):
        more["limit"] = limit
    return _answer(error.status, error.code, error.message, more)


def _answer(status: int, code: str, detail: str, more: dict[str, Any]) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        **more,
    }
    answer = Response(msgspec.json.encode(body), status, content_type="application/problem+json")
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer, Basic realm="Ringplan"'
    if status in (503, 507):
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer

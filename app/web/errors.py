"""Error pages in words. Machines get theirs from the API: see `MACHINE_PATHS`."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app, g, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped]
from sqlalchemy.exc import IntegrityError, OperationalError, TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError, SecurityError

from app import wall
from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import LostRace, is_disk_full, run_in_transaction
from app.domain.audit import service as audit
from app.web.guards import MissingPermission, OnlyLooking, current_user
from app.web.kit.i18n import gettext
from app.web.kit.render import render_error
from app.web.kit.role_words import names_of_those_who_may, permission_name, role_name

MACHINE_PATHS = ("/api/", "/billing/", "/healthz", "/readyz", "/metrics", "/webhooks/")
API_ERRORS = "api_errors"  # app.extensions[API_ERRORS]: the API's function from an exception to a response
RETRY_SECONDS = 5
WORDS = {  # title and text, by status code
    400: (
        _("That request is not complete"),
        _("Something in it could not be read. Go back and try again."),
    ),
    403: (
        _("Not open to you"),
        _("You are signed in, but your account may not do this. Ask the person who set it up."),
    ),
    404: (_("Page not found"), _("There is nothing at this address, or nothing that you may see.")),
    405: (_("Not possible this way"), _("This address cannot be used like that. Start from its page.")),
    409: (
        _("It has changed meanwhile"),
        _("Someone else was quicker. Look at how it stands now, then try again."),
    ),
    413: (_("That is too large"), _("At most 10 MB can be sent at once.")),
    422: (_("That cannot be done"), _("What was sent breaks a rule. Go back and look at it again.")),
    429: (_("Too many attempts"), _("Wait a little, then try again.")),
    500: (
        _("Something went wrong"),
        _("It is our fault, not yours, and it is noted. Try again; if it stays, tell us the reference."),
    ),
    507: (
        _("There is no room left"),
        _("The portal's disk is full, so nothing new can be kept. Try again when its operator has made room."),
    ),
    503: (
        _("Out of order for a moment"),
        _("The database does not answer. Nothing of yours is lost; try again in a few seconds."),
    ),
}


def init_app(app: Flask) -> None:
    """Register a page for everything that can go wrong, and mark what is logged with the id the page shows."""
    app.log_exception = lambda exc_info: _log_with_id(app, exc_info)  # type: ignore[method-assign]
    app.register_error_handler(SecurityError, _for_people(_wrong_host))
    for kind, page in (
        (HTTPException, _http_error),
        (MissingPermission, _missing_permission),
        (OnlyLooking, _only_looking),
        (CSRFError, _csrf_error),
        (InternalServerError, _server_error),
        (DomainError, _refused),
        (IntegrityError, _lost_race),
        (LostRace, _lost_race),
        (OperationalError, _database_away),
        (PoolTimeout, _database_away),
    ):
        app.register_error_handler(kind, _for_people(page))


def _for_people(page: Callable[[Any], ResponseReturnValue]) -> Callable[[Any], ResponseReturnValue]:
    """`page`, except on the paths of machines, which the API answers in its own way."""

    def handle(error: Exception) -> ResponseReturnValue:
        if not request.path.startswith(MACHINE_PATHS):
            return page(error)
        answer: Callable[[Exception], ResponseReturnValue] | None = current_app.extensions.get(API_ERRORS)
        if answer is not None:
            return answer(error)
        if isinstance(error, HTTPException):
            return error.get_response()
        raise error

    return handle


def _wrong_host(error: SecurityError) -> Response:
    """Plain words without links: for a host that is not ours there is no address to build one from."""
    text = "This portal does not answer to that host name. Its operator names the right ones in TRUSTED_HOSTS.\n"
    return Response(text, 400, mimetype="text/plain")


def _http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if error.response is not None:
        return error.response
    if status == 403:
        _note_refused("")
    title, text = _words(status)
    response = render_error(status=status, title=title, text=text)
    for name, value in error.get_headers(request.environ):
        if name in ("Allow", "Retry-After", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _missing_permission(error: MissingPermission) -> Response:
    """Says which permission is missing, and who has it."""
    _note_refused(error.permission)
    view = current_user.view
    roles = names_of_those_who_may(error.permission, is_staff=current_user.is_staff and not view)
    text = gettext(
        "This needs the permission “%(permission)s”. Your role is %(role)s.",
        permission=permission_name(error.permission),
        role=role_name(view.role if view else current_user.role),
    )
    who = gettext("Who has it: %(roles)s.", roles=roles) if roles else gettext("Nobody on your side has it.")
    return render_error(status=403, title=_words(403)[0], text=f"{text} {who}")


def _note_refused(permission: str) -> None:
    """Who was refused what: an entry of the audit trail."""
    page = _page()
    actor, tenant_id = (current_user.email, current_user.tenant_id) if current_user else ("unknown", None)
    with wall.unwalled():  # staff who look as a tenant are refused in their own trail
        run_in_transaction(
            lambda unit: audit.record(
                unit, actor, "permission.refuse", f"page:{page}", now=utc_now(), tenant_id=tenant_id,
                permission=permission, method=request.method,
            )
        )  # fmt: skip


def _page() -> str:
    """What is written down of the address that was asked for: the rule and not the path where that holds a token."""
    rule = request.url_rule
    return str(rule) if rule and "token" in rule.arguments else request.path


def _rule() -> str:
    """What the log holds of the address: an address may hold names, numbers and tokens."""
    return str(request.url_rule or "")


def _only_looking(error: OnlyLooking) -> Response:
    """Who views as a tenant tried something else."""
    text = gettext(
        "You view the portal as %(tenant)s, to read. End the view to go on as yourself.", tenant=g.view.tenant_name
    )
    return render_error(
        status=403,
        title=_words(403)[0],
        text=text,
        back_url=url_for("tenant.home"),
        back_label=gettext("Go on reading"),
    )


def _csrf_error(error: CSRFError) -> Response:
    text = gettext(
        "The page you sent was too old, or your browser does not keep cookies. Go back, reload it, send again."
    )
    return render_error(status=400, title=gettext("This form has expired"), text=text)


def _server_error(error: InternalServerError) -> Response:
    title, text = _words(500)
    return render_error(status=500, title=title, text=text, error_id=g.get("error_id", ""))


def _refused(error: DomainError) -> Response:
    title = _words(error.status)[0]
    response = render_error(status=error.status, title=title, text=error.message)
    if retry_after := error.details.get("retry_after"):
        response.headers["Retry-After"] = str(retry_after)
    return response


def _lost_race(error: Exception) -> Response:
    current_app.logger.warning("lost race at %s %s: %s", request.method, _rule(), type(error).__name__)
    title, text = _words(409)
    return render_error(status=409, title=title, text=text)


def _database_away(error: Exception) -> Response:
    status = 507 if is_disk_full(error) else 503
    current_app.logger.error("%s: no answer of the database at %s %s: %s", status, request.method, _rule(), error)
    title, text = _words(status)
    response = render_error(status=status, title=title, text=text)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _log_with_id(app: Flask, exc_info: Any) -> None:
    """In place of Flask's own: a record with the id that the page shows, and without the address."""
    g.error_id = g.request_id
    app.logger.error("error %s at %s %s", g.error_id, request.method, _rule(), exc_info=exc_info)


def _words(status: int) -> tuple[str, str]:
    """Title and text for a status code."""
    title, text = WORDS.get(status) or WORDS[500 if status >= 500 else 400]
    return str(title), str(text)

"""Sign in at the provider's own OpenID Connect service: for staff alone."""

from collections.abc import Mapping
from typing import Any

from flask import Response, abort, current_app, request, session

from app import mail
from app.core.clock import utc_now
from app.core.errors import Invalid
from app.db import run_in_transaction
from app.domain.accounts import single_sign_on
from app.domain.accounts.sign_in import normal_email, note_refused
from app.oidc import Identity, OidcError, Provider
from app.web.auth.enter import enter
from app.web.auth.next_page import local_page
from app.web.auth.views import bp, login_page
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to

BEGUN = "sso"  # in the browser's signed session: what it is held against when it comes back
MOST_SECONDS = 600


@bp.get("/login/sso")
def sso() -> Response:
    """Send the browser to the provider."""
    provider = _provider()
    try:
        begun = provider.begin(_return_url())
    except OidcError as error:
        return _refuse(error.code, str(error), provider)
    kept = {"state": begun.state, "nonce": begun.nonce, "verifier": begun.verifier}
    session[BEGUN] = {**kept, "next": local_page(request.args.get("next")) or "", "at": utc_now().timestamp()}
    return redirect_to(begun.url)


@bp.get("/login/sso/return")
def sso_return() -> Response:
    """Sign in whoever the provider vouches for."""
    provider = _provider()
    begun: dict[str, Any] = session.pop(BEGUN, None) or {}
    try:
        identity = provider.finish(_fresh(begun), request.args, _return_url())
    except OidcError as error:
        return _refuse(error.code, str(error), provider)
    try:
        account = run_in_transaction(lambda unit: _account_of(unit, identity))
    except Invalid as error:
        code, email = error.code, normal_email(identity.email)
        run_in_transaction(lambda unit: note_refused(unit, email, code, utc_now()))
        return _refuse(code, f"subject {identity.subject[:100]!r}", provider)
    return enter(account, local_page(begun.get("next")))


def _provider() -> Provider:
    provider: Provider | None = current_app.extensions["oidc"]
    return provider or abort(404)


def _return_url() -> str:
    """By PUBLIC_URL, never by the Host header; the provider knows it as the one address to come back to."""
    return mail.link("auth.sso_return")


def _fresh(begun: dict[str, Any]) -> Mapping[str, str]:
    return begun if utc_now().timestamp() - begun.get("at", 0) < MOST_SECONDS else {}


def _account_of(unit: Any, identity: Identity) -> Any:
    return single_sign_on.account_of(
        unit,
        identity.issuer,
        identity.subject,
        email=identity.email,
        is_verified=identity.is_verified,
        now=utc_now(),
    )


def _refuse(code: str, detail: str, provider: Provider) -> Response:
    """The sign-in page, saying why in plain words; the log has the detail."""
    current_app.logger.warning("single sign-on refused: %s: %s", code, detail)
    return login_page(None, [_words(code, provider.name)], 502 if code in ("unreachable", "bad_answer") else 403)


def _words(code: str, name: str) -> str:
    words = {
        "unreachable": gettext("%(name)s does not answer. Try again in a moment, or use your password."),
        "bad_answer": gettext("What %(name)s answered cannot be trusted. Try again, or use your password."),
        "cancelled": gettext("You were not signed in at %(name)s. Try again, or use your password."),
        "unknown_state": gettext("This sign-in was begun elsewhere, is finished or took too long. Begin again."),
        "email_unverified": gettext("%(name)s has not verified your e-mail address, so it cannot be used here."),
        "no_such_staff": gettext("None of the staff has the address that %(name)s told. Ask an owner to invite you."),
        "bound_to_another": gettext("This account belongs to another person at %(name)s. Ask an owner."),
        "account_disabled": gettext("This account is closed. Ask an owner."),
    }
    return words[code] % {"name": name}

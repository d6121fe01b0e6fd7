"""What every answer carries against attacks from elsewhere: headers, cookie flags, the CSRF token."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped]
from itsdangerous import URLSafeTimedSerializer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class OwnPagesAlone(CSRFProtect):  # type: ignore[misc]  # Flask-WTF ships no types
    """A form must come from a page of the portal: the browser says so, and the token of its sign-in proves it."""

    def protect(self, apply_exemptions: bool = False) -> None:
        """Raises CSRFError."""
        if request.method not in current_app.config["WTF_CSRF_METHODS"]:
            return
        super().protect(apply_exemptions)
        is_exempt = apply_exemptions and (not request.endpoint or self._is_exempt())
        if not is_exempt and _is_from_elsewhere():
            raise CSRFError("It was sent from another site.")


def _is_from_elsewhere() -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host:  # "null" has none
        return True
    return request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none")


csrf = OwnPagesAlone()  # machines prove themselves by key instead: the API exempts its blueprint

# No inline script or style anywhere, so text that slips through as HTML still runs nothing.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # Flask-WTF compares the referrer on HTTPS
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
YEAR_SECONDS = int(timedelta(days=365).total_seconds())
MOST_COOKIES = 10_000  # verified ones a worker remembers
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _Cookies(URLSafeTimedSerializer):
    """Remembers what it has verified, since a browser sends the same cookie with every request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._verified: dict[str | bytes, tuple[dict[str, Any], datetime]] = {}

    def loads(self, s: str | bytes, max_age: int | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """What the cookie says. Raises BadSignature for a forged, SignatureExpired for an old one."""
        known = self._verified.get(s)
        if known and max_age is not None and datetime.now(UTC) - known[1] <= timedelta(seconds=max_age):
            return dict(known[0])
        data, signed_at = super().loads(s, max_age=max_age, **{**kwargs, "return_timestamp": True})
        if all(isinstance(value, str | int) for value in data.values()):  # a list would be changed in place
            if len(self._verified) >= MOST_COOKIES:
                self._verified.clear()
            self._verified[s] = (dict(data), signed_at)
        return data


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie, for HTTPS alone unless the browser is on this very machine."""

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """One for all requests: the key does not change while the portal runs."""
        if "cookies" not in app.extensions:
            signer = {"key_derivation": self.key_derivation, "digest_method": self.digest_method}
            app.extensions["cookies"] = _Cookies(
                app.secret_key or "", salt=self.salt, serializer=self.serializer, signer_kwargs=signer
            )
        cookies = app.extensions["cookies"]
        assert isinstance(cookies, _Cookies)
        return cookies

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Flask's own puts the cookie together before it asks whether there is anything to send."""
        if session.modified:
            super().save_session(app, session, response)
        elif session.accessed:
            response.vary.add("Cookie")

    def get_cookie_secure(self, app: Flask) -> bool:
        """True unless the page was asked for without TLS on loopback and the configuration does not insist."""
        # request.host would raise for a host that is not trusted, and that answer is on its way already
        on_loopback = _is_loopback(request.environ.get("HTTP_HOST", ""))
        return super().get_cookie_secure(app) or request.is_secure or not on_loopback


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK
    except ValueError:
        return False


def init_app(app: Flask, *, forms_lead_to: str = "") -> None:
    """Install the cookie flags, the CSRF check and the headers.

    `forms_lead_to`: an origin that a form may be answered with a redirect to, as a gateway's page to pay at.
    """
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False  # guards.keep_alive() renews it, every few minutes
    app.session_interface = CookieSession()
    csrf.init_app(app)
    policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", f"form-action 'self' {forms_lead_to}".rstrip())
    headers = {**HEADERS, "content-security-policy": policy}
    app.wsgi_app = _with_headers(app.wsgi_app, headers)  # type: ignore[method-assign,assignment]


def _with_headers(wsgi_app: WSGIApplication, extra: dict[str, str]) -> WSGIApplication:
    """Every answer with the headers that it does not set itself: around Flask, where adding to a list costs nothing."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if _is_for_ever(status, environ):
                headers = [pair for pair in headers if pair[0].lower() != "cache-control"]
                headers.append(("Cache-Control", f"public, max-age={YEAR_SECONDS}, immutable"))
            present = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in extra.items() if name not in present]
            if environ["wsgi.url_scheme"] == "https" and "strict-transport-security" not in present:
                headers.append(("Strict-Transport-Security", f"max-age={YEAR_SECONDS}"))
            return start_response(status, headers, exc_info)

        return wsgi_app(environ, start)

    return answer


def _is_for_ever(status: str, environ: WSGIEnvironment) -> bool:
    """A file that is asked for by its version never changes."""
    is_file = environ.get("PATH_INFO", "").startswith("/static/") and status < "400"
    return is_file and "v=" in environ.get("QUERY_STRING", "")

"""What every answer carries against attacks from elsewhere: headers, cookie flags, the CSRF token."""

from datetime import timedelta
from functools import lru_cache
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from itsdangerous import URLSafeTimedSerializer

csrf = CSRFProtect()  # machines prove themselves by key instead: the API exempts its blueprint

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
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # Flask-WTF compares the referrer on HTTPS
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
YEAR_SECONDS = int(timedelta(days=365).total_seconds())
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class CookieSession(SecureCookieSessionInterface):
    """Flask's signed cookie, for HTTPS alone unless the browser is on this very machine."""

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """The same for every request: the key and its salt do not change while the portal runs."""
        found = app.extensions.get("cookie_serializer")
        if found is None:
            found = app.extensions["cookie_serializer"] = super().get_signing_serializer(app)
        assert found is None or isinstance(found, URLSafeTimedSerializer)
        return found

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


def init_app(app: Flask) -> None:
    """Install the cookie flags, the CSRF check and the headers."""
    app.config["SESSION_REFRESH_EACH_REQUEST"] = False  # guards.keep_alive() renews it, every few minutes
    app.session_interface = CookieSession()
    csrf.init_app(app)
    app.after_request(_add_headers)


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={YEAR_SECONDS}")
    if request.endpoint != "static" or response.status_code >= 400:
        response.headers.setdefault("Cache-Control", "no-store")
    elif "v" in request.args:
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response

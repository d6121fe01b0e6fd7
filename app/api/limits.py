"""Rate limits of the machine interface: by key, and by address for requests without a valid one.

Headers: draft-ietf-httpapi-ratelimit-headers (`RateLimit-Policy`, `RateLimit`), and `Retry-After` with 429.
"""

from flask import Flask, Response, current_app, g, request

from app.api.problems import Problem
from app.config import Settings
from app.domain.accounts.rate_limits import WINDOW, RateLimit
from app.domain.accounts.service import KnownKey
from app.domain.accounts.throttle import network_of

KEY, ADDRESS = "key", "address"


def init_app(app: Flask) -> None:
    """The limits of this process."""
    settings: Settings = app.config["RINGPLAN"]
    app.extensions["rate_limits"] = {
        KEY: RateLimit(settings.RATE_LIMIT_KEY, settings.WORKERS),
        ADDRESS: RateLimit(settings.RATE_LIMIT_ADDRESS, settings.WORKERS),
    }


def count_key(key: KnownKey) -> None:
    """Count a request of a valid key. Raises Problem 429."""
    _count(KEY, f"key:{key.id}")


def count_stranger() -> None:
    """Count a request without a valid key. Raises Problem 429."""
    _count(ADDRESS, f"address:{network_of(request.remote_addr or '')}"[:64])


def add_headers(response: Response) -> Response:
    """What is left, for whoever paces its requests."""
    for name, value in g.get("rate", ()):
        response.headers.add(name, value)
    return response


def _count(policy: str, name: str) -> None:
    limit: RateLimit = current_app.extensions["rate_limits"][policy]
    if not limit.limit:
        return
    allowed, remaining, seconds = limit.take(name)
    g.rate = (
        ("RateLimit-Policy", f'"{policy}";q={limit.limit};w={WINDOW}'),
        ("RateLimit", f'"{policy}";r={remaining};t={seconds}'),
    )
    if not allowed:
        detail = f"More than {limit.limit} requests within {WINDOW} seconds; try again in {seconds}."
        problem = Problem(429, "rate_limited", detail)
        problem.headers = (*g.rate, ("Retry-After", str(seconds)))
        raise problem

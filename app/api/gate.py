"""ICTPBX's question before each call: `GET /billing/gate`. Its words are its own dialplan's."""

import hashlib

from flask import Flask, Response, current_app, g, request
from sqlalchemy.exc import OperationalError, TimeoutError as PoolTimeout

from app.api.blueprint import answer, require_key
from app.api.limits import add_headers
from app.api.problems import Problem
from app.core.clock import utc_now
from app.db import run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.metering import calls
from app.domain.metering.decision import Call
from app.pbx.text import storable

MOST_REMEMBERED = 1_000
_REASONS = {
    "": "ok",
    "quota_exhausted": "quota-exceeded",
    "balance_exhausted": "no-credit",
    "concurrency_reached": "max-concurrent-calls",
    "unknown_tenant": "tenant-not-found",
    "tenant_suspended": "no-credit",
    "no_subscription": "no-credit",
}
_LIMITED = "rate-limited"
REASONS = sorted({*_REASONS.values(), _LIMITED})


def init_app(app: Flask) -> None:
    """Register `/billing/gate`; the keys whose source lets calls pass while the database is away are remembered."""
    app.extensions["gate_fails_open"] = {}
    app.add_url_rule("/billing/gate", "gate", gate)


def gate() -> Response:
    """`allowed` and `reason`. While the database is away: closed, unless the source is set to fail open."""
    try:
        key = require_key("calls", request.args.get("key"))
        g.key = key
        _remember(accounts.settings_of(key.source).fail_open)
        tenant = storable(request.args.get("tenant_id", "")[:255])
        call = Call(tenant, "", "fax" if request.args.get("type") == "fax" else "voice")
        source_id, now = key.source.id, utc_now()
        decision = run_in_transaction(lambda session: calls.may_call(session, source_id, call, now=now))
    except Problem as problem:  # a key that was good once and is not any more opens nothing later either
        if problem.status == 429:
            return _limited(problem)
        current_app.extensions["gate_fails_open"].pop(_presented(), None)
        raise
    except (OperationalError, PoolTimeout) as error:
        current_app.logger.error("gate without database: %s", error)
        return _without_database()
    return add_headers(answer({"allowed": decision.allowed, "reason": _REASONS[decision.reason]}))


def _limited(problem: Problem) -> Response:
    """In the words of the dialplan, too."""
    response = answer({"allowed": False, "reason": _LIMITED}, 429)
    response.headers.extend(problem.headers)
    return response


def _without_database() -> Response:
    if current_app.extensions["gate_fails_open"].get(_presented()):
        return answer({"allowed": True, "reason": "ok"})
    return answer({"allowed": False, "reason": "no-credit"}, 503)


def _remember(fails_open: bool) -> None:
    remembered: dict[str, bool] = current_app.extensions["gate_fails_open"]
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
    remembered[_presented()] = fails_open


def _presented() -> str:
    """The key as it was sent, hashed: what is remembered opens nothing."""
    sent = request.args.get("key") or request.headers.get("Authorization", "")
    return hashlib.sha256(sent.encode("utf-8", "surrogateescape")).hexdigest()

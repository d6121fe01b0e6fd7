"""From a password that fits to being signed in: at once, or by way of the second factor."""

import hashlib
from datetime import timedelta

from flask import Response, session, url_for

from app.core.clock import utc_now
from app.db import db
from app.domain.accounts.models import Account
from app.web.guards import home_url, sign_in
from app.web.kit.render import redirect_to

PATIENCE = timedelta(minutes=10)
_HALF = "half_signed_in"  # in the session, which is signed: it opens the second step and nothing else


def enter(account: Account, target: str | None) -> Response:
    """Sign in and go on to `target`; whoever has a second factor is asked for it first."""
    if account.has_second_factor:
        session[_HALF] = f"{account.id} {int(utc_now().timestamp())} {_stamp(account)}"
        return redirect_to(url_for("auth.second", next=target))
    return complete(account, target)


def half_signed_in() -> Account | None:
    """Whose password this browser has proven, for ten minutes and as long as the password is the same."""
    found = str(session.get(_HALF, "")).split()
    if len(found) != 3 or utc_now().timestamp() > int(found[1]) + PATIENCE.total_seconds():
        return None
    account = db.session.get(Account, int(found[0]))
    if account is None or account.disabled_at is not None or _stamp(account) != found[2]:
        return None
    return account


def complete(account: Account, target: str | None) -> Response:
    """Sign in for good and go on."""
    sign_in(account)
    return redirect_to(target or home_url())


def _stamp(account: Account) -> str:
    """Tells one password of the account from another, and nothing about either."""
    return hashlib.sha256(account.password_hash.encode()).hexdigest()[:16]

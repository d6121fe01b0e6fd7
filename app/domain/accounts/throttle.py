"""Attempts to prove who one is, and when there were too many. See README.md, "Throttle"."""

import ipaddress
import math
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from app.core.errors import Throttled
from app.core.ids import new_id
from app.db import db, run_in_transaction
from app.domain.accounts.models import Account, SignIn, SignInAttempt

WINDOW = timedelta(minutes=15)
PER_ACCOUNT_AND_ADDRESS = 5
PER_ADDRESS = 20
PER_ACCOUNT = 50
ATTEMPTS_KEPT = timedelta(days=1)


def network_of(address: str) -> str:
    """What one customer of an access provider holds: an IPv4 address or an IPv6 /64.

    >>> network_of("::ffff:192.0.2.7"), network_of("2001:db8:1:2:3::4")
    ('192.0.2.7', '2001:db8:1:2::/64')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def count_attempt(who: str, place: str, now: datetime, most: int = PER_ACCOUNT) -> int:
    """Note an attempt as failed, before it is looked at, and return its id. Commits. Raises Throttled."""
    attempt_id = new_id()

    def note(session: Session) -> None:
        session.add(SignInAttempt(id=attempt_id, email=who, address=place, at=now, succeeded=False))

    run_in_transaction(note)
    refuse_if_throttled(db.session(), who, place, now, but=attempt_id, most=most)
    return attempt_id


def accept_attempt(session: Session, attempt_id: int, now: datetime) -> None:
    """The attempt succeeded; those of long ago are forgotten."""
    session.execute(update(SignInAttempt).where(SignInAttempt.id == attempt_id).values(succeeded=True))
    session.execute(delete(SignInAttempt).where(SignInAttempt.at < now - ATTEMPTS_KEPT))


def refuse_if_throttled(
    session: Session, who: str, place: str, now: datetime, *, but: int = 0, most: int = PER_ACCOUNT
) -> None:
    """Raise Throttled where too many attempts but `but` failed within the window; `most` of all those of `who`."""
    by_email, by_place = SignInAttempt.email == who, SignInAttempt.address == place
    free = [
        _free_at(session, PER_ACCOUNT_AND_ADDRESS, now, by_email, by_place, SignInAttempt.id != but),
        _free_at(session, PER_ADDRESS, now, by_place, SignInAttempt.id != but),
        _free_at(session, most, now, by_email, SignInAttempt.id != but),
    ]
    if free[2] and _signed_in_before(session, who, place):
        free[2] = None  # guesses made elsewhere must not lock the owner out of the usual place
    until = max((at for at in free if at), default=None)
    if until:
        seconds = max(1, math.ceil((until - now).total_seconds()))
        raise Throttled("too_many_attempts", "Too many attempts. Try again later.", retry_after=seconds)


def _free_at(session: Session, limit: int, now: datetime, *which: ColumnElement[bool]) -> datetime | None:
    """When fewer than `limit` failures will lie within the window, or None when that is so already."""
    counted = (*which, SignInAttempt.at > now - WINDOW, SignInAttempt.succeeded.is_(False))
    newest = select(SignInAttempt.at).where(*counted).order_by(SignInAttempt.at.desc())
    at = session.scalar(newest.offset(limit - 1).limit(1))
    return at + WINDOW if at else None


def _signed_in_before(session: Session, email: str, place: str) -> bool:
    known = select(SignIn.account_id).join(SignIn.account).where(Account.email == email, SignIn.address == place)
    return session.scalar(known.limit(1)) is not None

"""Challenges that passkeys sign: made without a write, valid ten minutes in one browser, answered once."""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.core.errors import Invalid
from app.db import insert_new
from app.domain.factors.models import SpentChallenge
from app.domain.factors.sealing import derived_key

VALID_FOR = timedelta(minutes=10)  # a page to sign in at may be looked at for a while
_RANDOM, _TIME = 16, 8  # bytes, followed by 32 of HMAC-SHA256


def make(secret_key: str, use: str, *, now: datetime) -> bytes:
    """A challenge for one `use`, which names the browser's session and the purpose."""
    body = secrets.token_bytes(_RANDOM) + int(now.timestamp()).to_bytes(_TIME)
    return body + _signature(secret_key, use, body)


def spend(session: Session, secret_key: str, use: str, challenge: bytes, *, now: datetime) -> None:
    """Accept it, once. Raises Invalid `challenge_over` for one that is old, answered, or of another use."""
    body, signature = challenge[: _RANDOM + _TIME], challenge[_RANDOM + _TIME :]
    made_at = datetime.fromtimestamp(min(int.from_bytes(body[_RANDOM:]), 2**33), UTC)
    is_ours = hmac.compare_digest(signature, _signature(secret_key, use, body))
    if not is_ours or not made_at <= now <= made_at + VALID_FOR or not _note(session, challenge, now):
        raise Invalid("challenge_over", "That took too long. Try again.")


def _note(session: Session, challenge: bytes, now: datetime) -> bool:
    """False when it was noted before."""
    session.execute(delete(SpentChallenge).where(SpentChallenge.spent_at < now - VALID_FOR))
    row = {"challenge_hash": hashlib.sha256(challenge).hexdigest(), "spent_at": now}
    return bool(insert_new(session, SpentChallenge, [row], [SpentChallenge.challenge_hash]))


def _signature(secret_key: str, use: str, body: bytes) -> bytes:
    return hmac.digest(derived_key(secret_key, "challenge"), use.encode() + b"\0" + body, hashlib.sha256)

"""Codes of an authenticator app (RFC 6238: SHA-1, 6 digits, 30 seconds), each accepted once."""

import hmac
from datetime import datetime

import pyotp
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.db import rowcount
from app.domain.factors.models import Totp
from app.domain.factors.sealing import seal, unseal

STEP_SECONDS = 30
WINDOW = (0, -1, 1)  # a clock may be a step off, either way


def draft(session: Session, account_id: int, *, secret_key: str, now: datetime) -> str:
    """A new secret (base32) that counts once `confirm` saw a code of it; takes the place of an earlier draft.

    Raises Conflict `has_totp` when there is one that counts.
    """
    session.execute(delete(Totp).where(Totp.account_id == account_id, Totp.confirmed_at.is_(None)))
    if find(session, account_id) is not None:
        raise Conflict("has_totp", "An authenticator app is set up already. Remove it first.")
    secret = pyotp.random_base32()
    sealed = seal(secret_key, _purpose(account_id), secret)
    session.add(Totp(account_id=account_id, sealed_secret=sealed, last_step=0, created_at=now))
    session.flush()
    return secret


def drafted(session: Session, account_id: int, *, secret_key: str) -> str | None:
    """The secret that waits for its first code, if there is one."""
    row = find(session, account_id)
    return None if row is None or row.confirmed_at else unseal(secret_key, _purpose(account_id), row.sealed_secret)


def setup_uri(secret: str, email: str, issuer: str) -> str:
    """What the QR code says: an otpauth URI with the secret, for this account at this portal."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def confirm(session: Session, account_id: int, code: str, *, secret_key: str, now: datetime) -> None:
    """Let the draft count, proven by a code, which is thereby used. Raises Invalid `wrong_code`."""
    _spend(session, account_id, code, secret_key, now, is_draft=True)


def spend(session: Session, account_id: int, code: str, *, secret_key: str, now: datetime) -> None:
    """Accept a code, once: of two who send it together one is refused. Raises Invalid `wrong_code`."""
    _spend(session, account_id, code, secret_key, now, is_draft=False)


def remove(session: Session, account_id: int) -> bool:
    """Forget the app, or the draft of one. True when it counted."""
    row = session.execute(delete(Totp).where(Totp.account_id == account_id).returning(Totp.confirmed_at)).first()
    return row is not None and row[0] is not None


def find(session: Session, account_id: int) -> Totp | None:
    """The account's app or its draft."""
    return session.scalar(select(Totp).where(Totp.account_id == account_id))


def _spend(session: Session, account_id: int, code: str, secret_key: str, now: datetime, *, is_draft: bool) -> None:
    row = find(session, account_id)
    secret = unseal(secret_key, _purpose(account_id), row.sealed_secret) if row else None
    step = step_of(secret, code, now) if secret else None
    unconfirmed = Totp.confirmed_at.is_(None)
    values = {"last_step": step, "used_at": now, **({"confirmed_at": now} if is_draft else {})}
    used = step is not None and rowcount(
        session.execute(
            update(Totp)
            .where(Totp.account_id == account_id, Totp.last_step < step, unconfirmed if is_draft else ~unconfirmed)
            .values(values)
        )
    )
    if not used:
        raise Invalid("wrong_code", "The code is not right, or it was used before.", field="code")


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The step whose code this is, within the window around `now`; None for a code of no step."""
    typed = "".join(code.split())
    if not (typed.isascii() and typed.isdigit()):
        return None
    app, current = pyotp.TOTP(secret), int(now.timestamp()) // STEP_SECONDS
    steps = [current + offset for offset in WINDOW if hmac.compare_digest(app.generate_otp(current + offset), typed)]
    return steps[0] if steps else None


def _purpose(account_id: int) -> str:
    """A secret is sealed for its account: copied to another row it opens nothing."""
    return f"totp of account {account_id}"

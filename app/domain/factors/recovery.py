"""Recovery codes: ten random ones for the day the phone is lost, each accepted once."""

import base64
import hashlib
import secrets
from datetime import datetime

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.core.errors import Invalid
from app.db import rowcount
from app.domain.factors.models import RecoveryCode

COUNT = 10
BYTES = 10  # 80 bits: nobody guesses them, so a slow hash would add nothing


def replace(session: Session, account_id: int, *, now: datetime) -> list[str]:
    """A new set, `xxxx-xxxx-xxxx-xxxx` each, in place of the old one. To be shown once: only hashes are kept."""
    remove(session, account_id)
    codes = [base64.b32encode(secrets.token_bytes(BYTES)).decode().lower() for _ in range(COUNT)]
    rows = [{"account_id": account_id, "code_hash": _hash(code), "created_at": now} for code in codes]
    session.execute(insert(RecoveryCode), rows)
    return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]


def spend(session: Session, account_id: int, code: str, *, now: datetime) -> None:
    """Accept a code, once, however it is spaced. Raises Invalid `wrong_code`."""
    used = session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.account_id == account_id, RecoveryCode.code_hash == _hash(code), RecoveryCode.used_at.is_(None)
        )
        .values(used_at=now)
    )
    if not rowcount(used):
        raise Invalid("wrong_code", "The code is not right, or it was used before.", field="code")


def left(session: Session, account_id: int) -> int:
    """How many are unused."""
    unused = select(func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return session.scalar(unused) or 0


def remove(session: Session, account_id: int) -> None:
    """Forget all codes of the account."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))


def _hash(code: str) -> str:
    bare = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(bare.encode()).hexdigest()

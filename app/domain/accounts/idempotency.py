"""Requests that may come twice under one key: the first answer is kept, and a repeat does nothing again.

A request claims its key before it acts. Its answer is written by the transaction of the act itself, so a key
without an answer has done nothing; a claim left behind by a process that died can be taken over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.core.ids import new_id
from app.db import LostRace, rowcount
from app.domain.accounts.models import IdempotencyKey

KEPT_FOR = timedelta(hours=24)
CLAIMED_FOR = timedelta(minutes=2)  # longer than any request runs


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to act under a key, for as long as nobody takes it over."""

    source_id: int
    key: str
    claim_id: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first request was answered."""

    status: int
    content_type: str
    body: str


def claim(session: Session, source_id: int, key: str, request_hash: str, *, now: datetime) -> Claim | Answer:
    """The right to act, or the answer of the request that came first.

    Raises Invalid `idempotency_key_reused` when that was another request, Conflict `request_running` while it has
    no answer yet, LostRace when a concurrent request claimed the key first.
    """
    mine = Claim(source_id, key, new_id())
    session.execute(
        delete(IdempotencyKey).where(IdempotencyKey.source_id == source_id, IdempotencyKey.claimed_at < now - KEPT_FOR)
    )
    row = session.execute(
        select(IdempotencyKey).where(IdempotencyKey.source_id == source_id, IdempotencyKey.key == key)
    ).scalar_one_or_none()
    if row is None:
        session.execute(
            insert(IdempotencyKey).values(
                source_id=source_id, key=key, request_hash=request_hash, claim_id=mine.claim_id, claimed_at=now
            )
        )
        return mine
    if row.request_hash != request_hash:
        raise Invalid("idempotency_key_reused", "This Idempotency-Key came with another request before.")
    if row.status is not None:
        return Answer(row.status, row.content_type, row.body)
    if row.claimed_at > now - CLAIMED_FOR:
        raise Conflict("request_running", "A request with this Idempotency-Key is still running.")
    _change(session, Claim(source_id, key, row.claim_id), claim_id=mine.claim_id, claimed_at=now)
    return mine


def keep(session: Session, claim: Claim, answer: Answer) -> None:
    """Store the answer, in the transaction of the act. Raises LostRace when the claim was taken over."""
    _change(session, claim, status=answer.status, content_type=answer.content_type, body=answer.body)


def release(session: Session, claim: Claim) -> None:
    """Forget the claim: nothing was done, and the next request may try."""
    session.execute(delete(IdempotencyKey).where(*_of(claim)))


def _change(session: Session, claim: Claim, **values: object) -> None:
    if rowcount(session.execute(update(IdempotencyKey).where(*_of(claim)).values(**values))) != 1:
        raise LostRace


def _of(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The row of the claim as conditions, as long as it is this claim's."""
    return (
        IdempotencyKey.source_id == claim.source_id,
        IdempotencyKey.key == claim.key,
        IdempotencyKey.claim_id == claim.claim_id,
        IdempotencyKey.status.is_(None),
    )

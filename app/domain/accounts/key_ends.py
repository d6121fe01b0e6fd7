"""Keys that end soon: whoever may exchange them hears of it once, before a switch is refused."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from app.domain.accounts.models import ApiKey
from app.domain.jobs import service as jobs

MAIL = "mail.key"  # a job: tells of one key
AHEAD = timedelta(days=14)


def warn(session: Session, *, now: datetime) -> None:
    """Ask for a mail about each key that ends within AHEAD; one for each end that it is given."""
    found = session.execute(select(ApiKey.id, ApiKey.expires_at).where(*_ends_soon(now)))
    payloads = {
        f"{MAIL}/{key_id}/{ends_at:%Y-%m-%dT%H:%M:%S}": {"key_id": key_id} for key_id, ends_at in found if ends_at
    }
    jobs.enqueue_many(session, MAIL, payloads, now=now)


def ending(session: Session, key_id: int, *, now: datetime) -> ApiKey | None:
    """The key, if it still ends soon: not exchanged, revoked or given another end meanwhile."""
    return session.scalar(select(ApiKey).where(ApiKey.id == key_id, *_ends_soon(now)))


def _ends_soon(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        ApiKey.expires_at > now,
        ApiKey.expires_at <= now + AHEAD,
        ApiKey.replaced_by.is_(None),
        or_(ApiKey.revoked_at.is_(None), ApiKey.revoked_at > now),
    )

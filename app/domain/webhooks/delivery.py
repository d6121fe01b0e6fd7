"""Messages on their way: who may deliver one, what came of it, when it is tried again."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, or_, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.webhooks import endpoints
from app.domain.webhooks.models import WebhookAttempt, WebhookEndpoint, WebhookMessage

# After the n-th attempt it waits so long, and up to a tenth more, so that what failed together does not come back
# together. Source: standardwebhooks.com, "Retry schedule".
DELAYS = (
    timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=5),
    timedelta(hours=10), timedelta(hours=14), timedelta(hours=20), timedelta(hours=24),
)  # fmt: skip
MAX_ATTEMPTS = len(DELAYS) + 1
PATIENCE = timedelta(days=5)  # an endpoint that takes nothing for so long is turned off
KEPT_FOR = timedelta(days=90)  # what is delivered or given up; so long its key is taken
PAGE_SIZE = 20
MAX_ANSWER = 1_000
_GONE = 410
SYSTEM = "Ringplan"  # who acts where nobody does


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that one worker may deliver until `leased_until`, which also tells its claim from any other."""

    endpoint_id: int
    id: int
    attempts: int  # this one included
    leased_until: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to: an HTTP status and the beginning of the answer, or `problem` in words."""

    status: int | None
    duration_ms: int
    answer: str = ""
    problem: str = ""

    @property
    def is_success(self) -> bool:
        """2xx alone is success."""
        return not self.problem and self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages newest first with their attempts, and where the next page begins (None at the end)."""

    messages: list[tuple[WebhookMessage, list[WebhookAttempt]]]
    after: tuple[int] | None


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Whether a message waits to be sent: a read, so that an idle worker takes no write lock."""
    return session.scalar(select(WebhookMessage.id).where(*_due(now)).limit(1)) is not None


def claim(session: Session, *, now: datetime, lease: timedelta) -> Claimed | None:
    """The message that waits longest, this worker's own until `now + lease`; None when nothing is due.

    One at a time of each endpoint, and those last that take nothing anyway: a slow one holds up itself alone.
    """
    takes_them = WebhookEndpoint.failing_since.is_(None)
    return _claim(session, takes_them, now, lease) or _claim(session, ~takes_them, now, lease)


def _claim(session: Session, of_these: ColumnElement[bool], now: datetime, lease: timedelta) -> Claimed | None:
    busy = aliased(WebhookMessage)
    first = (
        select(WebhookMessage.endpoint_id, WebhookMessage.id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookMessage.endpoint_id)
        .where(
            *_due(now),
            WebhookEndpoint.disabled_at.is_(None),
            of_these,
            ~select(busy.id).where(busy.endpoint_id == WebhookMessage.endpoint_id, busy.leased_until > now).exists(),
        )
        # In the order of their index, so that the first that fits is the last that is looked at.
        .order_by(WebhookMessage.next_at, WebhookMessage.endpoint_id, WebhookMessage.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=WebhookMessage)
        .cte("first")
    )
    row = session.execute(
        update(WebhookMessage)
        .where(WebhookMessage.endpoint_id == first.c.endpoint_id, WebhookMessage.id == first.c.id)
        .values(leased_until=now + lease, attempts=WebhookMessage.attempts + 1)
        .returning(WebhookMessage.endpoint_id, WebhookMessage.id, WebhookMessage.attempts)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Claimed(row.endpoint_id, row.id, row.attempts, now + lease)


def read(session: Session, claimed: Claimed) -> tuple[WebhookMessage, WebhookEndpoint] | None:
    """What is to be sent, and where to; None: it was removed meanwhile."""
    row = session.execute(
        select(WebhookMessage, WebhookEndpoint)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookMessage.endpoint_id)
        .where(_key() == (claimed.endpoint_id, claimed.id))
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def body_of(message: WebhookMessage) -> bytes:
    """The JSON that is sent: the same bytes at each attempt."""
    told = {"tenant": message.tenant} if message.tenant else {}
    content: dict[str, Any] = {
        "type": message.type, "timestamp": message.occurred_at.isoformat(), "data": told | message.data
    }  # fmt: skip
    return msgspec.json.encode(content)


def note(session: Session, claimed: Claimed, outcome: Outcome, *, now: datetime) -> None:
    """Keep what came of an attempt, and when the next one is due; of a claim that was lost the attempt alone.

    410 turns the endpoint off, as do PATIENCE of nothing but failures.
    """
    waits = None if outcome.is_success else _next_at(claimed.attempts, now)
    noted = session.execute(
        update(WebhookMessage)
        .where(_key() == (claimed.endpoint_id, claimed.id), WebhookMessage.leased_until == claimed.leased_until)
        .values(leased_until=None, next_at=waits, delivered_at=now if outcome.is_success else None)
        .execution_options(synchronize_session=False)
    )
    if rowcount(noted) != 1 and session.get(WebhookMessage, (claimed.endpoint_id, claimed.id)) is None:
        return  # removed meanwhile, with its endpoint
    session.add(
        WebhookAttempt(
            endpoint_id=claimed.endpoint_id,
            message_id=claimed.id,
            id=new_id(),
            at=now,
            status=outcome.status,
            duration_ms=outcome.duration_ms,
            answer=outcome.answer[:MAX_ANSWER],
            problem="" if outcome.is_success else (outcome.problem or f"HTTP {outcome.status}")[:255],
        )
    )
    session.flush()
    _note_health(session, claimed.endpoint_id, outcome, now)


def find(
    session: Session, endpoint: WebhookEndpoint, *, state: str = "", after: int | None = None, most: int = PAGE_SIZE
) -> MessagePage:
    """The endpoint's messages, newest first, of one state when named. Two statements."""
    statement = (
        select(WebhookMessage)
        .where(WebhookMessage.endpoint_id == endpoint.id, *_states().get(state, ()))
        .order_by(WebhookMessage.id.desc())
        .limit(most + 1)
    )
    if after is not None:
        statement = statement.where(WebhookMessage.id < after)
    rows = session.scalars(statement).all()
    shown = rows[:most]
    attempts: dict[int, list[WebhookAttempt]] = {row.id: [] for row in shown}
    for attempt in session.scalars(
        select(WebhookAttempt)
        .where(WebhookAttempt.endpoint_id == endpoint.id, WebhookAttempt.message_id.in_(list(attempts)))
        .order_by(WebhookAttempt.id.desc())
    ):
        attempts[attempt.message_id].append(attempt)
    after_this = (shown[-1].id,) if len(rows) > most else None
    return MessagePage([(row, attempts[row.id]) for row in shown], after_this)


def replay(session: Session, endpoint: WebhookEndpoint, message_id: int, *, actor: str, now: datetime) -> None:
    """Send a delivered or failed message again, with all its attempts.

    Raises NotFound, Conflict (`message_waiting`, `endpoint_disabled`).
    """
    _check_enabled(endpoint)
    if session.get(WebhookMessage, (endpoint.id, message_id)) is None:
        raise NotFound("unknown_message", "There is no such message.")
    if not _send_again(session, endpoint, now, WebhookMessage.id == message_id):
        raise Conflict("message_waiting", "This message waits to be sent already.")
    _record(session, endpoint, actor, now, message=message_id)


def replay_failed(session: Session, endpoint: WebhookEndpoint, since: datetime, *, actor: str, now: datetime) -> int:
    """Send everything again that happened since then and failed; returns how many. Raises as `replay`."""
    _check_enabled(endpoint)
    count = _send_again(
        session, endpoint, now, WebhookMessage.delivered_at.is_(None), WebhookMessage.occurred_at >= since
    )
    if count:
        _record(session, endpoint, actor, now, messages=count, since=since.isoformat())
    return count


def forget(session: Session, *, now: datetime) -> None:
    """Drop what was delivered or given up long ago."""
    old = (
        select(WebhookMessage.endpoint_id, WebhookMessage.id)
        .where(WebhookMessage.occurred_at < now - KEPT_FOR, WebhookMessage.next_at.is_(None))
        .limit(10_000)
    )
    keys = [tuple(row) for row in session.execute(old)]
    for endpoint_id in {key[0] for key in keys}:
        ids = [key[1] for key in keys if key[0] == endpoint_id]
        of_messages = (WebhookAttempt.endpoint_id == endpoint_id, WebhookAttempt.message_id.in_(ids))
        session.execute(delete(WebhookAttempt).where(*of_messages).execution_options(synchronize_session=False))
        messages = (WebhookMessage.endpoint_id == endpoint_id, WebhookMessage.id.in_(ids))
        session.execute(delete(WebhookMessage).where(*messages).execution_options(synchronize_session=False))


def _note_health(session: Session, endpoint_id: int, outcome: Outcome, now: datetime) -> None:
    endpoint = session.get_one(WebhookEndpoint, endpoint_id, populate_existing=True)
    if outcome.is_success:
        endpoint.failing_since = None
    elif endpoint.failing_since is None:
        endpoint.failing_since = now
    session.flush()
    if outcome.status == _GONE:
        endpoints.disable(session, endpoint_id, endpoints.GONE, actor=SYSTEM, now=now)
    elif endpoint.failing_since is not None and endpoint.failing_since <= now - PATIENCE:
        endpoints.disable(session, endpoint_id, endpoints.FAILING, actor=SYSTEM, now=now)


def _next_at(attempts: int, now: datetime) -> datetime | None:
    if attempts >= MAX_ATTEMPTS:
        return None
    return now + DELAYS[attempts - 1] * (1 + secrets.randbelow(101) / 1000)


def _send_again(session: Session, endpoint: WebhookEndpoint, now: datetime, *which: ColumnElement[bool]) -> int:
    again = session.execute(
        update(WebhookMessage)
        .where(WebhookMessage.endpoint_id == endpoint.id, WebhookMessage.next_at.is_(None), *which)
        .values(next_at=now, attempts=0, delivered_at=None, leased_until=None)
        .execution_options(synchronize_session=False)
    )
    return rowcount(again)


def _check_enabled(endpoint: WebhookEndpoint) -> None:
    if endpoint.disabled_at is not None:
        raise Conflict("endpoint_disabled", "This endpoint is turned off; turn it on first.")


def _record(session: Session, endpoint: WebhookEndpoint, actor: str, now: datetime, **details: Any) -> None:
    endpoints.record(session, "webhook.replay", endpoint, actor, now, **details)


def _key() -> Any:
    return tuple_(WebhookMessage.endpoint_id, WebhookMessage.id)


def _due(now: datetime) -> tuple[ColumnElement[bool], ...]:
    is_free = or_(WebhookMessage.leased_until.is_(None), WebhookMessage.leased_until <= now)
    return WebhookMessage.next_at <= now, is_free


def _states() -> dict[str, tuple[ColumnElement[bool], ...]]:
    waits = WebhookMessage.next_at.is_not(None)
    return {
        "waiting": (waits,),
        "delivered": (WebhookMessage.delivered_at.is_not(None),),
        "failed": (~waits, WebhookMessage.delivered_at.is_(None)),
    }

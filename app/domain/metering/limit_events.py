"""Tell endpoints that a limit was reached: once for a meter and period, however much is refused after that."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.domain.metering.models import NO_PERIOD
from app.domain.webhooks import events
from app.domain.webhooks.events import Event

BALANCE_EXHAUSTED = "balance_exhausted"  # of what a tenant paid in advance
USED_UP = "used_up"  # nothing was refused: usage that was reported took the last of it


@dataclass(frozen=True, slots=True)
class AtLimit:
    """A meter at its limit. `reason` is that of the refusal, or USED_UP; `total` is included and carried in."""

    tenant_id: int
    resource_code: str
    period_on: str  # ISO 8601
    reason: str
    total: int
    used: int
    on_hold: int = 0


def tell(session: Session | Connection, reached: Iterable[AtLimit], *, now: datetime) -> None:
    """Say so where somebody listens; what has no period, such as calls at once or money, at most once a day (UTC)."""
    events.tell(session, events.LIMIT_REACHED, (_as_event(each, now) for each in reached), now=now)


def _as_event(limit: AtLimit, now: datetime) -> Event:
    has_period = limit.period_on != str(NO_PERIOD)
    when = limit.period_on if has_period else f"day {now:%Y-%m-%d}"
    what = limit.resource_code
    if limit.reason == BALANCE_EXHAUSTED:  # one for all resources, and filled up at any time
        what, when = "balance", f"day {now:%Y-%m-%d}"
    data = {
        "resource": limit.resource_code,
        "period_on": limit.period_on if has_period else None,
        "reason": limit.reason,
        "total": limit.total,
        "used": limit.used,
        "on_hold": limit.on_hold,
    }
    return Event(limit.tenant_id, f"{limit.tenant_id}/{what}/{when}", data)

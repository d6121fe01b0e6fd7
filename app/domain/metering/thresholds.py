"""When use reaches a share of what is there: noted once per share and period, and told of."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, select, tuple_
from sqlalchemy.orm import Session

from app.db import insert_new
from app.domain.catalog.models import Resource
from app.domain.jobs import service as jobs
from app.domain.metering import limit_events
from app.domain.metering.limit_events import AtLimit
from app.domain.metering.models import ThresholdCrossing
from app.domain.tenants.models import Tenant
from app.domain.webhooks import events
from app.domain.webhooks.events import Event

MAIL = "threshold_mail"  # the kind of the job that tells of it
MOST = 6
_KEY = (
    ThresholdCrossing.tenant_id,
    ThresholdCrossing.resource_code,
    ThresholdCrossing.period_on,
    ThresholdCrossing.percent,
)
_ABOUT = (
    select(ThresholdCrossing, Resource, Tenant)
    .join(Resource, Resource.code == ThresholdCrossing.resource_code)
    .join(Tenant, Tenant.id == ThresholdCrossing.tenant_id)
)
_NEWEST_FIRST = (
    ThresholdCrossing.crossed_at.desc(),
    ThresholdCrossing.period_on.desc(),
    ThresholdCrossing.percent.desc(),
)


@dataclass(frozen=True, slots=True)
class Move:
    """A meter's use before and after, base units; `total` is what is included + carried in."""

    tenant_id: int
    resource_code: str
    period_on: str  # ISO 8601
    before: int
    after: int
    total: int
    thresholds: tuple[int, ...]  # percent

    @property
    def crossed(self) -> list[int]:
        """The thresholds below which it was and which it has reached; none of nothing."""
        if self.total <= 0:
            return []
        return [each for each in self.thresholds if self.before * 100 < each * self.total <= self.after * 100]

    @property
    def fills(self) -> bool:
        """Whether it takes the last that was left."""
        return self.before < self.total <= self.after


@dataclass(frozen=True, slots=True)
class Crossed:
    """A crossing with what it is about."""

    crossing: ThresholdCrossing
    resource: Resource
    tenant: Tenant


def as_read(stored: str | list[int]) -> tuple[int, ...]:
    """A tenant's thresholds out of a row that was read without the ORM: SQLite gives JSON as text."""
    return tuple(json.loads(stored) if isinstance(stored, str) else stored)


def note_crossed(connection: Connection, moves: Iterable[Move], *, now: datetime) -> None:
    """Note what the moves crossed, and ask for one mail and webhook per meter: about the highest that is new.

    In the transaction that moves the meters. No statement where nothing was crossed.
    """
    moves = list(moves)
    limit_events.tell(connection, (_full(move) for move in moves if move.fills), now=now)
    rows = [
        {
            "tenant_id": move.tenant_id,
            "resource_code": move.resource_code,
            "period_on": date.fromisoformat(move.period_on),
            "percent": percent,
            "crossed_at": now,
            "used": move.after,
            "total": move.total,
        }
        for move in moves
        for percent in move.crossed
    ]
    if not rows:
        return
    highest: dict[tuple[int, str, date], int] = {}
    for new in insert_new(connection, ThresholdCrossing, rows, _KEY):
        meter = (new.tenant_id, new.resource_code, new.period_on)
        highest[meter] = max(new.percent, highest.get(meter, 0))
    reached = (row for row in rows if highest.get(_meter_of(row)) == row["percent"])
    events.tell(connection, events.THRESHOLD_REACHED, map(_as_event, reached), now=now)
    for (tenant_id, code, period_on), percent in highest.items():
        key = f"{MAIL}/{tenant_id}/{code}/{period_on}/{percent}"
        payload = {"tenant_id": tenant_id, "resource_code": code, "period_on": str(period_on), "percent": percent}
        jobs.enqueue(connection, MAIL, key, payload, now=now)


def _full(move: Move) -> AtLimit:
    return AtLimit(move.tenant_id, move.resource_code, move.period_on, limit_events.USED_UP, move.total, move.after)


def _meter_of(row: dict[str, Any]) -> tuple[int, str, date]:
    return row["tenant_id"], row["resource_code"], row["period_on"]


def _as_event(row: dict[str, Any]) -> Event:
    tenant_id, code, period_on = _meter_of(row)
    data = {
        "resource": code,
        "period_on": period_on.isoformat(),
        "percent": row["percent"],
        "used": row["used"],
        "total": row["total"],
    }
    return Event(tenant_id, f"{tenant_id}/{code}/{period_on}/{row['percent']}", data)


def of_period(session: Session, tenant_id: int, period_on: date) -> list[Crossed]:
    """The highest crossing of each resource in a period, newest first. One statement."""
    rows = session.execute(
        _ABOUT.where(ThresholdCrossing.tenant_id == tenant_id, ThresholdCrossing.period_on == period_on).order_by(
            *_NEWEST_FIRST
        )
    )
    return _newest(Crossed(*row) for row in rows)


def get(session: Session, tenant_id: int, resource_code: str, period_on: date, percent: int) -> Crossed:
    """One crossing, which must be there."""
    key = (tenant_id, resource_code, period_on, percent)
    return Crossed(*session.execute(_ABOUT.where(tuple_(*_KEY) == key)).one())


def latest(session: Session, *, most: int = MOST) -> list[Crossed]:
    """The newest crossings of all tenants, each resource of a tenant once. One statement."""
    rows = session.execute(
        _ABOUT.order_by(*_NEWEST_FIRST).limit(most * 10)  # a tenant may cross all its thresholds in one step
    )
    return _newest(Crossed(*row) for row in rows)[:most]


def _newest(found: Iterable[Crossed]) -> list[Crossed]:
    """The newest of each tenant and resource; `found` comes newest first, the highest of a step first."""
    kept: dict[tuple[int, str], Crossed] = {}
    for each in found:
        kept.setdefault((each.crossing.tenant_id, each.crossing.resource_code), each)
    return list(kept.values())

"""May this call go on, and for how long? Grants are holds on meters; README.md, "Call control".

A grant is one conditional upsert of the meter, so that simultaneous calls never get more than what is free.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.core.destinations import blocking_prefix
from app.core.errors import NotFound
from app.core.ids import new_id
from app.core.periods import Interval, period_days
from app.core.quantities import billed_quantity, whole_steps
from app.domain.metering import call_store, holds, limit_events, prepaid, store
from app.domain.metering.call_store import LimitedMeter, Standing
from app.domain.metering.decision import Call, Decision, MetLimit, Terms
from app.domain.metering.holds import CONCURRENT, Change, HoldName
from app.domain.metering.limit_events import BALANCE_EXHAUSTED, AtLimit
from app.domain.metering.models import NO_PERIOD
from app.domain.subscriptions import moves


def authorize(session: Session, source_id: int, call: Call, terms: Terms, *, now: datetime) -> Decision:
    """Grant the call a hold, or refuse it with its reason, which is kept.

    The same call again has the same hold until that expires.
    """
    connection = session.connection()
    row = _find_caller(session, source_id, call, now)
    if row is None:
        return Decision(False, reason="unknown_tenant")
    if row.hold_id is not None and row.expires_at > now:
        return _same_hold(connection, row, call, terms, now)
    if row.prepaid:
        prepaid.lock(connection, row.tenant_id)
    _expire_overdue(session, row, now)
    decision = _decide(connection, row, source_id, call, terms, now)
    if not decision.allowed:
        _keep_refusal(connection, row.tenant_id, source_id, call, decision, now)
    return decision


def may_call(session: Session, source_id: int, call: Call, *, now: datetime) -> Decision:
    """Whether `authorize` would grant it now; holds nothing. A refusal is kept, once a minute."""
    connection = session.connection()
    row = _find_caller(session, source_id, call, now)
    if row is None:
        return Decision(False, reason="unknown_tenant")
    _expire_overdue(session, row, now)
    decision = _look(connection, row, now)
    if not decision.allowed:
        call = replace(call, call_id=now.strftime("gate %Y-%m-%dT%H:%M"))
        _keep_refusal(connection, row.tenant_id, source_id, call, decision, now)
    return decision


def renew(
    session: Session, source_id: int, hold: str, seconds_used: int | None, terms: Terms, *, now: datetime
) -> Decision:
    """More time for a call in progress, out of the meter that its hold is on.

    Without `seconds_used` the call is taken to talk since it was authorised. Raises NotFound (`unknown_hold`).
    """
    connection = session.connection()
    row = _find_hold(session, source_id, hold, now)
    name = HoldName(row.tenant_id, row.id)
    if row.over_at or row.ended_at:
        return Decision(False, hold=name, reason="hold_ended")
    if row.prepaid:
        prepaid.lock(connection, row.tenant_id)
    if reason := _state_reason(row):
        decision = Decision(False, hold=name, reason=reason)
    else:
        decision = _extend(connection, row, name, seconds_used, terms, now)
    if not decision.allowed:
        call = Call("", row.call_id, direction=row.direction, caller=row.caller, callee=row.callee)
        _keep_refusal(connection, row.tenant_id, source_id, call, decision, now)
    return decision


def end(session: Session, source_id: int, hold: str, seconds: int, *, grace: int, now: datetime) -> HoldName:
    """The call hung up after `seconds` of talk: free what it did not use, keep the rest until its CDR comes.

    Ending again changes nothing. Raises NotFound (`unknown_hold`).
    """
    connection = session.connection()
    row = _find_hold(session, source_id, hold, now)
    name = HoldName(row.tenant_id, row.id)
    if row.over_at or row.ended_at:
        return name
    kept = min(row.granted, billed_quantity(seconds, row.first_step, row.next_step))
    if seconds:
        until = now + timedelta(seconds=grace)
        call_store.change_hold(connection, row, granted=kept, expires_at=until, over_at=now)
    else:
        store.end_holds(connection, [name], "released", now=now)
    freed = Change(0, row.granted - kept)
    holds.free(
        connection,
        {
            (row.tenant_id, row.resource_code, str(row.period_on)): freed,
            (row.tenant_id, CONCURRENT, str(NO_PERIOD)): Change(-1, 0),
        },
    )
    return name


def tenant_ids(session: Session, names: Iterable[str]) -> dict[str, int]:
    """The tenants behind these names, in lower case. On SQLite none: there is one writer, and no order to keep."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        return {}
    return call_store.tenant_ids(connection, names)


def _decide(connection: Connection, row: Any, source_id: int, call: Call, terms: Terms, now: datetime) -> Decision:
    """Tenant, subscription, destination, concurrency, quota: in this order."""
    if reason := _state_reason(row) or _destination_reason(row, call):
        return Decision(False, reason=reason)
    calls = LimitedMeter.of_calls(row)
    if call_store.take(connection, calls, used=1) is None:
        standing = call_store.standing(connection, calls)
        return Decision(False, reason="concurrency_reached", limit=MetLimit.of(calls, standing, 1))
    meter = LimitedMeter.of(row, _period_on(row, now))
    wanted = _wanted(row, call, terms)
    granted, standing = _reserve(connection, meter, row, wanted)
    if wanted and not granted:
        holds.free(connection, {(row.tenant_id, CONCURRENT, str(NO_PERIOD)): Change(-1, 0)})
        return Decision(False, reason=_exhausted(meter), limit=MetLimit.of(meter, standing, row.first_step))
    seconds = granted if granted and call.kind == "voice" else terms.seconds
    name, expires_at = HoldName(row.tenant_id, new_id()), now + timedelta(seconds=seconds + terms.grace)
    call_store.insert_hold(
        connection,
        tenant_id=name.tenant_id,
        id=name.id,
        source_id=source_id,
        call_id=call.call_id,
        resource_code=meter.resource_code,
        period_on=meter.period_on,
        granted=granted,
        direction=call.direction,
        caller=call.caller[:64],
        callee=call.callee[:64],
        created_at=now,
        expires_at=expires_at,
    )
    return Decision(True, seconds, name, expires_at, standing.remaining(meter.included))


def _same_hold(connection: Connection, row: Any, call: Call, terms: Terms, now: datetime) -> Decision:
    """What the call was granted: asked twice is granted once."""
    most = row.granted if row.granted and call.kind == "voice" else terms.seconds
    seconds = min(most, math.ceil((row.expires_at - now).total_seconds()))
    standing = call_store.standing(connection, LimitedMeter.of(row, _period_on(row, now)))
    name = HoldName(row.tenant_id, row.hold_id)
    return Decision(True, seconds, name, row.expires_at, standing.remaining(row.included))


def _look(connection: Connection, row: Any, now: datetime) -> Decision:
    """The checks of `_decide` without taking anything."""
    if reason := _state_reason(row):
        return Decision(False, reason=reason)
    voice = LimitedMeter.of(row, _period_on(row, now))
    for reason, meter, limiting, least in (
        ("concurrency_reached", LimitedMeter.of_calls(row), LimitedMeter.of_calls(row), 1),
        (_exhausted(voice), voice, _limited(connection, voice, row, row.first_step), row.first_step),
    ):
        standing = call_store.standing(connection, meter)
        if limiting.blocks_at is not None and standing.free(limiting.blocks_at) < least:
            return Decision(False, reason=reason, limit=MetLimit.of(meter, standing, least))
    return Decision(True)


def _wanted(row: Any, call: Call, terms: Terms) -> int:
    """Base units to reserve: whole steps of what is asked, one page of a fax, nothing for an unmetered direction."""
    if call.kind == "fax":
        return int(row.first_step)
    if call.direction not in terms.metered_directions:
        return 0
    return max(int(row.first_step), whole_steps(terms.seconds, row.first_step, row.next_step))


def _extend(
    connection: Connection, row: Any, name: HoldName, seconds_used: int | None, terms: Terms, now: datetime
) -> Decision:
    meter = LimitedMeter.of(row, row.period_on)
    if row.granted and row.resource_code == holds.RESOURCES["voice"]:
        used = math.ceil((now - row.created_at).total_seconds()) if seconds_used is None else seconds_used
        wanted = billed_quantity(used + terms.seconds, row.first_step, row.next_step) - row.granted
        extra, standing = _reserve(connection, meter, row, wanted, row.granted)
        seconds = min(row.granted + extra - used, terms.seconds)
    else:  # a fax is counted in pages, an unmetered direction not at all: time is free
        extra, standing, seconds = 0, call_store.standing(connection, meter), terms.seconds
    if seconds <= 0:
        if extra:  # less than what it talked beyond its grant already: of no use to it
            holds.free(connection, {(row.tenant_id, row.resource_code, str(row.period_on)): Change(0, extra)})
            standing = call_store.standing(connection, meter)
        return Decision(False, hold=name, reason=_exhausted(meter), limit=MetLimit.of(meter, standing, row.next_step))
    expires_at = now + timedelta(seconds=seconds + terms.grace)
    call_store.change_hold(connection, row, granted=row.granted + extra, expires_at=expires_at, over_at=None)
    return Decision(True, seconds, name, expires_at, standing.remaining(meter.included))


def _reserve(
    connection: Connection, meter: LimitedMeter, row: Any, wanted: int, granted: int = 0
) -> tuple[int, Standing]:
    """Put `wanted` on hold, or the whole steps of what is free on top of `granted`.

    Returns how much, perhaps 0, and how the meter stands then.
    """
    meter = _limited(connection, meter, row, wanted)
    while wanted > 0:
        taken = call_store.take(connection, meter, on_hold=wanted)
        if taken is not None or meter.blocks_at is None:
            return wanted, taken or Standing()
        standing = call_store.standing(connection, meter)
        # What was free a moment ago may be another call's by now: take less, never the same again.
        fitting = whole_steps(granted + standing.free(meter.blocks_at), row.first_step, row.next_step) - granted
        wanted = min(wanted - 1, fitting)
    return 0, call_store.standing(connection, meter)


def _expire_overdue(session: Session, row: Any, now: datetime) -> None:
    """End what is due of the tenant's holds, which no sweep has come by yet."""
    while row.overdue and holds.expire(session, now=now, tenant_id=row.tenant_id):
        pass


def _find_caller(session: Session, source_id: int, call: Call, now: datetime) -> Any:
    arguments = (source_id, call.tenant, call.call_id, holds.RESOURCES[call.kind], now)
    row = call_store.find_caller(session.connection(), *arguments)
    if row is not None and row.change_due:
        moves.take_effect(session, now=now, tenant_ids=[row.tenant_id])
        row = call_store.find_caller(session.connection(), *arguments)
    return row


def _find_hold(session: Session, source_id: int, hold: str, now: datetime) -> Any:
    name = HoldName.parse(hold)
    row = name and call_store.find_hold(session.connection(), source_id, *name, now)
    if name and row is not None and row.change_due:
        moves.take_effect(session, now=now, tenant_ids=[row.tenant_id])
        row = call_store.find_hold(session.connection(), source_id, *name, now)
    if row is None:
        raise NotFound("unknown_hold", "No hold of this source has this name.")
    return row


def _state_reason(row: Any) -> str:
    """Why the tenant may not call at all, or nothing."""
    if row.status != "active":
        return "tenant_suspended"
    return "no_subscription" if row.anchor_on is None else ""


def _destination_reason(row: Any, call: Call) -> str:
    """Why the number may not be called, or nothing."""
    blocked = call.direction == "outbound" and blocking_prefix(call.callee, row.blocked_prefixes)
    return "destination_blocked" if blocked else ""


def _period_on(row: Any, now: datetime) -> date:
    today = now.astimezone(ZoneInfo(row.timezone)).date()
    return period_days(row.anchor_on, cast(Interval, row.interval), today)[0]


def _limited(connection: Connection, meter: LimitedMeter, row: Any, wanted: int) -> LimitedMeter:
    """The meter, limited by the money too where what lies beyond its limit is paid in advance."""
    if not row.prepaid or meter.at_limit != "charge" or wanted <= 0:
        return meter
    return prepaid.limit_by_money(connection, meter, row, wanted)


def _exhausted(meter: LimitedMeter) -> str:
    """Why nothing could be reserved on it: what is charged beyond its limit ends with the money alone."""
    return BALANCE_EXHAUSTED if meter.at_limit == "charge" else "quota_exhausted"


def _keep_refusal(
    connection: Connection, tenant_id: int, source_id: int, call: Call, decision: Decision, now: datetime
) -> None:
    limit = decision.limit or MetLimit("", None, 0, 0, 0, 0, NO_PERIOD)
    is_new = call_store.insert_refusal(
        connection,
        tenant_id=tenant_id,
        id=new_id(),
        refused_at=now,
        reason=decision.reason,
        resource_code=limit.resource,
        included=limit.included,
        carried_in=limit.carried_in,
        used=limit.used,
        on_hold=limit.on_hold,
        wanted=limit.wanted,
        source_id=source_id,
        call_id=call.call_id,
        direction=call.direction,
        caller=call.caller[:64],
        callee=call.callee[:255],
    )
    if is_new and limit.included is not None:
        total, period_on = limit.included + limit.carried_in, str(limit.period_on)
        full = AtLimit(tenant_id, limit.resource, period_on, decision.reason, total, limit.used, limit.on_hold)
        limit_events.tell(connection, [full], now=now)

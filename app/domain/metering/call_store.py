"""The statements of call control, as SQL for the driver; see store.py."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from app import driver
from app.db import LostRace
from app.domain.metering import opening
from app.domain.metering.holds import CONCURRENT
from app.domain.metering.models import NO_PERIOD
from app.domain.metering.opening import MeterKey
from app.domain.metering.store import AT_LIMIT


@dataclass(frozen=True, slots=True)
class LimitedMeter:
    """A meter and what limits it now. `included` None is unlimited."""

    tenant_id: int
    resource_code: str
    period_on: date
    included: int | None
    at_limit: str
    rolls_over: bool = False

    @classmethod
    def of(cls, row: Any, period_on: date) -> "LimitedMeter":
        """That of a caller's or a hold's resource, in the period that begins then."""
        at_limit, rolls_over = row.at_limit or "block", bool(row.rolls_over)
        return cls(row.tenant_id, row.resource_code, period_on, row.included, at_limit, rolls_over)

    @classmethod
    def of_calls(cls, row: Any) -> "LimitedMeter":
        """That of the tenant's calls in progress."""
        return cls(row.tenant_id, CONCURRENT, NO_PERIOD, row.calls_included, row.calls_at_limit or "block")

    @property
    def blocks_at(self) -> int | None:
        """What may be taken before the limit blocks, carried over apart; None where it never does."""
        return self.included if self.at_limit == "block" else None


class Standing(NamedTuple):
    """How a meter stands; a meter that is not there yet stands at zero."""

    used: int = 0
    on_hold: int = 0
    carried_in: int = 0

    def free(self, included: int) -> int:
        """What is left of `included`, below zero where more was used."""
        return included + self.carried_in - self.used - self.on_hold

    def remaining(self, included: int | None) -> int | None:
        """What is left, never below zero; None where nothing limits it."""
        return None if included is None else max(0, self.free(included))


_TENANT = f"""
       t.id AS tenant_id, t.status, t.timezone, s.anchor_on, r.interval, c.code AS resource_code, c.first_step,
       c.next_step, c.factor, l.included, {AT_LIMIT} AS at_limit, l.overage_price_micros,
       n.included AS calls_included, n.at_limit AS calls_at_limit,
       EXISTS (SELECT 1 FROM package_limit o WHERE o.resource_code = c.code AND o.rollover_periods > 0) AS rolls_over,
       EXISTS (SELECT 1 FROM prepaid o WHERE o.tenant_id = t.id) AS prepaid, s.pending_at <= :now AS change_due"""
_LIMITS = f"""
LEFT JOIN subscription s ON s.tenant_id = t.id AND s.ended_at IS NULL
LEFT JOIN package p ON p.id = s.package_id
LEFT JOIN package_revision r ON r.id = p.revision_id
LEFT JOIN package_limit l ON l.revision_id = r.id AND l.resource_code = c.code
LEFT JOIN package_limit n ON n.revision_id = r.id AND n.resource_code = '{CONCURRENT}'"""
_CALLER = f"""
SELECT {_TENANT}, t.blocked_prefixes || ' ' || coalesce(r.blocked_prefixes, '') AS blocked_prefixes,
       h.id AS hold_id, h.granted, h.expires_at,
       EXISTS (SELECT 1 FROM hold o WHERE o.ended_at IS NULL AND o.expires_at <= :now AND o.tenant_id = t.id) AS overdue
FROM tenant_name a
JOIN tenant t ON t.id = a.tenant_id
JOIN resource c ON c.code = :resource_code
{_LIMITS}
LEFT JOIN hold h ON h.tenant_id = t.id AND h.source_id = :source_id AND h.call_id = :call_id AND h.ended_at IS NULL
WHERE a.name = :name"""
_TENANT_IDS = "SELECT name, tenant_id FROM tenant_name WHERE name = ANY(:names)"  # asked on PostgreSQL alone
_OF_HOLD = f"""
SELECT {_TENANT}, h.id, h.call_id, h.period_on, h.granted, h.direction, h.caller, h.callee, h.created_at, h.over_at,
       h.ended_at
FROM hold h
JOIN tenant t ON t.id = h.tenant_id
JOIN resource c ON c.code = h.resource_code
{_LIMITS}
WHERE h.tenant_id = :tenant_id AND h.id = :id AND h.source_id = :source_id"""
_HOLDS = {
    "sqlite": _OF_HOLD,
    # Ends and renewals of one hold wait for one another here, before any meter is touched.
    "postgresql": f"{_OF_HOLD} FOR UPDATE OF h",
}
_METER_KEY = "tenant_id = :tenant_id AND resource_code = :resource_code AND period_on = :period_on"
_STANDING = f"SELECT used, on_hold, carried_in FROM meter WHERE {_METER_KEY}"
# A new meter begins with nothing used, so it takes what is included; one that is there, what is left.
_TAKE = """
INSERT INTO meter (tenant_id, resource_code, period_on, used, on_hold, carried_in, records, version)
VALUES (:tenant_id, :resource_code, :period_on, :used, :on_hold, 0, 0, 1)
ON CONFLICT (tenant_id, resource_code, period_on)
DO UPDATE SET used = meter.used + excluded.used, on_hold = meter.on_hold + excluded.on_hold, version = meter.version + 1
WHERE CAST(:blocks_at AS bigint) IS NULL
   OR meter.used + meter.on_hold + excluded.used + excluded.on_hold <= :blocks_at + meter.carried_in
RETURNING used, on_hold, carried_in, version"""
_INSERT_HOLD = """
INSERT INTO hold (tenant_id, id, source_id, call_id, resource_code, period_on, granted, direction, caller, callee,
                  created_at, expires_at, ended_as)
VALUES (:tenant_id, :id, :source_id, :call_id, :resource_code, :period_on, :granted, :direction, :caller, :callee,
        :created_at, :expires_at, '')"""
_CHANGE_HOLD = """
UPDATE hold SET granted = :granted, expires_at = :expires_at, over_at = :over_at
WHERE tenant_id = :tenant_id AND id = :id AND granted = :seen AND over_at IS NULL AND ended_at IS NULL"""
_INSERT_REFUSAL = """
INSERT INTO refusal (tenant_id, id, refused_at, reason, resource_code, included, carried_in, used, on_hold, wanted,
                     source_id, call_id, direction, caller, callee)
VALUES (:tenant_id, :id, :refused_at, :reason, :resource_code, :included, :carried_in, :used, :on_hold, :wanted,
        :source_id, :call_id, :direction, :caller, :callee)
ON CONFLICT DO NOTHING"""


def find_caller(
    connection: Connection, source_id: int, name: str, call_id: str, resource_code: str, now: datetime
) -> Any:
    """The tenant of this name, its package's limits for the call, and the call's open hold if there is one.

    `change_due`: the subscription should have been moved to another package by now.
    """
    values = {"now": now, "source_id": source_id, "call_id": call_id, "resource_code": resource_code}
    return _first(connection, _CALLER, {**values, "name": name.lower()})


def tenant_ids(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """The tenants behind these names, which any case may have."""
    wanted = [name.lower() for name in names]
    return {row.name: row.tenant_id for row in driver.run(connection, _TENANT_IDS, {"names": wanted})[0]}


def find_hold(connection: Connection, source_id: int, tenant_id: int, hold_id: int, now: datetime) -> Any:
    """A source's hold, locked, with its tenant's limits."""
    key = {"tenant_id": tenant_id, "id": hold_id, "source_id": source_id}
    return _first(connection, _HOLDS[connection.dialect.name], {**key, "now": now})


def standing(connection: Connection, meter: LimitedMeter) -> Standing:
    """How the meter stands now; one that is not there yet, how it would open."""
    row = _first(connection, _STANDING, _key(meter))
    if row is not None:
        return Standing(*row)
    return Standing(carried_in=opening.carried_into(connection, _to_open(meter)) if meter.rolls_over else 0)


def take(connection: Connection, meter: LimitedMeter, *, used: int = 0, on_hold: int = 0) -> Standing | None:
    """Add to the meter where its limit lets it: one conditional upsert. None when it does not."""
    wanted, most = used + on_hold, meter.blocks_at
    if most is not None and wanted > most and standing(connection, meter).free(most) < wanted:
        return None
    values = {**_key(meter), "used": used, "on_hold": on_hold, "blocks_at": most}
    row = _first(connection, _TAKE, values)
    if row is None:
        return None
    opened = row.version == 1 and meter.rolls_over
    return Standing(row.used, row.on_hold, opening.carry(connection, _to_open(meter)) if opened else row.carried_in)


def _to_open(meter: LimitedMeter) -> MeterKey:
    return MeterKey(meter.tenant_id, meter.resource_code, meter.period_on)


def insert_hold(connection: Connection, **values: Any) -> None:
    """Write a hold; raises IntegrityError when the call has one by now."""
    driver.run(connection, _INSERT_HOLD, values)


def change_hold(
    connection: Connection, hold: Any, *, granted: int, expires_at: datetime, over_at: datetime | None
) -> None:
    """Change an open hold as `find_hold` saw it. Raises LostRace when it is another by now."""
    _, changed = driver.run(
        connection,
        _CHANGE_HOLD,
        {
            "tenant_id": hold.tenant_id,
            "id": hold.id,
            "granted": granted,
            "expires_at": expires_at,
            "over_at": over_at,
            "seen": hold.granted,
        },
    )
    if changed != 1:
        raise LostRace


def insert_refusal(connection: Connection, **values: Any) -> bool:
    """Keep a refusal; False: the same call was refused for the same reason before."""
    return driver.run(connection, _INSERT_REFUSAL, values)[1] == 1


def _first(connection: Connection, statement: str, values: dict[str, Any]) -> Any:
    rows, _ = driver.run(connection, statement, values)
    return rows[0] if rows else None


def _key(meter: LimitedMeter) -> dict[str, Any]:
    return {"tenant_id": meter.tenant_id, "resource_code": meter.resource_code, "period_on": meter.period_on}

"""The statements of the ingest path, as SQL for the driver: the ORM costs several times the work itself.

On PostgreSQL many rows travel as one JSON parameter, on SQLite as an executemany; either way a batch of a
thousand is a handful of statements. Upserts touch their rows in key order, so that two batches never wait
for one another in a circle.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection

from app import driver

Rows = Sequence[dict[str, Any]]
_encode = msgspec.json.Encoder().encode

# What happens at a limit: in a trial nothing is charged, so what would be stops there.
AT_LIMIT = "CASE WHEN s.status = 'trial' AND l.at_limit = 'charge' THEN 'block' ELSE l.at_limit END"

_SUBSCRIBERS = """
SELECT n.name, t.id AS tenant_id, t.timezone, t.thresholds, s.status = 'trial' AS in_trial, s.starts_on, s.anchor_on,
       s.open_from AS open_on, s.ended_at, r.interval, r.id AS revision_id, s.pending_at <= :now AS change_due
FROM tenant_name n
JOIN tenant t ON t.id = n.tenant_id
LEFT JOIN subscription s ON s.tenant_id = t.id AND {which}
LEFT JOIN package p ON p.id = s.package_id
LEFT JOIN package_revision r ON r.id = p.revision_id
WHERE n.name = ANY(:names)"""

_LIVE = "s.ended_at IS NULL"
_LAST = "s.ended_at = (SELECT max(e.ended_at) FROM subscription e WHERE e.tenant_id = t.id)"

_RULES = """
SELECT c.code, c.kind, c.first_step, c.next_step, l.revision_id, l.included, l.at_limit, l.overage_price_micros,
       EXISTS (SELECT 1 FROM package_limit o WHERE o.resource_code = c.code AND o.rollover_periods > 0) AS rolls_over
FROM resource c LEFT JOIN package_limit l ON l.resource_code = c.code AND l.revision_id = ANY(:revision_ids)
WHERE c.code = ANY(:codes)"""

_KNOWN = """
SELECT external_id, tenant_id, content_hash FROM usage_record
WHERE source_id = :source_id AND external_id = ANY(:external_ids)"""

_RECORD = {
    "tenant_id": "bigint",
    "id": "bigint",
    "source_id": "bigint",
    "external_id": "text",
    "content_hash": "text",
    "resource_code": "text",
    "measured": "bigint",
    "quantity": "bigint",
    "from_allowance": "bigint",
    "from_carried": "bigint",
    "beyond": "bigint",
    "beyond_as": "text",
    "beyond_price_micros": "bigint",
    "occurred_at": "timestamptz",
    "period_on": "date",
    "late": "boolean",
    "received_at": "timestamptz",
    "direction": "text",
    "caller": "text",
    "callee": "text",
    "call_id": "text",
    "attributes": "json",
}
_KEY = {"tenant_id": "bigint", "resource_code": "text", "period_on": "date"}
_QUARANTINED = {
    "id": "bigint",
    "source_id": "bigint",
    "external_id": "text",
    "content_hash": "text",
    "tenant_ref": "text",
    "reason": "text",
    "detail": "text",
    "format": "text",
    "content_type": "text",
    "body": "text",
    "received_at": "timestamptz",
}


def _given(columns: dict[str, str]) -> dict[str, str]:
    """A FROM clause that reads the rows out of one JSON parameter, per dialect."""
    typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    picked = ", ".join(f"value->>'{name}' AS {name}" for name in columns)
    return {
        "postgresql": f"json_to_recordset(:given::json) AS given({typed})",
        "sqlite": f"(SELECT {picked} FROM json_each(:given)) AS given",
    }


def _insert(table: str, columns: dict[str, str], conflict: str) -> dict[str, str]:
    names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
    return {
        "postgresql": f"INSERT INTO {table} ({names}) SELECT {names} FROM {_given(columns)['postgresql']} {conflict}",
        "sqlite": f"INSERT INTO {table} ({names}) VALUES ({marks}) {conflict}",
    }


_SCALARS = itemgetter(*(name for name in _RECORD if name != "attributes"))  # which come last
_INSERT_RECORDS = _insert("usage_record", _RECORD, "ON CONFLICT (tenant_id, source_id, external_id) DO NOTHING")
_KEPT = {**_QUARANTINED, "resolution": "text", "resolved_by": "text"}
_INSERT_QUARANTINED = _insert(
    "quarantined",
    _KEPT,
    "ON CONFLICT (source_id, external_id, content_hash) DO NOTHING",
)
_ADD_TO_METERS = {
    dialect: f"""
INSERT INTO meter (tenant_id, resource_code, period_on, used, on_hold, carried_in, records, version)
SELECT tenant_id, resource_code, period_on, used, freed, 0, records, 1 FROM {given} WHERE true
ORDER BY tenant_id, resource_code, period_on
ON CONFLICT (tenant_id, resource_code, period_on)
DO UPDATE SET used = meter.used + excluded.used, on_hold = meter.on_hold - excluded.on_hold,
              records = meter.records + excluded.records, version = meter.version + 1
RETURNING tenant_id, resource_code, period_on, used, carried_in, version"""
    for dialect, given in _given({**_KEY, "used": "bigint", "freed": "bigint", "records": "bigint"}).items()
}
_ADD_BEYOND = {
    dialect: f"""
INSERT INTO meter_beyond (tenant_id, resource_code, period_on, beyond_as, price_micros, quantity)
SELECT tenant_id, resource_code, period_on, beyond_as, price_micros, quantity FROM {given} WHERE true
ORDER BY tenant_id, resource_code, period_on, beyond_as, price_micros
ON CONFLICT (tenant_id, resource_code, period_on, beyond_as, price_micros)
DO UPDATE SET quantity = meter_beyond.quantity + excluded.quantity"""
    for dialect, given in _given({**_KEY, "beyond_as": "text", "price_micros": "bigint", "quantity": "bigint"}).items()
}
_ADD_TO_DAYS = {
    dialect: f"""
INSERT INTO usage_day (tenant_id, day, resource_code, quantity, records)
SELECT tenant_id, day, resource_code, quantity, records FROM {given} WHERE true
ORDER BY tenant_id, day, resource_code
ON CONFLICT (tenant_id, day, resource_code)
DO UPDATE SET quantity = usage_day.quantity + excluded.quantity, records = usage_day.records + excluded.records"""
    for dialect, given in _given(
        {"tenant_id": "bigint", "day": "date", "resource_code": "text", "quantity": "bigint", "records": "bigint"}
    ).items()
}

_UNREPORTED_BY_CALL = """
SELECT tenant_id, id, call_id FROM hold
WHERE source_id = :source_id AND reported_at IS NULL AND call_id = ANY(:call_ids)"""
# `+id` keeps SQLite from walking the primary key, which holds every call there ever was.
_HOLDS_DUE = """
SELECT tenant_id, id FROM hold
WHERE ended_at IS NULL AND expires_at <= :now{of_tenant} ORDER BY tenant_id, +id LIMIT :most"""
_HOLD_KEY = _given({"tenant_id": "bigint", "id": "bigint"})
# A late CDR says of an ended hold that it came, and changes nothing else: it ended once.
_NOTE_REPORTED = {
    dialect: f"""
UPDATE hold SET reported_at = :now FROM {given}
WHERE hold.tenant_id = given.tenant_id AND hold.id = given.id AND reported_at IS NULL"""
    for dialect, given in _HOLD_KEY.items()
}
_END_HOLDS = {
    dialect: f"""
UPDATE hold SET ended_at = :now, ended_as = :ended_as FROM {given}
WHERE hold.tenant_id = given.tenant_id AND hold.id = given.id AND ended_at IS NULL
RETURNING hold.tenant_id, hold.resource_code, hold.period_on, hold.granted, hold.over_at"""
    for dialect, given in _HOLD_KEY.items()
}


def stamp(connection: Connection, moment: datetime) -> str:
    """A UTC moment as the database stores it: SQLite keeps text without an offset (see app.db.UtcDateTime)."""
    return stamp_of(connection, moment.isoformat())


def stamp_of(connection: Connection, iso: str) -> str:
    """As `stamp`, of a moment's ISO form in UTC."""
    if connection.dialect.name != "sqlite":
        return iso
    text = f"{iso[:10]} {iso[11:-6]}"
    return text if len(text) == 26 else f"{text}.000000"


def subscribers(connection: Connection, names: Iterable[str], now: datetime, *, ended: bool = False) -> list[Any]:
    """Tenant, live subscription (or the last one that ended) and current revision behind each lower-case tenant name.

    `change_due`: the subscription should have been moved to another package, or ended, by now.
    """
    statement = _SUBSCRIBERS.format(which=_LAST if ended else _LIVE)
    return driver.run(connection, statement, {"names": list(names), "now": now})[0]


def rules(connection: Connection, codes: Iterable[str], revision_ids: Iterable[int]) -> list[Any]:
    """These resources with their billing steps, and the limit that each revision sets on them."""
    return driver.run(connection, _RULES, {"codes": list(codes), "revision_ids": list(revision_ids)})[0]


def known_records(connection: Connection, source_id: int, external_ids: Iterable[str]) -> list[Any]:
    """Which of these identities are stored already, for which tenant and with what content."""
    return driver.run(connection, _KNOWN, {"external_ids": list(external_ids), "source_id": source_id})[0]


def insert_records(connection: Connection, rows: Rows) -> int:
    """Insert records, skipping identities that exist; returns how many went in."""
    if connection.dialect.name == "sqlite":
        scalars = [(*_SCALARS(row), _encode(row["attributes"]).decode()) for row in rows]
        return driver.run_each(connection, _INSERT_RECORDS["sqlite"], scalars)
    return driver.run(connection, _INSERT_RECORDS["postgresql"], _given_as(rows))[1]


def insert_quarantined(connection: Connection, row: dict[str, Any]) -> bool:
    """Keep one report aside; False when this very report is kept already."""
    row = {**row, "resolution": "", "resolved_by": ""}
    if connection.dialect.name == "sqlite":
        values = tuple(row[name] for name in _KEPT)
        return driver.run_each(connection, _INSERT_QUARANTINED["sqlite"], [values]) == 1
    return driver.run(connection, _INSERT_QUARANTINED["postgresql"], _given_as([row]))[1] == 1


def add_to_meters(connection: Connection, rows: Rows) -> list[Any]:
    """Add `used` to the meters, made where there are none, and free what was on hold; returns the new totals.

    What is freed is on hold, so its meter exists: the row that an insert would make never holds it.
    """
    return driver.run(connection, _ADD_TO_METERS[connection.dialect.name], _given_as(rows))[0]


def add_beyond(connection: Connection, rows: Rows) -> None:
    """Add up what the limits did not cover, by what becomes of it and its price."""
    driver.run(connection, _ADD_BEYOND[connection.dialect.name], _given_as(rows))


def add_to_days(connection: Connection, rows: Rows) -> None:
    """Add to the daily rollup."""
    driver.run(connection, _ADD_TO_DAYS[connection.dialect.name], _given_as(rows))


def unreported_by_call(connection: Connection, source_id: int, call_ids: Iterable[str]) -> list[Any]:
    """The holds of these calls of a source whose CDR has not come yet."""
    return driver.run(connection, _UNREPORTED_BY_CALL, {"call_ids": list(call_ids), "source_id": source_id})[0]


def holds_due(connection: Connection, now: datetime, tenant_id: int | None, most: int) -> list[Any]:
    """Open holds past their expiry, of one tenant if named."""
    statement = _HOLDS_DUE.format(of_tenant="" if tenant_id is None else " AND tenant_id = :tenant_id")
    return driver.run(connection, statement, {"now": now, "most": most, "tenant_id": tenant_id})[0]


def end_holds(
    connection: Connection, holds: Iterable[tuple[int, int]], ended_as: str, *, now: datetime, reported: bool = False
) -> list[Any]:
    """End those of `holds` (tenant and id) that are open; returns them. `reported`: their CDR has come."""
    keys = _given_as([{"tenant_id": tenant_id, "id": hold_id} for tenant_id, hold_id in holds])
    values, dialect = {"now": now, "ended_as": ended_as, **keys}, connection.dialect.name
    if reported:
        driver.run(connection, _NOTE_REPORTED[dialect], values)
    return driver.run(connection, _END_HOLDS[dialect], values)[0]


def _given_as(rows: Any) -> dict[str, str]:
    return {"given": _encode(rows).decode()}

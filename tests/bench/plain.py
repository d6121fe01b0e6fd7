"""The best plain SQL through the driver for the same rows: record, meter, one transaction a batch."""

import json
import sqlite3
from collections import Counter
from typing import Any

import psycopg

COLUMNS = (
    "tenant_id, id, source_id, external_id, content_hash, resource_code, measured, quantity, from_allowance,"
    " from_carried, beyond, beyond_as, beyond_price_micros, occurred_at, period_on, late, received_at, direction,"
    " caller, callee, call_id, attributes"
).split(", ")
KINDS = dict.fromkeys(COLUMNS, "text") | dict.fromkeys(
    "tenant_id id source_id measured quantity from_allowance from_carried beyond beyond_price_micros".split(), "bigint"
)
KINDS |= {
    "occurred_at": "timestamptz",
    "received_at": "timestamptz",
    "period_on": "date",
    "late": "boolean",
    "attributes": "json",
}
UPSERT = """ON CONFLICT (tenant_id, resource_code, period_on)
DO UPDATE SET used = meter.used + excluded.used, records = meter.records + excluded.records,
version = meter.version + 1"""


class Sqlite:
    """The embedded database with the portal's own pragmas."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=30000",
            "cache_size=-32000",
            "foreign_keys=ON",
        ):
            self.connection.execute(f"PRAGMA {pragma}")

    def write(self, rows: list[dict[str, Any]]) -> None:
        """One transaction: insert or nothing, aggregate here, upsert the meters."""
        run = self.connection
        run.execute("BEGIN IMMEDIATE")
        marks = ", ".join(f":{name}" for name in COLUMNS)
        run.executemany(
            f"INSERT INTO usage_record ({', '.join(COLUMNS)}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows
        )
        used: Counter[tuple[Any, ...]] = Counter()
        records: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            key = (row["tenant_id"], row["resource_code"], row["period_on"])
            used[key] += row["quantity"]
            records[key] += 1
        run.executemany(
            "INSERT INTO meter (tenant_id, resource_code, period_on, used, records, carried_in, version)"
            f" VALUES (?, ?, ?, ?, ?, 0, 1) {UPSERT}",
            [(*key, total, records[key]) for key, total in sorted(used.items())],
        )
        run.execute("COMMIT")


class Postgresql:
    """One statement fed by one JSON parameter."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        typed = ", ".join(f"{name} {kind}" for name, kind in KINDS.items())
        names = ", ".join(COLUMNS)
        self.statement = f"""
WITH given AS (SELECT * FROM json_to_recordset(%s::json) AS g({typed})),
stored AS (INSERT INTO usage_record ({names}) SELECT {names} FROM given ON CONFLICT DO NOTHING
           RETURNING tenant_id, resource_code, period_on, quantity)
INSERT INTO meter (tenant_id, resource_code, period_on, used, records, carried_in, version)
SELECT tenant_id, resource_code, period_on, sum(quantity), count(*), 0, 1 FROM stored GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
{UPSERT}"""

    def write(self, rows: list[dict[str, Any]]) -> None:
        """One autocommitted statement."""
        self.connection.execute(self.statement, (json.dumps(rows),))

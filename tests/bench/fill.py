"""`python -m tests.bench.fill N`: N more usage records into the database of the environment, by set-based SQL.

Half of them belong to the first tenant, the rest to all others alike, spread over the year that ends now; every tenth
second lies beyond a limit. Meters, daily rollup and what is beyond agree, so that `flask verify` finds nothing.
"""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import Connection, text

from app import create_app
from app.core.clock import utc_now
from app.db import db

CHUNK = 250_000  # records of one transaction
YEAR_SECONDS = 365 * 86_400
_DIALECT = {
    "sqlite": {
        "series": "WITH RECURSIVE series(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM series WHERE n + 1 < :last)",
        "at": "strftime('%Y-%m-%d %H:%M:%S.000000', :since + n * CAST(:span AS BIGINT) / :count, 'unixepoch')",
        "month": "strftime('%Y-%m-01', at)",
        "day": "date(occurred_at)",
    },
    "postgresql": {
        "series": "WITH series(n) AS (SELECT generate_series(CAST(:first AS BIGINT), CAST(:last AS BIGINT) - 1))",
        "at": "to_timestamp(:since + n * CAST(:span AS BIGINT) / :count)",
        "month": "CAST(date_trunc('month', at AT TIME ZONE 'UTC') AS DATE)",
        "day": "CAST(occurred_at AT TIME ZONE 'UTC' AS DATE)",
    },
}
_RECORDS = """
INSERT INTO usage_record (
    tenant_id, id, source_id, external_id, content_hash, resource_code, measured, quantity, from_allowance, from_carried,
    beyond, beyond_as, beyond_price_micros, occurred_at, period_on, late, received_at, direction, caller, callee, call_id,
    attributes, reversal_reason)
{series}, event AS (SELECT n, {at} AS at, CASE WHEN n % 10 = 0 THEN 1 ELSE 0 END AS is_beyond FROM series)
SELECT :tenant_id, :base + n, :source_id, 'fill-' || (:base + n), '', 'voice_minutes', 60, 60, 60 - 30 * is_beyond, 0,
       30 * is_beyond, CASE is_beyond WHEN 1 THEN 'charge' ELSE '' END, 20000 * is_beyond, at, {month}, false, at,
       'outbound', '101', '442079460958', '', '{{}}', ''
FROM event"""
_ROLLUPS = (
    """
INSERT INTO meter (tenant_id, resource_code, period_on, used, on_hold, carried_in, records, version)
SELECT tenant_id, resource_code, period_on, sum(quantity), 0, 0, count(*), 1 FROM usage_record
WHERE id >= :base AND id < :end GROUP BY tenant_id, resource_code, period_on
ON CONFLICT (tenant_id, resource_code, period_on)
DO UPDATE SET used = meter.used + excluded.used, records = meter.records + excluded.records, version = meter.version + 1""",
    """
INSERT INTO usage_day (tenant_id, day, resource_code, quantity, records)
SELECT tenant_id, {day}, resource_code, sum(quantity), count(*) FROM usage_record
WHERE id >= :base AND id < :end GROUP BY 1, 2, 3
ON CONFLICT (tenant_id, day, resource_code)
DO UPDATE SET quantity = usage_day.quantity + excluded.quantity, records = usage_day.records + excluded.records""",
    """
INSERT INTO meter_beyond (tenant_id, resource_code, period_on, beyond_as, price_micros, quantity)
SELECT tenant_id, resource_code, period_on, beyond_as, beyond_price_micros, sum(beyond) FROM usage_record
WHERE id >= :base AND id < :end AND beyond > 0 GROUP BY 1, 2, 3, 4, 5
ON CONFLICT (tenant_id, resource_code, period_on, beyond_as, price_micros)
DO UPDATE SET quantity = meter_beyond.quantity + excluded.quantity""",
)


def fill(connection: Connection, count: int) -> None:
    """Write `count` records, then what they sum to. Ids begin where those of the last filling ended."""
    words = _DIALECT[connection.dialect.name]
    with connection.begin():
        tenant_ids = connection.scalars(text("SELECT id FROM tenant ORDER BY id")).all()
        source_id = connection.scalar(text("SELECT min(id) FROM source"))
        base = 1 + (connection.scalar(text("SELECT max(id) FROM usage_record WHERE external_id LIKE 'fill-%'")) or 0)
    if not tenant_ids or source_id is None:
        raise SystemExit("fill: needs a tenant and a source")
    since = int((utc_now() - timedelta(seconds=YEAR_SECONDS)).timestamp())
    given = {"source_id": source_id, "since": since, "span": YEAR_SECONDS}
    start = base
    for tenant_id, share in _shares(list(tenant_ids), count):
        for first in range(0, share, CHUNK):
            chunk = {"tenant_id": tenant_id, "base": start, "count": share}
            with connection.begin():
                connection.execute(
                    text(_RECORDS.format(**words)),
                    {**given, **chunk, "first": first, "last": min(first + CHUNK, share)},
                )
        start += share
    for statement in _ROLLUPS:
        with connection.begin():
            connection.execute(text(statement.format(**words)), {"base": base, "end": start})
    if connection.dialect.name == "postgresql":  # as autovacuum would, a little later
        with connection.begin():
            connection.execute(text("ANALYZE"))


def _shares(tenant_ids: list[int], count: int) -> Iterator[tuple[int, int]]:
    """How many records each tenant gets: half to the first, in sum `count`."""
    others = tenant_ids[1:]
    rest = count // 2 if others else 0
    yield tenant_ids[0], count - rest
    for number, tenant_id in enumerate(others):
        yield tenant_id, rest * (number + 1) // len(others) - rest * number // len(others)


def main() -> None:
    """Fill, and say how long it took."""
    count, started = int(sys.argv[1]), time.perf_counter()
    with create_app().app_context(), db.engine.connect() as connection:
        fill(connection.execution_options(writes=True), count)
    print(f"{count:,} records in {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

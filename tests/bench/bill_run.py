"""`python -m tests.bench.bill_run`: a bill run over TENANTS with RECORDS, beside plain SQL that sums and inserts the same.

On the database of the environment, in a process of its own. Prints seconds of both, statements a tenant and how much
the memory grew between the first chunk and the last.
"""

import os
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import flask_migrate
from sqlalchemy import Connection, Table, event, insert, text

from app import create_app, memory
from app.core.ids import new_ids
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.billing import run
from app.domain.billing.models import BillRun, Invoice, InvoiceLine, LedgerBalance, LedgerEntry
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.service import LimitSpec, PackageSpec
from app.domain.jobs import service as jobs
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants.models import Tenant
from tests.bench.fill import _DIALECT, _ROLLUPS

TENANTS = int(os.environ.get("BENCH_TENANTS", "10000"))
RECORDS = int(os.environ.get("ROWS", "1000000"))
NOW = datetime(2026, 11, 5, tzinfo=UTC)
FIRST, END, STARTED = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11, 9))
PRICE = 49_000_000
TERMS = Terms(Issuer("Northline", ("1 High Street",), tax_id="DE1", iban="DE02"))
EDGE: dict[str, Any] = {"actor": "bench", "now": NOW}
_RECORDS = """
INSERT INTO usage_record (
    tenant_id, id, source_id, external_id, content_hash, resource_code, measured, quantity, from_allowance, from_carried,
    beyond, beyond_as, beyond_price_micros, occurred_at, period_on, late, received_at, direction, caller, callee, call_id,
    attributes, reversal_reason)
{series}
SELECT t.id, n * 1000000 + row_number() OVER (ORDER BY t.id), :source_id, n || '-' || t.slug, '', 'voice_minutes', 60, 60,
       60 - 30 * (1 - least_(n)), 0, 30 * (1 - least_(n)), CASE least_(n) WHEN 0 THEN 'charge' ELSE '' END,
       20000 * (1 - least_(n)), :at, :first_on, false, :at, 'outbound', '101', '442079460958', '', '{{}}', ''
FROM series CROSS JOIN tenant t"""


def fill() -> None:
    """Tenants on one package since September, of whom October is due, and their records."""
    flask_migrate.upgrade()
    with unit_of_work() as session:
        limits = (LimitSpec("voice_minutes", 6_000, "charge", 20_000),)
        spec = PackageSpec("Gold", price_micros=PRICE, cost_micros=20_000_000, limits=limits)
        package = catalog.create(session, "gold", spec, actor="bench", now=STARTED, status="published")
        source_id = accounts.create_source(session, "bench", "Bench", **EDGE).id
        rows = [{"id": each, "number": number} for number, each in enumerate(new_ids(TENANTS))]
        tied = [
            {"tenant_id": row["id"], "id": row["id"], "package_id": package.id, "started_at": STARTED} for row in rows
        ]
        days = {"anchor_on": STARTED.date(), "starts_on": STARTED.date(), "open_from": FIRST.date()}
        of_tenant = {"timezone": "UTC", "currency": "EUR", "status": "active", "created_at": STARTED, "thresholds": []}
        of_tenant |= {"country": "", "contact_name": "", "contact_email": ""}
        session.execute(
            insert(Tenant),
            [{**of_tenant, "id": row["id"], "slug": f"t{row['number']}", "name": f"T {row['number']}"} for row in rows],
        )
        session.execute(insert(Subscription), [{**row, **days} for row in tied])
        session.execute(
            insert(SubscriptionSegment),
            [{**row, "subscription_id": row["id"], "started_on": STARTED.date()} for row in tied],
        )
    with unit_of_work() as session:
        words = _DIALECT[session.get_bind().dialect.name]
        statement = _RECORDS.format(**words).replace("least_(n)", "CASE WHEN n % 10 = 0 THEN 0 ELSE 1 END")
        given = {"first": 0, "last": RECORDS // TENANTS, "source_id": source_id}
        at = (FIRST + timedelta(days=3)).replace(tzinfo=None) if session.get_bind().dialect.name == "sqlite" else FIRST
        session.execute(text(statement), {**given, "at": str(at), "first_on": FIRST.date().isoformat()})
        for rollup in _ROLLUPS:
            session.execute(text(rollup.format(**words)), {"base": 0, "end": 10**18})
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect() as connection, connection.begin():
            connection.execute(text("ANALYZE"))


def by_plain_sql(connection: Connection) -> None:
    """One transaction: sum the records, insert invoices, lines, entries and balances."""
    overage = "((quantity * 20000 / 60 + 5000) / 10000 * 10000)"
    printed = "'{}'"
    given = {"at": str(NOW.replace(tzinfo=None)), "first": FIRST.date().isoformat(), "end": END.date().isoformat()}
    given |= {"day": NOW.date().isoformat()}
    run_sql: Callable[[str], Any] = lambda statement: connection.execute(text(statement), given)  # noqa: E731
    run_sql(
        "CREATE TEMPORARY TABLE summed AS SELECT tenant_id, CAST(sum(beyond) AS BIGINT) AS quantity,"
        " CAST(row_number() OVER (ORDER BY tenant_id) AS BIGINT) AS place FROM usage_record"
        f" WHERE period_on = '{FIRST.date()}' AND beyond_as = 'charge' GROUP BY tenant_id"
    )
    amount = f"{PRICE} + {overage}"
    run_sql(_insert(Invoice.__table__, {  # type: ignore[arg-type]
        "tenant_id": "tenant_id", "id": "place", "kind": "'invoice'", "subscription_id": "tenant_id",
        "period_on": _date("first"), "period_end_on": _date("end"), "reason": "'period'", "status": "'final'",
        "number": "'2026-' || place", "currency": "'EUR'", "created_at": _moment(), "issued_at": _moment(),
        "issued_on": _date("day"), "due_on": _date("day"), "net_micros": amount, "tax_micros": "0",
        "total_micros": amount, "open_micros": amount, "cost_micros": "20000000", "printed": printed,
    }))  # fmt: skip
    line = {
        "tenant_id": "tenant_id", "invoice_id": "place", "tax_code": "'none'", "price_micros": "20000",
        "factor": "60", "quantity": "1", "unit_one": "'minute'", "unit_many": "'minutes'",
    }  # fmt: skip
    for position, kind, micros in ((1, "recurring", str(PRICE)), (2, "overage", overage)):
        more = {"id": f"place * 2 + {position}", "position": str(position), "kind": f"'{kind}'", "name": "'Gold'"}
        run_sql(_insert(InvoiceLine.__table__, {**line, **more, "amount_micros": micros, "net_micros": micros}))  # type: ignore[arg-type]
    run_sql(_insert(LedgerEntry.__table__, {  # type: ignore[arg-type]
        "tenant_id": "tenant_id", "id": "place", "at": _moment(), "kind": "'invoice'", "source": "'invoice:' || place",
        "reference": "'2026-' || place", "amount_micros": amount, "currency": "'EUR'", "balance_micros": amount,
    }))  # fmt: skip
    balance = {"tenant_id": "tenant_id", "currency": "'EUR'", "balance_micros": amount, "entries": "1"}
    run_sql(_insert(LedgerBalance.__table__, balance))  # type: ignore[arg-type]
    run_sql("DROP TABLE summed")


def _date(name: str) -> str:
    return f"CAST(:{name} AS DATE)" if db.engine.dialect.name == "postgresql" else f":{name}"


def _moment() -> str:
    return "CAST(:at AS TIMESTAMPTZ)" if db.engine.dialect.name == "postgresql" else ":at"


def _insert(table: Table, given: dict[str, str]) -> str:
    """`INSERT … SELECT` out of the sums; what must not be null and is not given has its column's default."""
    rest = {
        column.name: str(column.default.arg)
        if isinstance(column.default.arg, bool | int)
        else f"'{column.default.arg}'"  # type: ignore[union-attr]
        for column in table.columns
        if column.name not in given and not column.nullable and column.default is not None
    }
    found = {**given, **rest}
    return f"INSERT INTO {table.name} ({', '.join(found)}) SELECT {', '.join(found.values())} FROM summed"


def by_bill_run() -> list[int]:
    """Draft, review, number, as the worker does it; returns the peak memory in kB after each chunk."""
    with unit_of_work() as session:
        run_id = run.start(session, **EDGE).id
    peaks: list[int] = []
    _work_off(peaks)
    with unit_of_work() as session:
        run.finalise(session, run_id, **EDGE)
    _work_off(peaks)
    db.session.rollback()
    done: BillRun = run.get(db.session(), run_id)
    if (done.phase, done.finalised, done.problems) != ("done", TENANTS, []):
        raise SystemExit(f"bench: {done.phase}, {done.finalised} of {TENANTS} invoices, {done.problems[:2]}")
    return peaks


def _work_off(peaks: list[int]) -> None:
    lease = timedelta(minutes=10)
    while job := run_in_transaction(lambda session: jobs.claim(session, now=NOW, lease=lease)):
        run_in_transaction(lambda session, job=job: _step(session, job))
        db.session.remove()
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _step(session: Any, job: Any) -> None:
    jobs.finish(session, job, now=NOW)
    run.step(session, job.payload, TERMS, now=NOW)


def _timed(act: Callable[[], Any]) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = act()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def plainly() -> None:
    """The plain SQL, committed; what it wrote is taken out again outside the clock."""
    with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
        by_plain_sql(connection)


def main() -> None:
    """Fill, do both, print one line."""
    with create_app().app_context():
        fill()
        _, plain, _ = _timed(plainly)
        with unit_of_work() as session:
            for table in ("invoice_line", "invoice", "ledger_entry", "ledger_balance"):
                session.execute(text(f"DELETE FROM {table}"))
        memory.collect_rarely()  # as the worker
        statements: list[str] = []
        event.listen(db.engine, "before_cursor_execute", lambda *found: statements.append(found[2]))
        peaks, wall, cpu = _timed(by_bill_run)
        print(
            f"{wall:.1f} s|{cpu * 1000 / TENANTS:.2f} ms CPU here a tenant|{plain:.1f} s by plain SQL|{wall / plain:.1f}"
            f"|{len(statements) / TENANTS:.3f} statements a tenant|"
            f"{(peaks[-1] - peaks[len(peaks) // 4]) / 1024:.0f} MB more after the last chunk than after a quarter"
        )


if __name__ == "__main__":
    main()

"""What calls, invoices and reversals ask stays on its index however much was used: SQLite tells how it finds the rows."""

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from app import driver
from app.core.clock import utc_now
from app.db import db
from app.domain.billing.due import PERIOD, Due
from app.domain.billing.figures import Figures
from app.domain.catalog.specs import LimitSpec
from app.domain.metering import call_store, reversal, store
from app.domain.metering.models import UsageRecord
from app.domain.subscriptions import service as subscriptions


@pytest.fixture
def plan_of(app, monkeypatch):
    """Runs an act on a connection and returns the plans of its statements."""

    def find(act):
        asked = []

        def execute(cursor, statement, values):
            asked.append((statement, values))
            cursor.execute(statement, values)

        monkeypatch.setattr(driver, "_execute", execute)
        with app.app_context(), db.engine.connect() as connection:
            event.listen(connection, "before_cursor_execute", lambda *found: asked.append(found[2:4]))
            act(connection)
            return [
                row[3]
                for statement, parameters in list(asked)
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]

    return find


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("tenant_id", [None, 1])
def test_overdue_holds_are_looked_for_among_the_open_ones(plan_of, tenant_id):
    plan = plan_of(lambda connection: store.holds_due(connection, utc_now(), tenant_id, 500))
    assert any("open_holds_by_expiry" in step for step in plan)


@pytest.mark.databases("sqlite")
def test_a_call_that_asks_reads_no_ended_hold(plan_of):
    plan = plan_of(lambda connection: call_store.find_caller(connection, 1, "acme", "c1", "voice_minutes", utc_now()))
    assert {"open_holds_by_expiry", "one_open_hold_a_call"} <= {word for step in plan for word in step.split()}
    assert not [step for step in plan if "autoindex_hold" in step]


@pytest.mark.databases("sqlite")
def test_an_invoice_reads_no_records_but_late_ones(plan_of, make):
    subscription = make.subscribe(make.tenant(), make.package())
    due = Due(subscription, subscriptions.period_of(subscription, utc_now()), PERIOD)
    plan = plan_of(lambda connection: Figures(Session(connection), [due]))
    assert [step.split(" USING ")[1] for step in plan if "usage_record" in step] == [
        "INDEX late_usage (tenant_id=? AND period_on>?)"
    ]


@pytest.mark.databases("sqlite")
def test_a_reversal_reads_no_records_from_before_its_period(plan_of, make, now):
    tenant = make.tenant()
    make.subscribe(tenant, make.package("gold", [LimitSpec("voice_minutes", 60, "charge", 20_000)]))
    source = make.source()
    for quantity in (60, 30):  # the second lies beyond, until the first is gone
        make.usage(tenant, quantity, source=source)
    record_id = db.session.scalar(select(func.min(UsageRecord.id)))
    db.session.rollback()
    plan = plan_of(
        lambda connection: reversal.reverse(Session(connection), tenant, record_id, "double", actor="nora", now=now)
    )
    searched = [step.split(" USING ")[1] for step in plan if "SEARCH usage_record" in step]
    assert "INDEX sqlite_autoindex_usage_record_1 (tenant_id=? AND id>?)" in searched

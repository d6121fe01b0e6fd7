"""The bill run: everybody who is due, in chunks, whatever happens to one of them or to the worker."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app import jobs as work
from app.core.errors import Conflict
from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.billing import issuing, run, service
from app.domain.billing.models import Invoice, LedgerEntry, NumberSeries
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.jobs.models import Job
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.tenants.models import Tenant
from tests.domain.test_billing import check_books
from tests.server import ROOT

EURO = 1_000_000
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
KILLED_WORKER = Path(__file__).with_name("killed_worker.py")
LEASE = timedelta(minutes=1)
EDGE = {"actor": "nora", "now": OCTOBER}


@pytest.fixture
def now():
    return OCTOBER


@pytest.fixture
def tenants(make, monkeypatch):
    """Seven on a package since September; a chunk holds three."""
    monkeypatch.setattr(run, "CHUNK", 3)
    make.now = STARTED
    package = make.package("office", [LimitSpec("voice_minutes", 6_000, "charge", 20_000)], price_micros=49 * EURO)
    found = [make.tenant(f"Tenant {number}") for number in range(7)]
    for tenant in found:
        make.subscribe(tenant, package)
    make.now = OCTOBER
    return found


def work_off(most=1_000):
    done = 0
    while done < most and (job := work.claim_next(LEASE)):
        assert work.perform(job) == ""
        done += 1
    return done


def begin():
    with unit_of_work() as session:
        return run.start(session, **EDGE).id


def finalise(run_id):
    with unit_of_work() as session:
        run.finalise(session, run_id, **EDGE)


def stored(run_id):
    db.session.rollback()
    return run.get(db.session(), run_id)


def invoices(session):
    session.rollback()
    return list(
        session.scalars(
            select(Invoice).order_by(Invoice.tenant_id, Invoice.id).execution_options(populate_existing=True)
        )
    )


def test_a_dry_run_then_a_review_then_numbers(session, tenants):
    run_id = begin()
    assert (stored(run_id).phase, stored(run_id).to_do) == ("drafting", 7)
    assert work_off() == 3
    found = stored(run_id)
    assert (found.phase, found.looked_at, found.drafted, found.problems) == ("review", 7, 14, [])
    assert session.scalar(select(func.count()).select_from(NumberSeries)) == 0
    total = run.totals(session, run_id)[0]
    assert (total.currency, total.invoices, total.total_micros, total.odd) == ("EUR", 14, 14 * 49 * EURO, 0)
    finalise(run_id)
    assert stored(run_id).to_do == 14
    assert work_off() == 5
    found = stored(run_id)
    assert (found.phase, found.finalised, found.open_mark) == ("done", 14, None)
    assert [invoice.number for invoice in invoices(session)] == [f"2026-{number:05d}" for number in range(1, 15)]
    check_books(session)


def test_a_second_run_finds_nothing_and_compares_the_next_period(session, make, tenants, clock):
    first = begin()
    work_off()
    with pytest.raises(Conflict, match="already"):
        begin()
    finalise(first)
    work_off()
    second = begin()
    work_off()
    assert (stored(second).drafted, len(invoices(session))) == (0, 14)
    with unit_of_work() as unit:
        run.close(unit, second, **EDGE)
    clock.move_to(datetime(2026, 11, 4, tzinfo=UTC))
    with unit_of_work() as unit:
        spec = replace(catalog.spec_of(catalog.by_code(unit, "office").revision), price_micros=59 * EURO)
        catalog.publish(unit, catalog.by_code(unit, "office"), spec, actor="nora", now=OCTOBER)
    with unit_of_work() as unit:
        third = run.start(unit, actor="nora", now=datetime(2026, 11, 4, tzinfo=UTC)).id
    work_off()
    session.rollback()
    total = run.totals(session, third)[0]
    assert (total.invoices, total.total_micros, total.before_micros) == (7, 7 * 59 * EURO, 7 * 49 * EURO)


def test_one_tenant_that_fails_does_not_stop_the_others(session, tenants):
    with unit_of_work() as unit:
        unit.get_one(Tenant, tenants[1].id).timezone = "Mars/Olympus"
    run_id = begin()
    work_off()
    found = stored(run_id)
    assert (found.phase, found.drafted) == ("review", 12)
    assert [(problem["slug"], "Mars" in problem["error"]) for problem in found.problems] == [("tenant-1", True)]
    finalise(run_id)
    work_off()
    assert stored(run_id).finalised == 12
    check_books(session)


def test_one_tenant_that_cannot_be_finalised_does_not_stop_the_others(session, tenants):
    run_id = begin()
    work_off()
    with unit_of_work() as unit:
        unit.get_one(Tenant, tenants[4].id).timezone = "Mars/Olympus"
    finalise(run_id)
    work_off()
    found = stored(run_id)
    assert (found.phase, found.finalised, len(found.problems)) == ("done", 12, 2)
    check_books(session)


def test_the_odd_ones_are_set_aside_whole_until_somebody_looks(session, make, tenants, clock):
    source = make.source()
    first = begin()
    work_off()
    finalise(first)
    work_off()
    later = datetime(2026, 11, 4, tzinfo=UTC)
    clock.move_to(later)
    # Ten times the last: 24,500 minutes beyond at 0.02. Kept aside: an unknown resource of the third.
    event = UsageEvent("big", tenants[0].slug, "voice_minutes", 6_000 + 24_500 * 60, OCTOBER)
    unknown = UsageEvent("odd", "TENANT-2", "nonsense", 1, OCTOBER)
    source_id = source.id
    run_in_transaction(lambda unit: ingest(unit, source_id, [Report(event, ""), Report(unknown, "")], now=later))
    with unit_of_work() as unit:
        run_id = run.start(unit, actor="nora", now=later).id
    work_off()
    session.rollback()
    odd = {row.tenant_id: row.odd for row in invoices(session) if row.odd}
    assert odd == {tenants[0].id: "ten_times_the_last", tenants[2].id: "open_quarantine"}
    with unit_of_work() as unit:
        draft = unit.scalars(select(Invoice).where(Invoice.odd == "ten_times_the_last")).one()
        service.accept(unit, draft, **EDGE)
    finalise(run_id)
    work_off()
    assert stored(run_id).finalised == 6
    assert [row.tenant_id for row in invoices(session) if row.status == "draft"] == [tenants[2].id]
    check_books(session)


def test_usage_between_review_and_finalise_sets_aside(session, make, tenants):
    source = make.source()
    run_id = begin()
    work_off()
    make.usage(tenants[3], 6_600, source=source, occurred_at=STARTED + timedelta(days=1))
    finalise(run_id)
    work_off()
    left = [row for row in invoices(session) if row.status == "draft"]
    assert [(row.tenant_id, row.odd, row.total_micros) for row in left] == [(tenants[3].id, "changed", 49_200_000)]
    assert stored(run_id).finalised == 13
    check_books(session)


def test_two_workers_at_once_bill_everybody_once(app, session, tenants):
    run_id = begin()

    def worker():
        with app.app_context():
            for _ in range(60):
                if job := work.claim_next(LEASE):
                    work.perform(job)
                else:
                    time.sleep(0.02)
            db.session.remove()

    def all_workers():
        threads = [threading.Thread(target=worker) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_workers()
    assert stored(run_id).phase == "review"
    finalise(run_id)
    all_workers()
    assert (stored(run_id).phase, stored(run_id).finalised) == ("done", 14)
    check_books(session)


def test_a_worker_killed_at_any_moment_leaves_no_gap_and_no_double(session, settings, tenants, tmp_path):
    environment = {
        **os.environ, "RINGPLAN_INSTANCE": str(tmp_path), "DATABASE_URL": settings.DATABASE_URL, "PYTHONPATH": str(ROOT),
    }  # fmt: skip

    def killed_at(*statements):
        command = [sys.executable, str(KILLED_WORKER), *map(str, statements)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run_id = begin()
    killed_at(15, 30, 0)
    assert stored(run_id).phase == "review"
    finalise(run_id)
    killed_at(8, 18, 22, 30, 0)
    assert (stored(run_id).phase, stored(run_id).finalised) == ("done", 14)
    found = invoices(session)
    assert len({(row.subscription_id, row.period_on, row.reason) for row in found}) == len(found) == 14
    assert session.scalar(select(func.count()).select_from(LedgerEntry)) == 14
    check_books(session)


def test_a_run_takes_few_statements_however_many_it_bills(session, tenants, monkeypatch, count_statements):
    monkeypatch.setattr(run, "CHUNK", 100)
    run_id = begin()
    with count_statements() as drafting:
        work_off()
    finalise(run_id)
    with count_statements() as finalising:
        work_off()
    assert stored(run_id).finalised == 14
    assert len(drafting) <= 30, drafting.texts
    assert len(finalising) <= 45, finalising.texts


def test_each_invoice_of_a_run_is_mailed_once_the_run_has_had_its_time(session, tenants):
    run_id = begin()
    work_off()
    finalise(run_id)
    work_off()
    mails = session.scalars(select(Job).where(Job.kind == issuing.MAIL)).all()
    assert sorted(job.payload["invoice_id"] for job in mails) == sorted(row.id for row in invoices(session))
    assert all(job.run_at - job.created_at == issuing.AFTER_A_RUN for job in mails)


def test_a_run_that_moved_on_does_nothing_twice(session, tenants):
    run_id = begin()
    work_off()
    with unit_of_work() as unit:
        run.close(unit, run_id, **EDGE)
    with pytest.raises(Conflict):
        finalise(run_id)
    with unit_of_work() as unit:  # its jobs come once more
        unit.execute(text("UPDATE job SET done_at = NULL"))
    assert work_off() == 3
    assert (stored(run_id).phase, stored(run_id).drafted, len(invoices(session))) == ("done", 14, 14)

"""Numbers lose their last digits after their months; amounts, sums, invoices and the recognition of repeats stay."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from app.core.usage import UsageEvent
from app.db import run_in_transaction, snapshot, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.insight.verify import differences
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.metering import quarantine
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Hold, Quarantined, Refusal, UsageRecord
from app.domain.metering.reports import Report
from app.domain.privacy import masking
from app.domain.privacy.masking import Place
from app.domain.privacy.models import Masking
from app.jobs import claim_next, perform

FROM, TO = "+49 30 1234567", "sip:442079460958@carrier.example"
HIDDEN = ("+49 30 1234xxx", "sip:442079460xxx@carrier.example")


@pytest.fixture
def world(make, now):
    """Acme and Globex with usage of today and of eight months ago, a refused and a granted call."""
    source, package = make.source("pbx1"), make.package("gold", {"voice_minutes": 36000, "concurrent_calls": 1})
    for name in ("Acme", "Globex"):
        tenant = make.tenant(name)
        make.subscribe(tenant, package, started_at=now - timedelta(days=400))
        for days in (0, 240, 241):
            make.usage(tenant, 60, source=source, occurred_at=now - timedelta(days=days),
                       external_id=f"{name}{days}", caller=FROM, callee=TO, attributes={"seat": FROM})  # fmt: skip
        for number in range(2):  # the second one is refused
            make.call(tenant, source=source, call_id=f"c{number}", caller=FROM, callee=TO)
    return source


def mask(months, now):
    run = run_in_transaction(lambda act: masking.begin(act, months, now=now))
    place: Place | None = Place()
    while place:
        at = place
        place = run_in_transaction(lambda act: masking.advance(act, run.id, at, actor="test", now=now))
    return run_in_transaction(lambda act: act.get_one(Masking, run.id))


def numbers(session, model=UsageRecord):
    session.rollback()
    return sorted((row.caller, row.callee) for row in session.execute(select(model.caller, model.callee)))


def amounts(session):
    session.rollback()
    record = UsageRecord.__table__
    kept = [each for each in record.columns if each.name not in ("caller", "callee", "attributes")]
    return session.execute(select(*kept).order_by(record.c.id)).all()


def drift(now):
    with snapshot() as act:
        return [str(each) for each in differences(act, now=now)]


def test_old_numbers_are_masked_and_everything_else_stays(world, session, now):
    before = amounts(session)
    assert drift(now) == []
    run = mask(6, now)
    assert numbers(session) == sorted([HIDDEN] * 4 + [(FROM, TO)] * 2)
    assert amounts(session) == before
    assert [row.attributes for row in session.scalars(select(UsageRecord).order_by(UsageRecord.occurred_at))] == [
        *[{}] * 4,
        *[{"seat": FROM}] * 2,
    ]
    assert (run.records, run.refusals, run.holds, run.reports) == (4, 0, 0, 0)
    assert run.ended_at and drift(now) == []


@pytest.mark.parametrize("size", [1, 2])
def test_slices_of_any_size_and_a_run_begun_anew_come_to_the_same(world, session, now, monkeypatch, size):
    monkeypatch.setattr(masking, "SLICE", size)
    monkeypatch.setattr(masking, "PIECES", size)
    run_in_transaction(lambda act: masking.advance(act, masking.begin(act, 6, now=now).id, Place(), actor="", now=now))
    assert mask(6, now).ended_at
    assert numbers(session) == sorted([HIDDEN] * 4 + [(FROM, TO)] * 2)


def test_refused_and_granted_calls_too(world, session, now):
    run = mask(6, now + timedelta(days=240))
    assert numbers(session, Refusal) == numbers(session, Hold) == [HIDDEN] * 2
    assert (run.records, run.refusals, run.holds) == (6, 2, 2)
    assert mask(6, now + timedelta(days=241)).records == 0


def test_the_name_of_what_was_to_be_added_is_no_number_of_a_call(world, session, now):
    with unit_of_work() as act:
        act.execute(update(Refusal).values(source_id=None, call_id="", caller="", callee="4930123456"))
    mask(6, now + timedelta(days=240))
    assert numbers(session, Refusal) == [("", "4930123456")] * 2


def test_a_repeat_is_still_recognised_and_a_conflict_still_one(world, session, now):
    mask(6, now)
    event = UsageEvent("Acme240", "acme", "voice_minutes", 60, now - timedelta(days=240),
                       caller=FROM, callee=TO, attributes={"seat": FROM})  # fmt: skip
    other = UsageEvent("Acme240", "acme", "voice_minutes", 61, now - timedelta(days=240), caller=FROM, callee=TO)
    found = run_in_transaction(lambda act: ingest(act, world.id, [Report(event, ""), Report(other, "")], now=now))
    assert [each.status for each in found] == ["duplicate", "conflict"]


def test_what_is_reported_later_of_a_masked_time_is_masked_by_the_next_run(world, make, session, now):
    mask(6, now)
    tenant = make.tenant("Initech")
    make.subscribe(tenant, make.package("silver", {"voice_minutes": None}), started_at=now - timedelta(days=400))
    for days in (239, 300, 10):
        make.usage(tenant, 60, source=world, occurred_at=now - timedelta(days=days), caller=FROM, callee=TO)
    assert mask(6, now + timedelta(days=1)).records == 2
    assert numbers(session) == sorted([HIDDEN] * 6 + [(FROM, TO)] * 3)


def test_reports_are_emptied_once_they_are_resolved(world, session, now):
    for name in ("lost", "found"):
        event = UsageEvent(name, "nobody", "voice_minutes", 60, now, caller=FROM, callee=TO)
        run_in_transaction(lambda act, event=event: ingest(act, world.id, [Report(event, f"body {FROM}")], now=now))
    with unit_of_work() as act:
        resolved = act.scalar(select(Quarantined.id).where(Quarantined.external_id == "found"))
        quarantine.discard(act, [resolved], "a test call", actor="test", now=now)
    run = mask(6, now + timedelta(days=240))
    assert run.reports == 1
    bodies = dict(session.execute(select(Quarantined.external_id, Quarantined.body)).all())
    assert bodies == {"lost": f"body {FROM}", "found": ""}
    assert masking.waiting_reports(session, run.cutoff) == 1


def test_the_worker_does_it_once_a_day_and_it_is_one_act(world, session, now, monkeypatch):
    monkeypatch.setattr(masking, "SLICE", 2)
    for _ in range(3):
        run_in_transaction(lambda act: masking.begin_daily(act, 6, now=now))
    run_in_transaction(lambda act: masking.begin_daily(act, 0, now=now))
    assert session.scalar(select(func.count()).select_from(Job).where(Job.kind == masking.KIND)) == 1
    while job := claim_next(timedelta(minutes=1)):
        assert perform(job) == ""
    session.rollback()
    assert jobs.count_dead(session) == 0
    assert numbers(session).count(HIDDEN) == 4
    (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.act == "privacy.mask"))
    assert entry.subject == "numbers:2026-05-22"
    assert entry.details == {"months": 6, "records": 4, "refusals": 0, "holds": 0, "reports": 0}


def test_no_number_of_a_call_stands_in_the_audit_trail(world, session, now):
    mask(6, now)
    for entry in session.scalars(select(AuditEntry)):
        assert "1234567" not in f"{entry.subject} {entry.details}"
        assert "9460958" not in f"{entry.subject} {entry.details}"

"""Past due, reminders, suspension; and how a payment takes all of it back."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from app import jobs as worker
from app.db import run_in_transaction
from app.domain.billing import credit_notes, due, dunning, issuing, payments, service, standing
from app.domain.billing.drafting import draft
from app.domain.billing.dunning import Schedule
from app.domain.billing.models import DunningStep, Invoice
from app.domain.billing.payments import Receipt
from app.domain.billing.terms import Issuer, Terms
from app.domain.insight import verify
from app.domain.jobs.models import Job
from app.domain.subscriptions import life, service as subscriptions, timeline
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"), payment_days=10)
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
DUE_ON = date(2026, 9, 11)
SCHEDULE = Schedule((3, 14), 30)


@pytest.fixture
def acme(make):
    make.now = STARTED
    tenant = make.tenant(timezone="America/New_York", contact_email="office@acme.example")
    make.subscribe(tenant, make.package("office", {}, price_micros=49 * EURO))
    return tenant


@pytest.fixture
def invoice(acme):
    return issue(acme)


def issue(tenant):
    def act(session):
        found = subscriptions.require_live(session, session.get_one(Tenant, tenant.id))
        draft(session, due.find(session, [found], TERMS, now=STARTED), TERMS, now=STARTED)
        rows = session.scalars(select(Invoice).where(Invoice.status == "draft")).all()
        return issuing.issue(session, rows, TERMS, actor="nora", now=STARTED).issued[0]

    return run_in_transaction(act)


def on(day, hour=12):
    """So many days after it was due."""
    return datetime(2026, 9, 11, hour, tzinfo=UTC) + timedelta(days=day)


def mark(now):
    return run_in_transaction(lambda session: standing.mark_overdue(session, now=now))


def remind(now, schedule=SCHEDULE):
    return run_in_transaction(lambda session: dunning.take_steps(session, schedule, now=now))


def pay(tenant, amount, now, key="k1"):
    receipt = Receipt(key, amount, "EUR", "bank", key, now.date())
    run_in_transaction(
        lambda session: payments.receive(session, session.get_one(Tenant, tenant.id), receipt, actor="nora", now=now)
    )


def status(session, tenant):
    session.rollback()
    session.expire_all()
    return subscriptions.require_live(session, tenant).status


def states(session, tenant):
    session.rollback()
    return [f"{s.status} {s.why}" for s in reversed(timeline.of_tenant(session, tenant.id)) if s.status]


def test_it_is_past_due_from_the_day_after_in_its_own_zone_until_it_is_paid(session, acme, invoice):
    assert invoice.due_on == DUE_ON
    assert mark(on(1, hour=3)) == 0  # still the 11th in New York
    assert mark(on(1, hour=5)) == 1
    assert mark(on(2)) == 0
    assert status(session, acme) == "past_due"
    pay(acme, 20 * EURO, on(2), "part")
    assert status(session, acme) == "past_due"
    pay(acme, 29 * EURO, on(2), "rest")
    assert states(session, acme) == ["active started", "past_due overdue", "active paid"]
    assert mark(on(3)) == 0
    assert list(verify.differences(session, now=on(3))) == []


def test_where_the_day_begins_first_it_is_overdue_first(session, acme, invoice):
    """On Kiritimati it is 14 hours later than in UTC, further on than anywhere."""
    run_in_transaction(lambda unit: setattr(unit.get_one(Tenant, acme.id), "timezone", "Pacific/Kiritimati"))
    assert mark(on(0, hour=9)) == 0  # the 11th there until 10:00
    assert mark(on(0, hour=10)) == 1
    assert remind(on(2, hour=9)) == 0
    assert remind(on(2, hour=10)) == 1


def test_who_is_not_overdue_yet_takes_nobodys_turn(session, make, acme, invoice, monkeypatch):
    """With room for one, a tenant that has paid and one whose day has not ended leave it to the next."""
    monkeypatch.setattr(standing, "MOST_AT_ONCE", 1)
    package = make.package("large", {}, price_micros=49 * EURO)
    waiting, later = make.tenant("Initech"), make.tenant("Globex", timezone="Pacific/Kiritimati")
    for tenant in (waiting, later):
        make.subscribe(tenant, package)
        issue(tenant)
    pay(acme, 49 * EURO, on(0))
    assert mark(on(0, hour=10)) == 1
    assert (status(session, waiting), status(session, later)) == ("active", "past_due")


def test_no_step_follows_the_last(session):
    assert SCHEDULE.next_step(3, on(30), 400, on(400)) == 0
    assert Schedule((3,), 0).next_step(1, on(3), 400, on(400)) == 0


def test_each_step_is_taken_once_and_no_sooner_than_its_days(session, acme, invoice):
    taken = {day: remind(on(day)) for day in range(40) for _ in range(1)}
    assert [day for day, count in taken.items() if count] == [3, 14, 30]
    session.rollback()
    steps = session.scalars(select(DunningStep).order_by(DunningStep.step)).all()
    assert [(row.step, row.kind) for row in steps] == [(1, "reminder"), (2, "reminder"), (3, "suspension")]
    assert len(session.scalars(select(Job).where(Job.kind == dunning.MAIL)).all()) == 3
    assert remind(on(3)) == 0


def test_begun_late_the_steps_keep_their_distance(session, acme, invoice):
    taken = [day for day in range(100, 140) if remind(on(day))]
    assert taken == [100, 111, 127]


def test_two_workers_at_once_take_one_step(session, acme, invoice):
    def act(unit):
        return [dunning.take_steps(unit, SCHEDULE, now=on(3)) for _ in range(2)]

    assert run_in_transaction(act) == [1, 0]


def test_a_suspension_ends_with_the_payment_where_dunning_made_it(session, acme, invoice):
    mark(on(1))
    for day in (3, 14, 30):
        remind(on(day))
    assert status(session, acme) == "suspended"
    session.rollback()
    assert session.get_one(Tenant, acme.id).status == "suspended"
    pay(acme, 48 * EURO, on(31), "nearly")
    assert status(session, acme) == "suspended"
    pay(acme, 5 * EURO, on(31), "more than enough")
    assert states(session, acme)[2:] == ["suspended unpaid", "past_due paid", "active paid"]
    assert session.get_one(Tenant, acme.id).status == "active"
    assert list(verify.differences(session, now=on(31))) == []


def test_a_suspension_by_staff_outlives_the_payment(session, acme, invoice):
    def act(unit):
        life.suspend(unit, unit.get_one(Tenant, acme.id), "staff", actor="nora", now=on(1))

    run_in_transaction(act)
    pay(acme, 49 * EURO, on(2))
    assert status(session, acme) == "suspended"


def test_a_credit_note_lifts_it_too(session, acme, invoice):
    mark(on(1))

    def act(unit):
        credit_notes.credit(unit, service.get(unit, acme.id, invoice.id), TERMS, actor="nora", now=on(2))

    run_in_transaction(act)
    assert status(session, acme) == "active"


def test_what_is_paid_is_never_reminded_of(session, acme, invoice):
    pay(acme, 49 * EURO, on(2))
    assert remind(on(3)) == 0 and mark(on(3)) == 0


def test_without_steps_nothing_happens(session, acme, invoice):
    assert remind(on(90), Schedule((), 0)) == 0
    assert [day for day in range(60) if remind(on(day), Schedule((5,), 0))] == [5]
    assert status(session, acme) == "active"


def test_the_settings_name_the_days(settings):
    assert Schedule.of(settings) == Schedule((3, 14), 30)


def test_each_step_is_mailed_to_where_invoices_go(session, acme, invoice, clock):
    for day in (3, 14, 30):
        clock.move_to(on(day))
        run_in_transaction(lambda unit: worker._remind(unit, now=on(day)))
        while (job := worker.claim_next(timedelta(minutes=1))) and job.kind == dunning.MAIL:
            assert worker.perform(job) == ""
        worker.perform(job)
    session.rollback()
    mails = session.scalars(select(Job).where(Job.kind == "mail").order_by(Job.id)).all()
    assert [row.payload["to"] for row in mails] == ["office@acme.example"] * 3
    assert [row.payload["subject"] for row in mails] == [
        "Reminder 1: invoice 2026-00001",
        "Reminder 2: invoice 2026-00001",
        "Acme: the service is suspended, invoice 2026-00001 is unpaid",
    ]
    assert "€49.00 is still open" in mails[0].payload["body"]
    assert "/portal/invoices/2026-00001" in mails[0].payload["body"]

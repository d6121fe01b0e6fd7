"""Thresholds: noted once per share and period, with one mail asked for, whatever the order and the number of writers."""

import random
import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.core.errors import Invalid
from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.catalog.specs import LimitSpec
from app.domain.jobs.models import Job
from app.domain.metering import thresholds
from app.domain.metering.ingest import ingest
from app.domain.metering.models import ThresholdCrossing
from app.domain.metering.reports import Report
from app.domain.metering.thresholds import Move
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

LIMITS = (LimitSpec("voice_minutes", 1000), LimitSpec("fax_pages", 0), LimitSpec("sms_messages", None))


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", limits=LIMITS), started_at=now - timedelta(days=3))
    return tenant


@pytest.fixture
def send(app, make, now):
    """`send(100, ("again", 100))`: one batch, each quantity under an id of its own or the given one."""
    source_id, numbers = make.source("pbx1").id, iter(range(10_000))

    def act(*quantities, resource="voice_minutes", at=now, tenant="acme"):
        pairs = [each if isinstance(each, tuple) else (f"e{next(numbers)}", each) for each in quantities]
        reports = [Report(UsageEvent(name, tenant, resource, quantity, at), "") for name, quantity in pairs]
        run_in_transaction(lambda session: ingest(session, source_id, reports, now=max(now, at)))

    return act


def noted():
    db.session.rollback()
    return sorted(db.session.scalars(select(ThresholdCrossing.percent)))


def mailed():
    db.session.rollback()
    jobs = db.session.scalars(select(Job).where(Job.kind == thresholds.MAIL).order_by(Job.id))
    return [job.payload["percent"] for job in jobs]


@pytest.mark.parametrize(
    ("before", "after", "total", "crossed"),
    [
        (0, 499, 1000, []),
        (499, 500, 1000, [50]),
        (500, 749, 1000, []),
        (0, 1000, 1000, [50, 75, 90, 100]),
        (999, 5000, 1000, [100, 150]),
        (0, 1, 1, [50, 75, 90, 100]),
        (0, 2, 3, [50]),
        (900, 800, 1000, []),
        (0, 10, 0, []),
    ],
)
def test_what_a_step_crosses(before, after, total, crossed):
    move = Move(1, "voice_minutes", "2026-11-01", before, after, total, (50, 75, 90, 100, 150))
    assert move.crossed == crossed


def test_a_threshold_is_noted_when_it_is_reached_and_told_of_once(acme, send):
    send(499)
    assert (noted(), mailed()) == ([], [])
    send(1)
    assert (noted(), mailed()) == ([50], [50])
    send(200)
    assert (noted(), mailed()) == ([50], [50])
    (row,) = db.session.scalars(select(ThresholdCrossing))
    assert (row.used, row.total) == (500, 1000)


def test_of_several_crossed_in_one_step_the_highest_is_told_of(acme, send):
    send(300, 300, 350)
    assert (noted(), mailed()) == ([50, 75, 90], [90])
    send(2_000)
    assert (noted(), mailed()) == ([50, 75, 90, 100], [90, 100])


def test_nothing_is_crossed_where_nothing_limits_or_nothing_is_included(acme, send):
    send(50, resource="fax_pages")
    send(50, resource="sms_messages")
    assert (noted(), mailed()) == ([], [])


def test_the_next_period_begins_anew(acme, send, now):
    send(600)
    send(600, at=now + timedelta(days=31))
    assert (noted(), mailed()) == ([50, 50], [50, 50])


def test_a_tenants_own_thresholds_count_and_a_change_brings_no_news_of_the_past(acme, send, now):
    set_thresholds(acme, [120, 10, 10], now)
    send(100)
    assert noted() == [10]
    set_thresholds(acme, [5, 10, 20], now)
    send(1)
    assert noted() == [10]
    send(99)
    assert (noted(), mailed()) == ([10, 20], [10, 20])


def set_thresholds(tenant, percents, now):
    with unit_of_work() as session:
        tenants.set_thresholds(session, session.get_one(Tenant, tenant.id), percents, actor="uma", now=now)


def test_thresholds_are_kept_sorted_and_once(acme, now):
    set_thresholds(acme, [90, 50, 90], now)
    assert db.session.scalar(select(Tenant.thresholds)) == [50, 90]
    set_thresholds(acme, [], now)
    assert db.session.scalar(select(Tenant.thresholds)) == []


@pytest.mark.parametrize("percents", [[0], [201], [-5], range(1, 10)])
def test_thresholds_have_bounds(acme, now, percents):
    with pytest.raises(Invalid) as refused:
        set_thresholds(acme, percents, now)
    assert refused.value.details["field"] == "thresholds"


def test_shuffled_repeats_cross_once(acme, send):
    events = [(f"call {number}", 10) for number in range(100)] * 3
    random.Random(7).shuffle(events)
    while events:
        batch, events = events[:17], events[17:]
        send(*batch)
    assert (noted(), mailed()) == ([50, 75, 90, 100], [50, 75, 90, 100])


def test_parallel_writers_cross_once(app, acme, send):
    def write(offset):
        with app.app_context():
            for number in range(50):
                send((f"call {(number + offset) % 100}", 10))

    threads = [threading.Thread(target=write, args=(25 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (noted(), sorted(mailed())) == ([50, 75, 90, 100], [50, 75, 90, 100])


def test_a_batch_that_crosses_nothing_costs_no_statement_more(acme, make, send, now, count_statements):
    plain = make.tenant("Plain")
    make.subscribe(plain, make.package("unlimited", {"voice_minutes": None}))
    send(1)
    send(1, tenant="plain")
    counts = []
    for tenant in ("plain", "acme"):
        with count_statements() as seen:
            send(1, tenant=tenant)
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_running_period_shows_the_highest_of_each_resource(acme, make, send, now):
    send(800)
    send(110)
    found = thresholds.of_period(db.session(), acme.id, db.session.scalar(select(ThresholdCrossing.period_on)))
    assert [(each.crossing.percent, each.resource.code) for each in found] == [(90, "voice_minutes")]
    assert [each.tenant.slug for each in thresholds.latest(db.session())] == ["acme"]


def test_readers_are_those_who_chose_it_and_may_sign_in(acme, make, now):
    globex = make.tenant("Globex")
    people = [make.user(acme), make.user(acme), make.user(acme), make.staff(), make.staff(), make.user(globex)]
    with unit_of_work() as session:
        for person in (people[0], people[1], people[3], people[5]):
            accounts.set_threshold_mail(session, person.id, True, actor="test", now=now)
        accounts.disable_account(session, session.get_one(accounts.Account, people[1].id), actor="test", now=now)
    found = accounts.threshold_readers(db.session(), acme.id)
    assert {reader.id for reader in found} == {people[0].id, people[3].id}

"""Counting what sources report, on both databases."""

import threading
from datetime import date, timedelta

import pytest
from sqlalchemy import func, select

from app.core.usage import Unreadable, UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering import meters
from app.domain.metering.ingest import ingest
from app.domain.metering.models import MeterBeyond, Quarantined, UsageDay, UsageRecord
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from tests.factories import close_before

MINUTES = (LimitSpec("voice_minutes", 1000, "charge", 20_000), LimitSpec("fax_pages", 10))


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", limits=MINUTES), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def send(app, make, now):
    """Report events of one source; returns (status, code) of each."""
    source = make.source("pbx1")
    source_id = source.id

    def act(*outcomes, at=now):
        reports = [Report(outcome, f"raw {number}") for number, outcome in enumerate(outcomes)]
        results = run_in_transaction(lambda session: ingest(session, source_id, reports, now=at))
        return [(result.status, result.code) for result in results]

    return act


@pytest.fixture
def event(now):
    def build(external_id="e1", quantity=7, resource="voice_minutes", tenant="acme", occurred_at=now, **more):
        return UsageEvent(external_id, tenant, resource, quantity, occurred_at, **more)

    return build


def meter(tenant, resource="voice_minutes", *, now):
    found = meters.current(db.session(), tenant, now=now)
    return next(view for view in found.meters if view.resource_code == resource)


def test_a_record_its_meter_and_its_day_move_together(acme, send, event, now):
    assert send(event(), event("e2", 3, "fax_pages")) == [("recorded", ""), ("recorded", "")]
    assert (meter(acme, now=now).used, meter(acme, now=now).remaining) == (7, 993)
    assert meter(acme, "fax_pages", now=now).remaining == 7
    days = db.session.execute(select(UsageDay.resource_code, UsageDay.quantity, UsageDay.records)).all()
    assert sorted(map(tuple, days)) == [("fax_pages", 3, 1), ("voice_minutes", 7, 1)]


def test_an_event_sent_twice_is_counted_once(acme, send, event, now):
    assert send(event(), event()) == [("recorded", ""), ("duplicate", "")]
    assert send(event()) == [("duplicate", "")]
    assert meter(acme, now=now).used == 7


def test_the_same_id_with_other_content_is_kept_aside(acme, send, event, now):
    send(event())
    assert send(event(quantity=8)) == [("conflict", "conflict")]
    assert meter(acme, now=now).used == 7
    kept = db.session.scalars(select(Quarantined)).one()
    assert (kept.reason, kept.external_id, kept.body) == ("conflict", "e1", "raw 0")


def test_the_same_id_for_another_tenant_is_a_conflict(acme, make, send, event, now):
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("silver", limits=MINUTES))
    send(event())
    assert send(event(tenant="globex")) == [("conflict", "conflict")]
    assert meter(globex, now=now).used == 0


@pytest.mark.parametrize("name", ["acme", "ACME", "Acme.Example", "AC-77"])
def test_a_tenant_is_known_by_slug_domain_and_account_code_whatever_the_case(make, send, event, name):
    tenant = make.tenant("Acme", domain="acme.example", account_code="ac-77")
    make.subscribe(tenant, make.package("gold", limits=MINUTES))
    assert send(event(tenant=name)) == [("recorded", "")]


def test_what_cannot_be_counted_is_kept_whole_with_its_reason(acme, make, send, event, now):
    make.tenant("Bare")
    assert send(
        event("a", tenant="nobody"),
        event("b", resource="unicorns"),
        event("c", resource="extensions"),
        event("d", tenant="bare"),
        event("e", occurred_at=now - timedelta(days=60)),
        event("f", occurred_at=now + timedelta(days=2)),
        Unreadable("unreadable_time", "“noon” is no time", "g", "acme"),
    ) == [
        ("quarantined", "unknown_tenant"),
        ("quarantined", "unknown_resource"),
        ("quarantined", "unknown_resource"),
        ("quarantined", "no_subscription"),
        ("quarantined", "no_subscription"),
        ("quarantined", "time_in_future"),
        ("quarantined", "unreadable_time"),
    ]
    assert db.session.scalar(select(func.count()).select_from(Quarantined)) == 7
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == 0


def test_a_straddling_record_carries_its_parts(acme, send, event, now):
    send(event("a", 950), event("b", 100), event("c", 10))
    rows = db.session.scalars(select(UsageRecord).order_by(UsageRecord.id)).all()
    assert [(row.from_allowance, row.beyond, row.beyond_as) for row in rows] == [
        (950, 0, ""),
        (50, 50, "charge"),
        (0, 10, "charge"),
    ]
    assert rows[1].beyond_price_micros == 20_000
    view = meter(acme, now=now)
    assert (view.remaining, view.overage, view.state) == (0, 60, "over")
    assert db.session.scalar(select(MeterBeyond.quantity)) == 60


def test_usage_beyond_a_blocking_limit_is_recorded_as_an_overrun(acme, send, event, now):
    assert send(event("a", 12, "fax_pages")) == [("recorded", "")]
    row = db.session.scalars(select(UsageRecord)).one()
    assert (row.from_allowance, row.beyond, row.beyond_as, row.beyond_price_micros) == (10, 2, "block", 0)


def test_a_direction_that_is_not_metered_stays_in_the_history_and_costs_nothing(acme, send, event, now):
    send(event(metered=False, direction="inbound"))
    row = db.session.scalars(select(UsageRecord)).one()
    assert (row.measured, row.quantity) == (7, 0)
    assert meter(acme, now=now).used == 0


def test_a_billing_step_rounds_up(acme, send, event, now):
    with unit_of_work() as session:
        resource = session.get_one(catalog.Resource, "voice_minutes")
        resource.first_step, resource.next_step = 60, 60
    send(event("a", 61), event("b", 0))
    assert meter(acme, now=now).used == 120


def test_late_usage_lands_in_its_own_period_while_that_is_open(acme, send, event, now):
    send(event(occurred_at=now - timedelta(days=35)))
    assert meter(acme, now=now).used == 0
    row = db.session.scalars(select(UsageRecord)).one()
    assert not row.late
    assert row.period_on == date(2026, 10, 13)


def test_late_usage_of_a_closed_period_lands_in_the_running_one_and_says_so(acme, send, event, now):
    with unit_of_work() as session:
        running = subscriptions.period_of(subscriptions.require_live(session, acme), now)
        close_before(session, acme.id, running.first_on)
    send(event(occurred_at=now - timedelta(days=35)))
    assert meter(acme, now=now).used == 7
    assert db.session.scalars(select(UsageRecord)).one().late


def test_a_new_period_starts_at_zero_without_a_job(acme, send, event, now):
    send(event())
    assert meter(acme, now=now + timedelta(days=31)).used == 0


def test_a_raised_limit_is_read_at_once_and_the_usage_stays(acme, send, event, now):
    send(event("a", 950))
    with unit_of_work() as session:
        spec = PackageSpec("Gold", limits=(LimitSpec("voice_minutes", 2000, "charge", 20_000),))
        catalog.publish(session, catalog.by_code(session, "gold"), spec, actor="test", now=now)
    assert meter(acme, now=now).remaining == 1050


def test_moving_up_keeps_what_was_used(acme, make, send, event, now):
    send(event("a", 800))
    platinum = make.package("platinum", limits=(LimitSpec("voice_minutes", 2000),))
    make.subscribe(acme, platinum)
    assert (meter(acme, now=now).used, meter(acme, now=now).remaining) == (800, 1200)


def test_a_moved_time_zone_moves_no_meter(acme, send, event, now):
    send(event())
    with unit_of_work() as session:
        session.get_one(type(acme), acme.id).timezone = "America/New_York"
    db.session.expire_all()
    assert meter(acme, now=now).used == 7


def test_writers_at_once_store_each_event_once(app, acme, make, event, now):
    """Eight threads send the same forty events in batches of their own: one record each, one sum."""
    source_id = make.source("pbx2").id
    events = [Report(event(f"e{number}"), "") for number in range(40)]
    counts: list[int] = []

    def run(offset):
        mixed = events[offset:] + events[:offset]
        with app.app_context():
            for start in range(0, 40, 10):
                results = run_in_transaction(
                    lambda session: ingest(session, source_id, mixed[start : start + 10], now=now)
                )
                counts.append(sum(result.status == "recorded" for result in results))

    threads = [threading.Thread(target=run, args=(5 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.session.rollback()
    assert sum(counts) == 40
    assert meter(acme, now=now).used == 280
    assert db.session.scalar(select(func.sum(UsageRecord.quantity))) == 280


def test_a_batch_costs_the_same_statements_as_one_event(acme, send, event, count_statements):
    send(event("warm"))
    with count_statements() as single:
        send(event("one"))
    with count_statements() as batch:
        send(*(event(f"many-{number}", 1) for number in range(400)))  # below every threshold
    assert len(batch) <= len(single)

"""What is left of a period, on the meters of the next ones."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering import calls, meters, opening
from app.domain.metering.decision import Call, Terms
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Meter, UsageRecord
from app.domain.metering.reports import Report
from app.domain.metering.reversal import reverse
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

BERLIN = ZoneInfo("Europe/Berlin")


def limit(periods=1, cap=None, included=1_000):
    return LimitSpec("voice_minutes", included, "block", 0, periods, cap)


def on(month, day=10):
    return datetime(2026, month, day, 12, tzinfo=BERLIN)


@pytest.fixture
def subscribe(make):
    """Acme since 1 August, on a package with this limit since then."""

    def act(*limits):
        tenant = make.tenant("Acme", timezone="Europe/Berlin")
        make.now = datetime(2026, 7, 1, tzinfo=BERLIN)
        package = make.package("gold", limits or (limit(),))
        make.now = on(8, 1)
        make.subscribe(tenant, package)
        return tenant

    return act


@pytest.fixture
def talk(make):
    source = make.source("pbx1").id
    sent = iter(range(1000))

    def act(seconds, at, tenant="acme", now=None):
        event = UsageEvent(f"e{next(sent)}", tenant, "voice_minutes", seconds, at)
        act = lambda session: ingest(session, source, [Report(event, "")], now=now or at)  # noqa: E731
        return run_in_transaction(act)[0].status

    return act


def carried(month):
    db.session.rollback()
    again = list(opening.recount(db.session.connection()))
    assert again == [(key, kept, kept) for key, _, kept in again]
    return db.session.scalar(select(Meter.carried_in).where(Meter.period_on == date(2026, month, 1)))


def seen(tenant, at):
    db.session.rollback()
    return meters.current(db.session(), db.session.get_one(Tenant, tenant.id), now=at).meters[0]


def test_what_is_left_is_carried_into_the_next_period_and_burns_first(subscribe, talk):
    subscribe()
    talk(700, on(8))
    talk(500, on(9))
    assert carried(9) == 300
    record = db.session.scalars(select(UsageRecord).order_by(UsageRecord.id.desc())).first()
    assert (record.from_carried, record.from_allowance, record.beyond) == (300, 200, 0)


def test_a_meter_that_nothing_was_counted_on_yet_shows_it_too(subscribe, talk):
    tenant = subscribe()
    talk(700, on(8))
    view = seen(tenant, on(9))
    assert (view.carried_in, view.remaining) == (300, 1_300)
    talk(1, on(9))
    assert seen(tenant, on(9)).remaining == 1_299


def test_it_lapses_after_its_periods_and_periods_without_usage_count(subscribe, talk):
    tenant = subscribe(limit(periods=2))
    talk(700, on(8))
    talk(1, on(10))
    assert carried(10) == 1_300  # 300 of August, 1,000 of September, which has no meter
    assert seen(tenant, on(11)).carried_in == 2_000  # August's has lapsed, and the second came out of it


def test_a_cap_bounds_what_comes_in(subscribe, talk):
    subscribe(limit(cap=250))
    talk(100, on(8))
    talk(1, on(9))
    assert carried(9) == 250


def test_a_late_record_takes_back_what_it_left(subscribe, talk):
    subscribe()
    talk(700, on(8))
    talk(50, on(9))
    assert talk(200, on(8, 30), now=on(9)) == "recorded"
    assert carried(9) == 100


def test_a_reversal_leaves_more_over(subscribe, talk):
    tenant = subscribe()
    talk(700, on(8))
    talk(50, on(9))
    record = db.session.scalars(select(UsageRecord).order_by(UsageRecord.id)).first()
    run_in_transaction(
        lambda session: reverse(session, session.get_one(Tenant, tenant.id), record.id, "x", actor="a", now=on(9))
    )
    assert carried(9) == 1_000


def test_the_rule_is_that_of_the_moment_the_period_begins(subscribe, talk):
    subscribe(limit(periods=0))
    talk(700, on(8))
    with unit_of_work() as session:
        package = catalog.by_code(session, "gold")
        catalog.publish(session, package, PackageSpec("Gold", limits=(limit(),)), actor="test", now=on(8, 20))
    talk(1, on(9))
    assert carried(9) == 300


def test_what_was_included_is_that_of_the_moment_the_period_ended(subscribe, talk):
    subscribe()
    talk(700, on(8))
    with unit_of_work() as session:
        package = catalog.by_code(session, "gold")
        content = PackageSpec("Gold", limits=(limit(included=5_000),))
        catalog.publish(session, package, content, actor="test", now=on(9, 2))
    talk(1, on(9))
    assert carried(9) == 300


def test_a_call_may_talk_on_what_was_carried_over(subscribe, talk, make):
    tenant = subscribe(limit(included=1_000))
    talk(100, on(8))
    source = make.source("pbx2").id
    terms = Terms(1_800, 120, ("outbound",))

    def ask(call_id):
        act = lambda session: calls.authorize(session, source, Call("acme", call_id), terms, now=on(9))  # noqa: E731
        return run_in_transaction(act).seconds

    assert [ask("a"), ask("b"), ask("c")] == [1_800, 100, 0]  # 1,000 and the 900 left of August
    assert seen(tenant, on(9)).remaining == 0


def test_without_rollover_nothing_is_worked_out(subscribe, talk, count_statements):
    subscribe(limit(periods=0))
    talk(700, on(8))
    with count_statements() as seen:
        talk(1, on(9))
    assert len(seen) <= 7, seen.texts
    assert carried(9) == 0


def test_another_day_of_the_month_is_the_first_of_a_period(make, talk):
    tenant = make.tenant("Globex", timezone="Pacific/Kiritimati")
    make.now = datetime(2026, 1, 31, 1, tzinfo=ZoneInfo("Pacific/Kiritimati"))
    make.subscribe(tenant, make.package("gold", (limit(),)))
    talk(400, make.now + timedelta(days=5), "globex")
    talk(1, make.now + timedelta(days=35), "globex")
    assert carried_by_period() == [(date(2026, 1, 31), 0), (date(2026, 2, 28), 600)]


def test_what_a_subscription_carried_over_outlives_it(make, subscribe, talk):
    tenant = subscribe()
    for seconds, month in ((700, 8), (100, 9), (5, 10)):
        talk(seconds, on(month))
    assert [carried(month) for month in (9, 10)] == [300, 1_000]  # the oldest burns first
    with unit_of_work() as session:
        subscriptions.end(session, session.merge(tenant), actor="test", now=on(10, 12))
    with unit_of_work() as session:
        record = session.scalars(select(UsageRecord).where(UsageRecord.quantity == 100)).one()
        reverse(session, session.merge(tenant), record.id, "a test call", actor="test", now=on(10, 13))
    assert [carried(month) for month in (9, 10)] == [300, 1_000]
    make.now = on(10, 20)
    make.subscribe(tenant, make.package("silver", (limit(),)))
    talk(400, on(10, 21))
    talk(1, on(11, 21))
    assert [carried(month) for month in (9, 10)] == [300, 1_000]
    assert carried_by_period()[-1] == (date(2026, 11, 20), 600)


def carried_by_period():
    found = db.session.execute(select(Meter.period_on, Meter.carried_in).order_by(Meter.period_on))
    return [tuple(row) for row in found]

"""A statement's figures against the meters and the records, on both databases."""

from datetime import date, timedelta

import pytest

from app.db import db, unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering import meters, statement
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

CHARGED = (LimitSpec("voice_minutes", 600, "charge", 20_000), LimitSpec("fax_pages", 10, "notify"))


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", limits=CHARGED), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def build(app, now):
    def act(tenant, day=None, *, at=now, **options):
        session = db.session()
        session.rollback()
        subscription = subscriptions.live(session, tenant.id)
        period = subscriptions.period_on_day(subscription, day) if day else subscriptions.period_of(subscription, at)
        return statement.build(session, session.get_one(Tenant, tenant.id), subscription, period, now=at, **options)

    return act


def line(found, resource="voice_minutes"):
    return next(line for line in found.lines if line.meter.resource_code == resource)


def test_a_record_that_straddles_the_limit_is_charged_for_its_part_beyond_alone(acme, make, build):
    source = make.source()
    make.usage(acme, 550, source=source)
    make.usage(acme, 95, source=source)  # 50 covered, 45 s beyond at € 0.02 a minute
    found = build(acme)
    voice = line(found)
    assert (voice.meter.used, voice.meter.remaining) == (645, 0)
    assert voice.beyond == (statement.BeyondPart("charge", 20_000, 45, 20_000),)  # € 0.015, half-up
    assert found.amount_micros == 20_000


def test_what_is_free_of_charge_costs_nothing(acme, make, build):
    make.usage(acme, 12, "fax_pages", source=make.source())
    found = build(acme)
    assert line(found, "fax_pages").beyond == (statement.BeyondPart("notify", 0, 2, 0),)
    assert found.amount_micros == 0


def test_each_price_of_the_period_is_listed_by_itself(acme, make, build, now):
    source = make.source()
    make.usage(acme, 660, source=source)
    with unit_of_work() as session:
        dearer = (LimitSpec("voice_minutes", 600, "charge", 50_000),)
        package = catalog.by_code(session, "gold")
        catalog.publish(session, package, PackageSpec("Gold", limits=dearer), actor="test", now=now)
    make.usage(acme, 30, source=source)
    found = build(acme, at=now + timedelta(minutes=1))
    assert [(part.price_micros, part.quantity, part.amount_micros) for part in line(found).beyond] == [
        (20_000, 60, 20_000),
        (50_000, 30, 30_000),  # € 0.025, half-up
    ]
    assert found.amount_micros == 50_000
    assert [(package.name, package.revision) for package in found.packages] == [("Gold", 2)]


def test_what_is_charged_is_rounded_once_and_not_record_by_record(acme, make, build):
    source = make.source()
    make.usage(acme, 600, source=source)
    for _ in range(10):
        make.usage(acme, 10, source=source)  # € 0.00333 each, € 0.0333 together
    found = build(acme)
    assert line(found).beyond == (statement.BeyondPart("charge", 20_000, 100, 30_000),)


@pytest.mark.parametrize(("currency", "micros"), [("EUR", 10_000), ("JPY", 1_000_000), ("KWD", 1_000)])
def test_the_smallest_coin_is_the_currencys_own(currency, micros):
    assert statement.minor_unit_micros(currency) == micros


def test_rows_days_and_meters_sum_to_the_same(acme, make, build, now):
    source = make.source()
    for step in range(12):
        make.usage(acme, 61 + step, source=source, occurred_at=now - timedelta(hours=9 * step))
        make.usage(acme, step, "fax_pages", source=source, occurred_at=now - timedelta(days=step))
    found = build(acme)
    session = db.session()
    subscription = subscriptions.live(session, acme.id)
    for meter in meters.in_period(session, subscription, subscription.package.revision, found.period):
        rows = [row.record for row in found.rows if row.record.resource_code == meter.resource_code]
        assert sum(record.quantity for record in rows) == meter.used == line(found, meter.resource_code).meter.used
        beyond = sum(part.quantity for part in line(found, meter.resource_code).beyond)
        assert sum(record.beyond for record in rows) == beyond == meter.overage
        assert meter.used > 0
    assert sum(quantity for _, quantity in found.days) == line(found).meter.used
    assert found.records == len(found.rows)


def test_the_period_before_is_closed_and_holds_only_its_own(acme, make, build, now):
    source = make.source()
    make.usage(acme, 60, source=source, occurred_at=now - timedelta(days=35))
    make.usage(acme, 7, source=source)
    before, running = build(acme, date(2026, 10, 13)), build(acme)
    assert (before.period.first_on, before.last_day, before.so_far) == (date(2026, 10, 13), date(2026, 11, 12), False)
    assert (running.last_day, running.so_far) == (date(2026, 11, 22), True)
    assert [row.record.quantity for row in before.rows] == [60]
    assert [row.record.quantity for row in running.rows] == [7]
    assert (len(before.days), sum(quantity for _, quantity in before.days)) == (31, 60)


def test_a_change_of_package_is_shown_with_its_day(acme, make, build, now):
    later = now + timedelta(days=2)
    silver = make.package("silver", limits={"voice_minutes": 6000})
    with unit_of_work() as session:
        tenant = session.get_one(Tenant, acme.id)
        subscriptions.subscribe(session, tenant, session.merge(silver), actor="test", now=later)
    found = build(acme, at=later + timedelta(hours=1))
    assert [(package.name, package.since) for package in found.packages] == [
        ("Gold", date(2026, 11, 13)),
        ("Silver", date(2026, 11, 24)),
    ]
    assert line(found).meter.included == 6000
    assert [package.name for package in build(acme, date(2026, 10, 13), at=later).packages] == ["Gold"]


def test_another_tenants_usage_is_not_in_it(acme, make, build, now):
    other = make.tenant("Globex", timezone="Europe/Berlin")
    make.subscribe(other, make.package("tin", limits=CHARGED), started_at=now - timedelta(days=40))
    make.usage(other, 700, source=make.source())
    found = build(acme)
    assert (found.rows, found.records, found.amount_micros, line(found).meter.used) == ((), 0, 0, 0)


def test_many_rows_are_bounded_and_the_sums_are_not(acme, make, build, count_statements):
    source = make.source()
    for _ in range(5):
        make.usage(acme, 200, source=source)
    with count_statements() as seen:
        found = build(acme, most=2)
    assert (len(found.rows), found.records, line(found).meter.used) == (2, 5, 1000)
    assert len(seen) <= 12

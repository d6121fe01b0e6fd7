"""What has no period stands beside what has one, wherever meters are read."""

from datetime import timedelta

import pytest

from app.core.forecast import Forecast
from app.db import unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.changes.package_edit import preview_edit
from app.domain.metering import meters, statement
from app.domain.metering.models import NO_PERIOD, Meter
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    limits = {"voice_minutes": 6_000, "extensions": 5, "concurrent_calls": 10}
    make.subscribe(tenant, make.package("gold", limits), started_at=now - timedelta(days=40))
    return tenant


def counted(tenant, resource, used, on_hold=0, period_on=NO_PERIOD):
    with unit_of_work() as session:
        row = session.get(Meter, (tenant.id, resource, period_on)) or Meter(
            tenant_id=tenant.id, resource_code=resource, period_on=period_on, used=0, version=0
        )
        row.used, row.on_hold, row.version = used, on_hold, row.version + 1
        session.add(row)


def found(session, tenant, now):
    return {view.resource_code: view for view in meters.current(session, tenant, now=now).meters}


def test_what_is_held_and_what_is_in_progress_stand_on_the_meters(session, acme, now):
    counted(acme, "extensions", 4)
    counted(acme, "concurrent_calls", 3)
    views = found(session, acme, now)
    assert (views["extensions"].used, views["extensions"].remaining, views["extensions"].state) == (4, 1, "near")
    assert (views["concurrent_calls"].used, views["concurrent_calls"].remaining) == (3, 7)


def test_what_is_on_hold_is_not_left(session, acme, now):
    period = subscriptions.period_of(subscriptions.live(session, acme.id), now)
    counted(acme, "voice_minutes", 1_000, on_hold=1_800, period_on=period.first_on)
    voice = found(session, acme, now)["voice_minutes"]
    assert (voice.used, voice.on_hold, voice.remaining, voice.overage) == (1_000, 1_800, 3_200, 0)


def test_calls_in_progress_bring_a_tenant_near_its_limit_as_long_as_they_last(session, acme, now):
    period = subscriptions.period_of(subscriptions.live(session, acme.id), now)
    states = []
    for on_hold in (1_799, 1_800, 3_000, 0):
        counted(acme, "voice_minutes", 3_000, on_hold=on_hold, period_on=period.first_on)
        session.rollback()
        session.expire_all()
        near = [view.resource_code for _, view in meters.nearest_limits(session, now=now)]
        states.append((found(session, acme, now)["voice_minutes"].state, near))
    near = ("near", ["voice_minutes"])
    assert states == [("fine", []), near, near, ("fine", [])]


def test_what_has_no_limit_is_shown_while_a_call_holds_some(session, make, now):
    tenant = make.tenant("Open")
    make.subscribe(tenant, make.package("open"))
    assert found(session, tenant, now) == {}
    period = subscriptions.period_of(subscriptions.live(session, tenant.id), now)
    counted(tenant, "voice_minutes", 0, on_hold=60, period_on=period.first_on)
    assert found(session, tenant, now)["voice_minutes"].remaining is None


def test_a_metered_resource_is_not_read_without_a_period(session, acme, now):
    counted(acme, "voice_minutes", 77)
    assert found(session, acme, now)["voice_minutes"].used == 0


def test_the_lists_of_tenants_see_what_is_held(session, acme, now):
    counted(acme, "extensions", 5)
    subscription = subscriptions.live(session, acme.id)
    assert meters.fullest(session, [subscription], now=now)[acme.id].resource_code == "extensions"
    assert [(tenant.id, view.used) for tenant, view in meters.nearest_limits(session, now=now)] == [(acme.id, 5)]


def test_a_change_of_what_is_held_changes_the_fingerprint(session, acme, now):
    counted(acme, "extensions", 1)
    before = meters.fingerprints([acme.id], now=now)
    assert meters.fingerprints([acme.id], now=now) == before
    counted(acme, "extensions", 2)
    assert meters.fingerprints([acme.id], now=now) != before


def test_a_smaller_limit_says_who_holds_more(session, acme, now):
    counted(acme, "extensions", 5)
    spec = PackageSpec("Gold", limits=(LimitSpec("extensions", 3),))
    impact = preview_edit(session, catalog.by_code(session, "gold"), spec, now=now)
    assert [each.tenant.slug for each in impact.listed if each.goes_over] == ["acme"]


def test_only_the_running_statement_tells_what_is_held(session, acme, now):
    counted(acme, "extensions", 2)
    subscription = subscriptions.live(session, acme.id)
    running, before = subscriptions.periods_of(subscription, now)
    lines = [
        {
            line.meter.resource_code: line.meter.used
            for line in statement.build(session, acme, subscription, p, now=now).lines
        }
        for p in (running, before)
    ]
    assert lines == [{"voice_minutes": 0, "extensions": 2}, {"voice_minutes": 0}]


def test_the_forecast_goes_on_at_the_pace_of_the_last_seven_days(session, make, acme, now, count_statements):
    source = make.source()
    for days, quantity in ((8, 5_000), (7, 350), (1, 350), (0, 100)):  # the eighth day is not asked, today not over
        make.usage(acme, quantity, source=source, occurred_at=now - timedelta(days=days))
    tenant = session.get_one(Tenant, acme.id)
    with count_statements() as seen:
        voice = next(view for view in meters.current(session, tenant, now=now).meters if view.remaining == 200)
    assert len(seen) == 2, seen.texts
    assert voice.forecast == Forecast(700, 7, now + timedelta(days=2))


def test_what_is_left_lasts_until_the_period_ends(session, make, acme, now):
    make.usage(acme, 70, source=make.source(), occurred_at=now - timedelta(days=2))
    assert found(session, acme, now)["voice_minutes"].forecast == Forecast(70, 7, None)


def test_a_young_subscription_is_foreseen_by_the_days_it_has(session, make, now):
    young = make.tenant("Young")
    make.subscribe(young, make.package("y", {"voice_minutes": 6_000}), started_at=now - timedelta(days=2))
    source = make.source()
    make.usage(young, 1_000, source=source, occurred_at=now - timedelta(days=1))
    assert found(session, young, now)["voice_minutes"].forecast == Forecast(1_000, 2, now + timedelta(days=10))
    assert found(session, young, now - timedelta(days=2))["voice_minutes"].forecast is None


def test_only_what_is_metered_limited_and_left_is_foreseen(session, make, acme, now):
    make.usage(acme, 6_000, source=make.source(), occurred_at=now - timedelta(days=1))
    assert [view.forecast for view in meters.current(session, acme, now=now).meters] == [None, None, None]

"""What has no period stands beside what has one, wherever meters are read."""

from datetime import timedelta

import pytest

from app.db import unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.service import LimitSpec, PackageSpec
from app.domain.changes.package_edit import preview_edit
from app.domain.metering import meters, statement
from app.domain.metering.models import NO_PERIOD, Meter
from app.domain.subscriptions import service as subscriptions


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
    assert [tenant.slug for limit in impact.limits for tenant in limit.go_over] == ["acme"]


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

"""Who outgrows its package, read from meters, rollup, refusals and overage of everybody at once."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.core.forecast import Forecast
from app.db import unit_of_work
from app.domain.catalog.specs import LimitSpec
from app.domain.insight import ready
from app.domain.insight.signs import Beyond, Full, RunsOut, Share
from app.domain.metering import meters
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

EURO = 1_000_000
STARTED = datetime(2026, 8, 1, 9, tzinfo=UTC)
FIRST = {month: date(2026, month, 1) for month in range(8, 12)}


@pytest.fixture
def source(make):
    return make.source()


@pytest.fixture
def sold(make):
    """Three sizes; the middle one charges 0.02 a minute beyond."""
    make.now = STARTED
    small = make.package("small", {"voice_minutes": 30_000, "extensions": 5}, price_micros=29 * EURO)
    medium = make.package(
        "medium",
        [LimitSpec("voice_minutes", 60_000, "charge", 20_000), LimitSpec("extensions", 10)],
        price_micros=49 * EURO,
        cost_micros=21 * EURO,
    )
    limits = [LimitSpec("voice_minutes", 120_000, "charge", 15_000), LimitSpec("extensions", 20)]
    large = make.package("large", limits, price_micros=69 * EURO)
    make.package("private", {}, price_micros=1 * EURO, public=False)
    return {"small": small, "medium": medium, "large": large}


@pytest.fixture
def subscribed(make, sold, now, source):
    """Makes a tenant on a package since August that used so many minutes in each month until now."""

    def put(name, package, minutes, **profile):
        make.now = STARTED
        tenant = make.tenant(name, **profile)
        make.subscribe(tenant, sold[package], STARTED)
        make.now = now
        for month, used in zip(FIRST, minutes, strict=False):
            if used:
                at = datetime(2026, month, 10, 12, tzinfo=UTC)
                make.usage(tenant, used * 60, source=source, occurred_at=at)
        return tenant

    return put


def by_name(found):
    return {each.name: each for each in found}


def test_everybody_is_looked_at(session, subscribed, now, make, source):
    full = subscribed("Full", "small", (0, 0, 450, 410))
    subscribed("Beyond", "medium", (0, 0, 2_100, 100))
    subscribed("Down", "medium", (10, 20, 30, 10))
    subscribed("Fine", "small", (100, 499, 100, 390))
    found = ready.look(session, now=now)
    up, down = by_name(found.up), by_name(found.down)
    assert (set(up), set(down)) == ({"Full", "Beyond"}, {"Down"})
    shares = [Share(FIRST[11], 24_600, 30_000), Share(FIRST[10], 27_000, 30_000)]
    assert up["Full"].advice.signs == [Full("voice_minutes", shares)]
    assert (up["Full"].tenant_id, up["Full"].advice.fit.code) == (full.id, "medium")
    assert up["Beyond"].advice.signs[0] == Beyond(FIRST[10], 22 * EURO, 20 * EURO, 1_500_000)
    assert down["Down"].advice.fit.code == "small"
    assert down["Down"].advice.pays_micros == -20 * EURO


def test_what_runs_out_is_foreseen_by_the_tenants_own_days(session, subscribed, now, make, source):
    for name, timezone in (("Tokyo", "Asia/Tokyo"), ("Honolulu", "Pacific/Honolulu")):
        tenant = subscribed(name, "small", (), timezone=timezone)
        # At 21:00 UTC it is the 23rd in Tokyo, where the 22nd is over; in Honolulu the 22nd is not, the 15th counts.
        for day, quantity in ((15, 9_000), (22, 18_000)):
            make.usage(tenant, quantity, source=source, occurred_at=datetime(2026, 11, day, 12, tzinfo=UTC))
    up = by_name(ready.look(session, now=now).up)
    pace = {
        name: next(sign.forecast.used for sign in each.advice.signs if isinstance(sign, RunsOut))
        for name, each in up.items()
    }
    assert pace == {"Tokyo": 18_000, "Honolulu": 9_000}


def test_it_foresees_what_the_meter_does(session, subscribed, now, make, source):
    tenant = subscribed("Acme", "small", (), timezone="Europe/Berlin")
    make.usage(tenant, 14_000, source=source, occurred_at=now - timedelta(days=3))
    each = by_name(ready.look(session, now=now).up)["Acme"]
    foreseen = meters.current(session, session.get_one(Tenant, tenant.id), now=now).meters[0].forecast
    assert each.advice.signs == [RunsOut("voice_minutes", foreseen)]
    assert foreseen == Forecast(14_000, 7, now + timedelta(days=8))


def test_refused_attempts_lead_to_a_package_that_would_have_granted_them(session, subscribed, make, now, source):
    tenant = subscribed("Acme", "small", ())
    for _ in range(3):
        make.usage(tenant, 10_000, source=source)
    for number in range(3):
        assert not make.call(tenant, source=source, call_id=f"c{number}").allowed
    advice = by_name(ready.look(session, now=now).up)["Acme"].advice
    assert [(sign.kind, sign.attempts) for sign in advice.signs] == [("refused", 3)]
    assert advice.fit.code == "medium"


def test_the_suspended_and_those_without_a_package_are_left_alone(session, subscribed, make, now):
    tenant = subscribed("Acme", "small", (0, 0, 450, 410))
    make.tenant("Nobody")
    with unit_of_work() as unit:
        tenants.set_suspended(unit, unit.get_one(Tenant, tenant.id), True, actor="t", now=now)
    found = ready.look(session, now=now)
    assert (found.up, found.down) == ([], [])


def test_the_number_of_statements_does_not_grow_with_the_tenants(session, subscribed, now, count_statements):
    counts = []
    for round_ in range(2):
        for number in range(1 + round_ * 6):
            zone = ("Europe/Berlin", "Asia/Tokyo", "America/New_York")[number % 3]
            subscribed(f"T {round_} {number}", "small", (0, 0, 450, 450), timezone=zone)
        session.rollback()
        session.expire_all()
        with count_statements() as seen:
            found = ready.look(session, now=now)
        counts.append(len(seen))
        assert not any("usage_record" in text for text in seen.texts)
    assert len(found.up) == 8
    assert counts == [8, 8], seen.texts

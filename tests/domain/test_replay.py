"""What a tenant's last periods would have cost on other packages; on its own they cost what its invoices say."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import select

from app.core.money import price_of
from app.db import run_in_transaction, unit_of_work
from app.domain.billing import service as billing
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import browse, service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.changes.replay import replay
from app.domain.metering.models import UsageRecord
from app.domain.metering.reversal import reverse
from app.domain.metering.split import split
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000
CENT = 10_000
TERMS = Terms(Issuer("Northline"))
NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
AUGUST, SEPTEMBER, OCTOBER = (date(2026, month, 1) for month in (8, 9, 10))
LIMITS = (
    LimitSpec("fax_pages", 10, "charge", 33_333),
    LimitSpec("voice_minutes", 6_000, "charge", 21_500, rollover_periods=1, rollover_cap=2_000),
)


def at(month, day, hour=9):
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.fixture
def acme(make):
    make.now = at(8, 1)
    tenant = make.tenant()
    make.subscribe(tenant, make.package("gold", LIMITS, price_micros=49 * EURO))
    return tenant


@pytest.fixture
def source(make):
    return make.source()


@pytest.fixture
def use(make, acme, source):
    """`use(quantity, at(9, 3))`: voice seconds that happened then, reported at once or `reported` later."""

    def act(quantity, occurred_at, resource="voice_minutes", reported=None):
        make.now = reported or occurred_at
        return make.usage(acme, quantity, resource, source=source, occurred_at=occurred_at)

    return act


def replayed(tenant, *codes, now=NOW, **more):
    def act(session):
        found = subscriptions.require_live(session, tenant)
        packages = [catalog.by_code(session, code) for code in codes or ("gold",)]
        results = replay(session, found, packages, now=now, **more)
        return [results.get(package.id) for package in packages]

    return run_in_transaction(act)


def billed(tenant, first_on, now):
    """The usage lines of the period's invoice, finalised, which closes the period."""

    def act(session):
        found = subscriptions.require_live(session, tenant)
        invoice = billing.draft(session, found, subscriptions.period_on_day(found, first_on), TERMS, now=now)
        billing.finalise(session, invoice, TERMS, actor="nora", now=now)
        return usage_of(billing.lines_of(session, invoice))

    return run_in_transaction(act)


def usage_of(found):
    return [
        (line.resource_code, line.price_micros, line.quantity, line.late, line.amount_micros)
        for line in found
        if line.kind == "overage"
    ]


def publish(now, code="gold", **changes):
    with unit_of_work() as unit:
        package = catalog.by_code(unit, code)
        catalog.publish(unit, package, replace(catalog.spec_of(package.revision), **changes), actor="nora", now=now)


def test_the_own_package_costs_what_the_invoices_say(acme, use):
    dice = Random(7)
    invoices = []
    for month, first_on in ((8, AUGUST), (9, SEPTEMBER), (10, OCTOBER)):
        for day in range(2, 28):
            use(dice.randint(1, 700), at(month, day))
            if day % 7 == 0:
                use(dice.randint(1, 6), at(month, day), "fax_pages")
        invoices.append(billed(acme, first_on, at(month + 1, 3)))
    (gold,) = replayed(acme)
    assert all(invoices) and [usage_of(each.usage) for each in gold.periods] == invoices
    assert [each.period.first_on for each in gold.periods] == [AUGUST, SEPTEMBER, OCTOBER]
    usage = sum(line[-1] for lines in invoices for line in lines)
    assert gold.total_micros == 3 * 49 * EURO + usage


def test_also_when_limits_changed_in_the_middle_and_usage_came_late(acme, use):
    limits = (LimitSpec("fax_pages", 2, "charge", 50_000), LimitSpec("voice_minutes", 3_000, "charge", 30_000))
    use(5_000, at(8, 5))  # leaves 1,000
    august = billed(acme, AUGUST, at(9, 3))
    use(6_500, at(9, 5))
    use(700, at(8, 20), reported=at(9, 6))  # August is closed: late, 200 of it beyond
    use(8, at(9, 7), "fax_pages")
    publish(at(9, 10), limits=limits, price_micros=59 * EURO)
    use(90, at(9, 12))
    use(500, at(8, 21), reported=at(9, 13))
    use(3, at(9, 14), "fax_pages")
    september = billed(acme, SEPTEMBER, at(10, 3))
    use(3_100, at(10, 4))
    october = billed(acme, OCTOBER, NOW)
    (gold,) = replayed(acme)
    assert [usage_of(each.usage) for each in gold.periods] == [august, september, october]
    assert [line[1:4] for line in september] == [
        (21_500, 200, True),
        (30_000, 90, False),
        (30_000, 500, True),
        (50_000, 3, False),
    ]
    assert [each.recurring.amount_micros for each in gold.periods] == [49 * EURO, 49 * EURO, 59 * EURO]


def test_a_reversal_is_replayed_too(acme, use, source):
    taken_back = use(5_500, at(10, 2))
    use(900, at(10, 3))
    use(900, at(10, 4))

    def act(session):
        record = session.scalar(select(UsageRecord.id).where(UsageRecord.external_id == taken_back.external_id))
        reverse(session, session.get_one(Tenant, acme.id), record, "wrong tenant", actor="nora", now=at(10, 5))

    run_in_transaction(act)
    use(6_300, at(10, 6))
    publish(at(10, 8), limits=LIMITS[1:])  # no other voice, but records are read one by one
    october = billed(acme, OCTOBER, NOW)
    (gold,) = replayed(acme, most=1)
    assert usage_of(gold.periods[0].usage) == october
    assert october[0][2] == 900 + 900 + 6_300 - 8_000  # 2,000 were carried in


def test_another_package_is_replayed_record_by_record(make, acme, use):
    make.now = at(8, 1)
    make.package("tiny", [LimitSpec("voice_minutes", 1_000, "charge", 70_000)], price_micros=9 * EURO)
    dice, seconds = Random(3), []
    for day in range(1, 20):
        seconds.append(dice.randint(1, 300))
        use(seconds[-1], at(10, day, 12))
    tiny, gold = replayed(acme, "tiny", "gold", most=1)
    used = beyond = 0
    for each in seconds:
        beyond += split(each, used, 0, 1_000).beyond
        used += each
    assert tiny.periods[0].usage_micros == price_of(beyond, 70_000, 60, CENT) > 0
    assert tiny.total_micros == 9 * EURO + price_of(beyond, 70_000, 60, CENT)
    assert gold.total_micros == 49 * EURO


def test_what_a_limit_would_have_stopped_is_named_and_costs_nothing(make, acme, use):
    make.now = at(8, 1)
    make.package("strict", {"voice_minutes": 1_000, "fax_pages": None}, price_micros=5 * EURO)
    make.package("kind", [LimitSpec("voice_minutes", 1_000, "notify")], price_micros=6 * EURO)
    use(1_500, at(10, 2))
    strict, kind = replayed(acme, "strict", "kind", most=1)
    assert [(each.resource.code, each.quantity) for each in strict.periods[0].stopped] == [("voice_minutes", 500)]
    assert (strict.total_micros, kind.total_micros, kind.periods[0].stopped) == (5 * EURO, 6 * EURO, ())


def test_what_is_left_lives_on_by_the_rule_of_the_package_replayed(make, acme, use):
    make.now = at(8, 1)
    voice = {"included": 1_000, "at_limit": "charge", "overage_price_micros": EURO}
    make.package("keeps", [LimitSpec("voice_minutes", **voice, rollover_periods=1)])
    make.package("lapses", [LimitSpec("voice_minutes", **voice)])
    use(400, at(8, 2))
    use(1_500, at(9, 2))
    use(1_300, at(10, 2))
    keeps, lapses = replayed(acme, "keeps", "lapses")
    beyond = [[sum(line.quantity for line in each.usage) for each in found.periods] for found in (keeps, lapses)]
    assert beyond == [[0, 0, 200], [0, 500, 300]]  # 600 lived on into September, 100 of September's own into October


def test_a_package_younger_than_the_period_counts_as_it_first_was(make, acme, use):
    use(60, at(10, 2))
    make.now = at(11, 1)
    make.package("young", {"voice_minutes": 60}, price_micros=7 * EURO)
    publish(at(11, 2), "young", price_micros=8 * EURO)
    (young,) = replayed(acme, "young")
    assert young.total_micros == 3 * 7 * EURO


def test_only_periods_of_the_subscription_that_are_over_count(make, acme):
    assert replayed(acme, now=at(8, 20)) == [None]
    (gold,) = replayed(acme, now=at(9, 2))
    assert [each.period.first_on for each in gold.periods] == [AUGUST]
    make.package("yearly", interval="year")
    assert replayed(acme, "yearly") == [None]


def test_a_trial_is_no_period(make, acme, source):
    make.now = at(8, 1)
    trying = make.tenant("Globex")

    def act(session):
        tenant, package = session.get_one(Tenant, trying.id), catalog.by_code(session, "gold")
        subscriptions.subscribe(session, tenant, package, trial_days=31, actor="nora", now=at(8, 1))

    run_in_transaction(act)
    make.usage(trying, 600, source=source, occurred_at=at(8, 5))
    (gold,) = replayed(trying)
    assert [each.period.first_on for each in gold.periods] == [SEPTEMBER, OCTOBER]


def test_the_number_of_statements_is_fixed(make, acme, use, session, count_statements):
    def counted():
        session.rollback()
        found, packages = subscriptions.require_live(session, acme), browse.list_packages(session)
        with count_statements() as seen:
            replay(session, found, packages, now=NOW)
        return len(seen)

    use(7_000, at(10, 2))
    few = counted()
    for number in range(6):
        make.package(f"other-{number}", LIMITS, price_micros=number * EURO)
    for day in range(3, 25):
        use(600, at(10, day))
        use(1, at(9, day), "fax_pages")
    assert counted() == few <= 6
    publish(at(10, 27), limits=LIMITS[:1])
    assert counted() == few  # the records in place of a look for late ones


def test_another_tenants_usage_is_not_counted(make, acme, use, source):
    other = make.tenant("Globex")
    make.now = at(8, 1)
    make.subscribe(other, run_in_transaction(lambda session: catalog.by_code(session, "gold")))
    make.usage(other, 60_000, source=source, occurred_at=at(8, 5) + timedelta(hours=1))
    (gold,) = replayed(acme)
    assert [each.usage for each in gold.periods] == [(), (), ()]

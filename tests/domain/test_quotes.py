"""A change of package is quoted, accepted once, or refused with a fresh quote; a pending one takes effect exactly."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import func, select

from app.core.errors import Conflict, NotFound
from app.db import run_in_transaction, unit_of_work
from app.domain.billing import profiles, service as billing
from app.domain.billing.lines import Priced, Rate, changed
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.changes import quote as quotes
from app.domain.metering import meters
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.subscriptions.models import SubscriptionSegment
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"))
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
MIDDLE = datetime(2026, 9, 16, 9, tzinfo=UTC)  # 15 of 30 days are left
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
VALID = TERMS.quotes_hold


@pytest.fixture
def acme(make):
    """On a package of 10.00 with 100 minutes and 5 extensions since 1 September, taxed at 19 %."""
    make.now = STARTED
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT 19 %", 190_000), actor="nora", now=STARTED)
    tenant = make.tenant()
    make.subscribe(tenant, make.package("small", {"voice_minutes": 6_000, "extensions": 5}, price_micros=10 * EURO))
    make.package("large", {"voice_minutes": 12_000, "extensions": 3}, price_micros=20 * EURO, setup_fee_micros=5 * EURO)
    with unit_of_work() as unit:
        profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), Profile("vat", 14), actor="nora", now=STARTED)
    return tenant


def quoted(tenant, code="large", effect="now", now=MIDDLE, terms=TERMS):
    def act(session):
        found, package = session.get_one(Tenant, tenant.id), catalog.by_code(session, code)
        return quotes.make(session, found, package, effect, terms, actor="uma", now=now)

    return run_in_transaction(act)


def accepted(tenant, quote, now=MIDDLE, terms=TERMS):
    def act(session):
        found = session.get_one(Tenant, tenant.id)
        return quotes.accept(session, found, quote.id, terms, actor="uma", now=now)

    return run_in_transaction(act)


def on(session, tenant):
    session.rollback()
    session.expire_all()
    return subscriptions.require_live(session, tenant).package.code


def period_invoice(tenant, now, first_on=date(2026, 9, 1)):
    def act(session):
        found = subscriptions.require_live(session, session.get_one(Tenant, tenant.id))
        period = subscriptions.period_on_day(found, first_on)
        invoice = billing.draft(session, found, period, TERMS, now=now)
        rows = [(line.kind, line.name, line.amount_micros) for line in billing.lines_of(session, invoice)]
        return rows, invoice.total_micros

    return run_in_transaction(act)


def test_a_quote_says_credit_charge_tax_and_the_next_invoice(acme):
    quote = quoted(acme)
    assert [(line.kind, line.name, line.amount_micros) for line in quotes.lines_of(quote)] == [
        ("credit", "Small", -5 * EURO),
        ("charge", "Large", 10 * EURO),
        ("tax", "VAT 19 %", 950_000),
    ]
    assert (quote.due_now_micros, quote.next_on, quote.next_micros) == (0, date(2026, 10, 3), 29_750_000)
    assert (quote.effective_on, quote.valid_until) == (date(2026, 9, 16), MIDDLE + VALID)


def test_what_is_quoted_is_what_the_next_invoice_charges(acme):
    quote = quoted(acme)
    accepted(acme, quote)
    rows, total = period_invoice(acme, OCTOBER + timedelta(days=2))
    assert rows == [("recurring", "Large", 20 * EURO), ("credit", "Small", -5 * EURO), ("charge", "Large", 10 * EURO)]
    assert total == quote.next_micros


def test_a_change_of_time_zone_does_not_move_the_day_that_was_charged(acme):
    late = datetime(2026, 9, 16, 23, tzinfo=UTC)
    quote = quoted(acme, now=late)
    accepted(acme, quote, now=late)
    with unit_of_work() as unit:
        tenant = unit.get_one(Tenant, acme.id)
        profile = replace(tenants.profile_of(tenant), timezone="Asia/Tokyo")
        subscriptions.change_profile(unit, tenant, profile, actor="nora", now=late)
    assert period_invoice(acme, OCTOBER + timedelta(days=2))[1] == quote.next_micros


def test_limits_are_quoted_with_what_goes_over(acme):
    def hold(session):
        tenant = session.get_one(Tenant, acme.id)
        telephony.add(session, tenant, "extensions", [Wanted(f"10{n}") for n in range(4)], actor="uma", now=STARTED)

    run_in_transaction(hold)
    limits = {limit.resource: limit for limit in quotes.limits_of(quoted(acme))}
    extensions = limits["extensions"]
    assert (extensions.before, extensions.after, extensions.used, extensions.over) == (5, 3, 4, 1)
    assert (limits["voice_minutes"].before, limits["voice_minutes"].after) == (6_000, 12_000)


def test_accepting_moves_the_tenant_once(acme, session):
    quote = quoted(acme)
    first, again = accepted(acme, quote), accepted(acme, quote, now=MIDDLE + timedelta(days=3))
    assert not first.is_stale and not again.is_stale
    assert on(session, acme) == "large"
    assert session.scalar(select(func.count()).select_from(SubscriptionSegment)) == 2


def _publish(session, make, code):
    package = catalog.by_code(session, code)
    spec = replace(catalog.spec_of(package.revision), price_micros=33 * EURO)
    catalog.publish(session, package, spec, actor="nora", now=MIDDLE)


BREAKS = {
    "the new package was edited": lambda unit, tenant: _publish(unit, None, "large"),
    "the old package was edited": lambda unit, tenant: _publish(unit, None, "small"),
    "the tenant was suspended": lambda unit, tenant: tenants.set_suspended(
        unit, tenant, True, actor="nora", now=MIDDLE
    ),
    "the tax was changed": lambda unit, tenant: profiles.save_rate(
        unit, Rate("vat", "VAT 20 %", 200_000), actor="nora", now=MIDDLE
    ),
    "the profile was changed": lambda unit, tenant: profiles.save_profile(
        unit, tenant, Profile("none", 14), actor="nora", now=MIDDLE
    ),
    "another change is pending": lambda unit, tenant: subscriptions.subscribe_at_period_end(
        unit, tenant, catalog.by_code(unit, "large"), actor="nora", now=MIDDLE
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_quote_does_not_outlive_what_it_rests_on(acme, session, what):
    quote = quoted(acme)
    with unit_of_work() as unit:
        BREAKS[what](unit, unit.get_one(Tenant, acme.id))
    outcome = accepted(acme, quote)
    assert outcome.is_stale and outcome.quote.id != quote.id
    assert on(session, acme) == "small"
    assert not accepted(acme, outcome.quote).is_stale
    assert on(session, acme) == "large"


@pytest.mark.parametrize("later", [VALID, timedelta(hours=15)], ids=["its minutes", "the tenant's day"])
def test_a_quote_does_not_outlive_its_time(acme, session, later):
    assert accepted(acme, quoted(acme), now=MIDDLE + later).is_stale
    assert on(session, acme) == "small"


def test_a_quote_ends_with_the_day_that_it_counts(acme, session):
    evening = datetime(2026, 9, 16, 23, 55, tzinfo=UTC)
    outcome = accepted(acme, quoted(acme, now=evening), now=evening + timedelta(minutes=10))
    assert outcome.is_stale
    assert outcome.quote.lines[0]["amount_micros"] == -4_670_000  # 14 of 30 days


def test_usage_does_not_break_a_quote(acme, make):
    quote = quoted(acme)
    make.usage(acme, 600, source=make.source(), occurred_at=MIDDLE)
    assert not accepted(acme, quote).is_stale


def test_a_first_package_is_due_now(make):
    make.now = STARTED
    tenant = make.tenant("Globex")
    make.package("large", {}, price_micros=20 * EURO, setup_fee_micros=5 * EURO)
    quote = quoted(tenant, now=STARTED)
    assert [(line["kind"], line["amount_micros"]) for line in quote.lines] == [
        ("charge", 20 * EURO),
        ("setup", 5 * EURO),
    ]
    assert (quote.due_now_micros, quote.next_micros) == (25 * EURO, 20 * EURO)
    accepted(tenant, quote, now=STARTED)

    def first_invoice(session):
        found = subscriptions.require_live(session, tenant)
        period = subscriptions.period_of(found, STARTED)
        return billing.draft(session, found, period, TERMS, now=STARTED, reason="start").total_micros

    assert run_in_transaction(first_invoice) == quote.due_now_micros


def test_the_same_package_costs_nothing(acme):
    quote = quoted(acme, "small")
    assert (quote.lines, quote.due_now_micros, quote.next_micros) == ([], 0, 11_900_000)


def test_up_and_back_on_one_day_nets_to_zero(acme):
    accepted(acme, quoted(acme))
    accepted(acme, quoted(acme, "small", now=MIDDLE + timedelta(hours=2)), now=MIDDLE + timedelta(hours=2))
    rows, total = period_invoice(acme, OCTOBER + timedelta(days=2))
    assert total == 11_900_000
    assert sum(amount for kind, _, amount in rows if kind in ("credit", "charge")) == 0


PRICES = st.integers(0, 10**12)
DAYS = st.integers(0, 364)


@given(old=PRICES, new=PRICES, length=st.integers(1, 366), day=DAYS, unit=st.sampled_from([1_000, 10_000, 1_000_000]))
def test_up_and_back_costs_nothing_and_the_same_package_neither(old, new, length, day, unit):
    first = date(2026, 1, 1)
    end, when = first + timedelta(days=length), first + timedelta(days=day % length)

    def cost(*prices):
        found = [Priced("P", price) for price in prices]
        return sum(
            line.amount_micros
            for was, becomes in pairwise(found)
            for line in changed(was, becomes, first, end, when, tax_code="", unit_micros=unit)
        )

    assert cost(old, old) == 0
    assert cost(old, new, old) == 0
    assert cost(old, new) == -cost(new, old)


def test_a_change_at_the_periods_end_waits_is_seen_and_cancelled(acme, session):
    quote = quoted(acme, effect="period_end")
    assert (quote.lines, quote.effective_on, quote.next_micros) == ([], date(2026, 10, 1), 23_800_000)
    accepted(acme, quote)
    found = subscriptions.require_live(session, acme)
    assert (found.package.code, found.pending_package.code, found.pending_at, found.pending_by) == (
        "small", "large", OCTOBER, "uma",
    )  # fmt: skip
    run_in_transaction(lambda unit: moves.cancel(unit, subscriptions.require_live(unit, acme), actor="uma", now=MIDDLE))
    with pytest.raises(NotFound, match="pending"):
        run_in_transaction(
            lambda unit: moves.cancel(unit, subscriptions.require_live(unit, acme), actor="uma", now=MIDDLE)
        )
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=OCTOBER)) == 0
    assert on(session, acme) == "small"


def test_the_worker_carries_a_pending_change_out_as_of_its_moment_and_once(acme, session):
    accepted(acme, quoted(acme, effect="period_end"))
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=OCTOBER - timedelta(seconds=1))) == 0
    later = OCTOBER + timedelta(minutes=7)
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=later)) == 1
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=later)) == 0
    assert on(session, acme) == "large"
    assert [row.started_at for row in subscriptions.segments(session, acme.id)] == [OCTOBER, STARTED]


def test_usage_after_the_moment_counts_on_the_new_package_without_any_worker(acme, make, session):
    accepted(acme, quoted(acme, effect="period_end"))
    make.now = OCTOBER + timedelta(minutes=1)
    assert meters.current(session, session.get_one(Tenant, acme.id), now=make.now).package.code == "large"
    make.usage(acme, 7_000, source=make.source())
    assert on(session, acme) == "large"
    voice = meters.current(session, session.get_one(Tenant, acme.id), now=make.now).meters[0]
    assert (voice.used, voice.included, voice.overage) == (7_000, 12_000, 0)


def test_an_allocation_after_the_moment_meets_the_new_limit_without_any_worker(acme):
    accepted(acme, quoted(acme, effect="period_end"))

    def hold(session):
        tenant, wanted = session.get_one(Tenant, acme.id), [Wanted(f"10{n}") for n in range(4)]
        return telephony.add(session, tenant, "extensions", wanted, actor="uma", now=OCTOBER)

    with pytest.raises(Conflict, match="do not fit"):
        run_in_transaction(hold)


def test_the_invoice_after_a_pending_change_is_the_one_that_was_quoted(acme):
    quote = quoted(acme, effect="period_end")
    accepted(acme, quote)
    rows, total = period_invoice(acme, OCTOBER + timedelta(days=2))
    assert rows == [("recurring", "Large", 20 * EURO)]
    assert total == quote.next_micros


def test_a_change_at_once_drops_the_pending_one(acme, session):
    accepted(acme, quoted(acme, effect="period_end"))
    accepted(acme, quoted(acme))
    assert subscriptions.require_live(session, acme).pending_at is None
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=OCTOBER)) == 0


def test_a_pending_change_keeps_its_day_when_the_time_zone_moves(acme, session):
    accepted(acme, quoted(acme, effect="period_end"))
    with unit_of_work() as unit:
        tenant = unit.get_one(Tenant, acme.id)
        profile = replace(tenants.profile_of(tenant), timezone="Asia/Tokyo")
        subscriptions.change_profile(unit, tenant, profile, actor="nora", now=MIDDLE)
    session.expire_all()
    assert subscriptions.require_live(session, acme).pending_at == datetime(2026, 9, 30, 15, tzinfo=UTC)


def test_a_package_that_is_not_sold_cannot_be_quoted(acme):
    with unit_of_work() as unit:
        catalog.set_status(unit, catalog.by_code(unit, "large"), "archived", actor="nora", now=MIDDLE)
    with pytest.raises(Conflict, match="archived"):
        quoted(acme)


def test_without_a_package_there_is_no_period_to_wait_for(make):
    make.now = STARTED
    tenant = make.tenant("Globex")
    make.package("large", {})
    with pytest.raises(Conflict, match="no period"):
        quoted(tenant, effect="period_end")


def test_another_tenants_quote_is_unknown(acme, make):
    quote = quoted(acme)
    with pytest.raises(NotFound):
        accepted(make.tenant("Globex"), quote)

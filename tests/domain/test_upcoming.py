"""The next invoice as it stands is the one that billing makes once its day has come."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from app.db import run_in_transaction, unit_of_work
from app.domain.billing import profiles, service as billing
from app.domain.billing.lines import Rate
from app.domain.billing.models import Invoice
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.changes.upcoming import next_invoice
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"))
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
MIDDLE = datetime(2026, 9, 16, 9, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
ISSUED = datetime(2026, 10, 3, 9, tzinfo=UTC)
FIRST = date(2026, 9, 1)


@pytest.fixture
def acme(make):
    """A tenant, taxed at 19 %, and packages of 10.00 with a minute and 20.00 with two; a minute beyond costs 0.50."""
    make.now = STARTED
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT 19 %", 190_000), actor="nora", now=STARTED)
    tenant = make.tenant()
    for code, price in (("small", 10), ("large", 20)):
        make.package(code, (LimitSpec("voice_minutes", 6 * price, "charge", EURO // 2),), price_micros=price * EURO)
    with unit_of_work() as unit:
        profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), Profile("vat", 14), actor="nora", now=STARTED)
    return tenant


@pytest.fixture
def used(make, acme):
    """Use so many seconds in the running period."""
    source = make.source()

    def use(seconds):
        make.now = MIDDLE
        make.usage(acme, seconds, source=source, occurred_at=MIDDLE)

    return use


def act(what, tenant, *args, **how):
    def do(session):
        return what(session, session.get_one(Tenant, tenant.id), *args, actor="nora", **how)

    return run_in_transaction(do)


def put_on(tenant, code="small", **how):
    with unit_of_work() as session:
        package = catalog.by_code(session, code)
        subscriptions.subscribe(session, session.get_one(Tenant, tenant.id), package, actor="nora", now=STARTED, **how)


def told(tenant, now=MIDDLE):
    def read(session):
        found = next_invoice(session, session.get_one(Tenant, tenant.id), TERMS, now=now)
        return found and (found.on, [(line.kind, line.name, line.amount_micros) for line in found.lines], found.totals)

    return run_in_transaction(read)


def drafted(tenant, now=ISSUED, first_on=FIRST, reason="period"):
    def draft(session):
        found = session.scalars(select(Subscription).where(Subscription.tenant_id == tenant.id)).one()
        period = subscriptions.period_on_day(found, first_on)
        invoice = billing.draft(session, found, period, TERMS, now=now, reason=reason)
        rows = [(line.kind, line.name, line.amount_micros) for line in billing.lines_of(session, invoice)]
        return rows, invoice.total_micros

    return run_in_transaction(draft)


def begun(tenant):
    """On the small package, with the invoice of its beginning issued."""
    put_on(tenant)
    drafted(tenant, reason="start")

    def issue(session):
        invoice = session.scalars(select(Invoice).where(Invoice.tenant_id == tenant.id)).one()
        billing.finalise(session, invoice, TERMS, actor="nora", now=MIDDLE)

    run_in_transaction(issue)


def agree(foreseen, made):
    _, lines, totals = foreseen
    return lines and (lines, totals.total_micros) == made


def test_without_a_package_there_is_none(acme):
    assert told(acme) is None


def test_a_package_that_just_began_is_billed_any_moment(acme):
    put_on(acme)
    foreseen = told(acme)
    assert foreseen[0] is None
    assert agree(foreseen, drafted(acme, reason="start"))


def test_the_running_period_is_billed_with_usage_so_far_and_tax(acme, used):
    begun(acme)
    used(180)
    foreseen = told(acme)
    assert foreseen[0] == date(2026, 10, 3)
    assert foreseen[1] == [("recurring", "Small", 10 * EURO), ("overage", "Voice minutes", EURO)]
    assert foreseen[2].total_micros == 13_090_000
    assert agree(foreseen, drafted(acme))


def test_what_staff_review_is_not_foretold(acme):
    put_on(acme)
    drafted(acme, reason="start")
    assert told(acme) is None


def test_a_period_that_is_over_comes_before_the_running_one(acme, used):
    begun(acme)
    used(180)
    foreseen = told(acme, datetime(2026, 10, 2, 9, tzinfo=UTC))
    assert foreseen[0] == date(2026, 10, 3)
    assert agree(foreseen, drafted(acme))


def test_a_change_that_waits_is_on_it(acme):
    begun(acme)
    with unit_of_work() as session:
        found = subscriptions.require_live(session, session.get_one(Tenant, acme.id))
        package = catalog.by_code(session, "large")
        moves.schedule(session, found, package, OCTOBER, actor="nora", now=MIDDLE)
    foreseen = told(acme)
    assert foreseen[1] == [("recurring", "Large", 20 * EURO)]
    assert agree(foreseen, drafted(acme))


def test_what_ends_with_its_period_is_billed_for_usage_alone_or_not_at_all(acme, used):
    begun(acme)
    act(subscriptions.end_at_period_end, acme, now=MIDDLE)
    assert told(acme) is None
    used(180)
    foreseen = told(acme)
    assert foreseen[1] == [("overage", "Voice minutes", EURO)]
    assert agree(foreseen, drafted(acme))


def test_a_trial_is_billed_from_its_end_on(acme):
    put_on(acme, trial_days=14)
    foreseen = told(acme, STARTED + timedelta(days=3))
    assert foreseen[0] == date(2026, 9, 15)
    assert agree(foreseen, drafted(acme, MIDDLE, date(2026, 9, 15), "start"))
    act(subscriptions.end_at_period_end, acme, now=STARTED)
    assert told(acme, STARTED + timedelta(days=3)) is None

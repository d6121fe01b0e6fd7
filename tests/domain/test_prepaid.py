"""Tenants that pay in advance: what lies beyond the package ends with the money, whoever asks at once."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import select, text, update

from app.core.errors import Conflict
from app.db import db, run_in_transaction, unit_of_work
from app.domain.billing import due, issuing, ledger, payments, profiles, standing
from app.domain.billing.drafting import draft
from app.domain.billing.lines import Rate
from app.domain.billing.models import Invoice
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms as BillingTerms
from app.domain.catalog.specs import LimitSpec
from app.domain.insight import verify
from app.domain.metering import calls, low_balance, prepaid
from app.domain.metering.decision import Call, Terms
from app.domain.metering.models import Hold, Prepaid, Refusal
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000
STARTED = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
TERMS = BillingTerms(Issuer("Northline"))
minutes = count(1)


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def acme(make):
    """A minute is included, more is 0.60 a minute plus 19 %: 1.19 cents a second. It pays in advance."""
    make.now = STARTED
    tenant = make.tenant("Acme")
    make.subscribe(tenant, make.package("gold", [LimitSpec("voice_minutes", 60, "charge", 600_000)]))
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT", 190_000), actor="nora", now=STARTED)
        wanted = Profile("vat", 10, prepaid=True, low_micros=2 * EURO)
        profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), wanted, actor="nora", now=STARTED)
    make.now = NOW
    return tenant


@pytest.fixture
def source(make):
    return make.source()


def pay(tenant, euros, key="p1", enter=payments.receive):
    receipt = Receipt(key, int(euros * EURO), "EUR", "bank", key, NOW.date())
    run_in_transaction(lambda unit: enter(unit, unit.get_one(Tenant, tenant.id), receipt, actor="nora", now=NOW))


def purse(tenant):
    db.session.rollback()
    found = prepaid.purse(db.session.connection(), tenant.id)
    db.session.rollback()
    return found


def left(tenant):
    return purse(tenant).left_micros


def no_drift(session):
    session.rollback()
    assert [str(each) for each in verify.differences(session, now=NOW)] == []


def bill(tenant, now=NOW):
    """Issue what is due."""

    def act(unit):
        found = subscriptions.require_live(unit, unit.get_one(Tenant, tenant.id))
        draft(unit, due.find(unit, [found], TERMS, now=now), TERMS, now=now)
        drafts = unit.scalars(select(Invoice).where(Invoice.status == "draft").order_by(Invoice.period_on)).all()
        issuing.issue(unit, drafts, TERMS, actor="nora", now=now)

    run_in_transaction(act)


def test_a_grant_is_cut_to_what_the_money_pays_for(make, acme, source, session):
    pay(acme, 1.19)
    first = make.call(acme, source=source, seconds=1800)
    assert (first.allowed, first.seconds) == (True, 160)  # the minute that is included, and 100 s at 1.19 cents
    assert (purse(acme).held_micros, left(acme)) == (1_190_000, 0)
    second = make.call(acme, source=source, seconds=60)
    assert (second.allowed, second.reason) == (False, "balance_exhausted")
    refused = session.scalars(select(Refusal)).one()
    assert (refused.reason, refused.resource_code, refused.included) == ("balance_exhausted", "voice_minutes", 60)
    no_drift(session)


def test_what_is_included_needs_no_money(make, acme, source):
    first = make.call(acme, source=source, seconds=1800)
    assert (first.allowed, first.seconds) == (True, 60)
    assert make.call(acme, source=source).reason == "balance_exhausted"
    assert (left(acme), purse(acme).state) == (0, "empty")


def test_money_raises_what_may_be_spent_at_once(make, acme, source):
    assert make.call(acme, source=source, seconds=60).allowed
    assert not make.call(acme, source=source, seconds=60).allowed
    pay(acme, 0.60)
    assert make.call(acme, source=source, seconds=60).seconds == 50  # 0.595; the 51st second would come to 0.607


def test_a_renewal_is_cut_too(make, acme, source):
    pay(acme, 1.19)
    call = make.call(acme, source=source, seconds=100)
    terms = Terms(100, 120, ("outbound",))

    def renew(used):
        at = NOW + timedelta(seconds=used)
        return run_in_transaction(lambda unit: calls.renew(unit, source.id, str(call.hold), used, terms, now=at))

    assert renew(100).seconds == 60
    refused = renew(160)
    assert (refused.allowed, refused.reason) == (False, "balance_exhausted")


def test_the_end_of_a_call_gives_back_what_it_did_not_use_and_its_record_settles_the_rest(make, acme, source, session):
    pay(acme, 11.90)
    call = make.call(acme, source=source, seconds=460, call_id="c1")
    assert left(acme) == 11_900_000 - 4_760_000
    make.hang_up(call, source=source, seconds=160)
    assert (left(acme), purse(acme).held_micros) == (10_710_000, 1_190_000)
    make.usage(acme, 160, source=source, call_id="c1")
    assert (left(acme), purse(acme).spent_micros, purse(acme).held_micros) == (10_710_000, 1_190_000, 0)
    no_drift(session)


@pytest.mark.parametrize("rounds", range(2))
def test_a_hundred_calls_at_once_never_spend_the_same_money(app, make, acme, source, session, rounds):
    """11.90 pay for 1,000 s, a minute is free: whatever comes first, the grants add up to that and no more."""
    pay(acme, 11.90)
    source_id, start, granted = source.id, threading.Barrier(20), []

    def asking(number):
        with app.app_context():
            start.wait()
            for turn in range(5):
                call = Call("acme", f"c{number}-{turn}")
                terms = Terms(37, 120, ("outbound",))
                found = run_in_transaction(lambda unit: calls.authorize(unit, source_id, call, terms, now=NOW))
                granted.append((found.seconds, found.reason))
            db.session.remove()

    threads = [threading.Thread(target=asking, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 100
    assert sum(seconds for seconds, _ in granted) == 1_060
    assert {reason for _, reason in granted} == {"", "balance_exhausted"}
    assert (left(acme), purse(acme).spent_micros) == (0, 0)
    # Every call talks as long as it may: the invoice takes exactly what was paid in.
    for hold in session.scalars(select(Hold)).all():
        make.usage(acme, hold.granted, source=source, call_id=hold.call_id)
    assert (left(acme), purse(acme).spent_micros) == (0, 11_900_000)
    bill(acme, datetime(2026, 12, 5, tzinfo=UTC))
    session.rollback()
    assert ledger.balances_of(session, acme.id) == {"EUR": 0}
    assert (left(acme), purse(acme).spent_micros) == (0, 0)
    no_drift(session)


def test_grants_and_records_of_one_tenant_at_the_same_time(app, make, acme, source, session):
    pay(acme, 5.95)
    source_id, problems = source.id, []

    def calling(number):
        with app.app_context():
            try:
                for turn in range(6):
                    name = f"c{number}-{turn}"
                    terms = Terms(30, 120, ("outbound",))
                    found = run_in_transaction(
                        lambda unit: calls.authorize(unit, source_id, Call("acme", name), terms, now=NOW)
                    )
                    if found.allowed:
                        make.usage(acme, found.seconds, source=source, call_id=name, external_id=name)
                    if (money := purse(acme)).left_micros < 0:
                        problems.append(money)
            except Exception as error:
                problems.append(error)
            db.session.remove()

    threads = [threading.Thread(target=calling, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert (left(acme), purse(acme).spent_micros) == (0, 5_950_000)
    no_drift(session)


def test_what_nobody_asked_for_is_recorded_below_zero_and_shown(make, acme, source, session):
    make.usage(acme, 160, source=source)
    assert (left(acme), purse(acme).state) == (-1_190_000, "empty")
    assert make.call(acme, source=source).reason == "balance_exhausted"
    pay(acme, 2)
    assert (left(acme), purse(acme).state) == (810_000, "low")
    pay(acme, 1.19, "to the amount that is called low")
    assert (left(acme), purse(acme).state) == (2 * EURO, "low")
    pay(acme, 5, "p2")
    assert purse(acme).state == "fine"


def test_the_price_of_the_next_period_comes_out_of_the_balance(make, source, acme, session):
    platinum = make.package("platinum", [LimitSpec("voice_minutes", 60, "charge", 600_000)], price_micros=10 * EURO)
    globex = make.tenant("Globex")
    make.subscribe(globex, platinum, started_at=NOW)
    with unit_of_work() as unit:
        wanted = Profile("vat", 10, prepaid=True)
        profiles.save_profile(unit, unit.get_one(Tenant, globex.id), wanted, actor="nora", now=NOW)
    pay(globex, 15)
    bill(globex)
    invoice = session.scalars(select(Invoice)).one()
    assert (invoice.status, invoice.total_micros, left(globex)) == ("paid", 11_900_000, 3_100_000)
    # What is left does not pay the next one: the rest is open, and past due after its day.
    later = datetime(2026, 12, 20, tzinfo=UTC)
    bill(globex, later)
    assert left(globex) == 3_100_000 - 11_900_000
    with unit_of_work() as unit:
        assert standing.mark_overdue(unit, now=later + timedelta(days=30)) == 1
    pay(globex, 8.80, "p2")
    with unit_of_work() as unit:
        assert subscriptions.require_live(unit, unit.get_one(Tenant, globex.id)).status == "active"
    assert left(globex) == 0
    no_drift(session)


def test_what_is_spent_is_not_paid_back(make, acme, source):
    pay(acme, 11.90)
    make.usage(acme, 160, source=source)
    with pytest.raises(Conflict, match="not billed yet"):
        pay(acme, 11, "back", payments.repay)
    pay(acme, 10.71, "back", payments.repay)
    assert left(acme) == 0


def test_the_tax_that_comes_on_top_follows_its_rate(make, acme, source, session):
    pay(acme, 1)
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT", 190_000, inclusive=True), actor="nora", now=NOW)
    assert make.call(acme, source=source, seconds=600).seconds == 160
    no_drift(session)


def test_a_tenant_that_is_not_prepaid_any_more_calls_on(make, acme, source):
    assert make.call(acme, source=source, seconds=600).seconds == 60
    with unit_of_work() as unit:
        profiles.save_profile(unit, unit.get_one(Tenant, acme.id), Profile("vat", 10), actor="nora", now=NOW)
    assert purse(acme) is None
    assert make.call(acme, source=source, seconds=600).seconds == 600


def test_whoever_becomes_prepaid_begins_with_its_balance(make, source, acme):
    globex = make.tenant("Globex")
    pay(globex, 7)
    with unit_of_work() as unit:
        wanted = Profile("vat", 10, prepaid=True)
        profiles.save_profile(unit, unit.get_one(Tenant, globex.id), wanted, actor="nora", now=NOW)
    assert left(globex) == 7 * EURO


def test_a_planted_drift_is_found(acme, session):
    pay(acme, 5)
    with unit_of_work() as unit:
        unit.execute(text("UPDATE prepaid SET credit_micros = credit_micros + 1, tax_ppm = 70000"))
    found = [str(each) for each in verify.differences(session, now=NOW)]
    assert found == [
        "prepaid_credit: acme EUR: expected 5000000, found 5000001",
        "prepaid_tax: acme tax on top, per million: expected 190000, found 70000",
    ]


def test_a_tenant_that_pays_afterwards_costs_no_statement_more(make, source, acme, count_statements):
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("silver", [LimitSpec("voice_minutes", 60, "charge", 600_000)]))
    with count_statements() as prepaid_one:
        make.call(acme, source=source)
    with count_statements() as other:
        make.call(globex, source=source)
    texts = [statement for statement in other.texts if "prepaid" in statement]
    assert len(texts) == 1 and "FROM tenant_name" in texts[0]  # the one that finds the tenant anyway
    assert len(prepaid_one) <= len(other) + 3


def told(tenant):
    """What a look at the balances asks for, and what is noted after it."""
    at = NOW + timedelta(minutes=next(minutes))
    asked = run_in_transaction(lambda unit: low_balance.tell(unit, now=at))
    return asked, purse(tenant).told


def test_a_balance_is_told_once_when_it_is_low_and_once_when_it_is_spent(acme, make, source):
    assert told(acme) == (1, "empty")  # nothing is paid in yet
    pay(acme, 5)
    assert told(acme) == (0, "")
    make.usage(acme, 60 + 252, source=source)  # 2.52 and 19 % are 3.00, rounded up
    assert (left(acme), told(acme), told(acme)) == (2 * EURO, (1, "low"), (0, "low"))
    make.usage(acme, 168, source=source)
    assert (left(acme), told(acme)) == (0, (1, "empty"))
    pay(acme, 1, "p2")
    assert told(acme) == (0, "low")  # better, and no news
    make.usage(acme, 84, source=source)
    assert (told(acme), told(acme)) == ((1, "empty"), (0, "empty"))


def test_looks_at_the_same_moment_tell_once(app, acme):
    asked, ready = [], threading.Barrier(2)

    def look(at):
        with app.app_context():
            run_in_transaction(lambda unit: unit.scalar(select(Tenant.id)))  # connected before the start
            ready.wait()
            asked.append(run_in_transaction(lambda unit: low_balance.tell(unit, now=at)))
            db.session.remove()

    for number in range(5):
        run_in_transaction(lambda unit: unit.execute(update(Prepaid).values(told="")))
        moments = [NOW + timedelta(minutes=10 * number + each) for each in range(2)]
        threads = [threading.Thread(target=look, args=(at,)) for at in moments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(asked) == [0] * 5 + [1] * 5


def test_all_balances_at_once_are_what_each_is(acme, make, source):
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("silver", [LimitSpec("voice_minutes", 600, "charge", 300_000)]))
    with unit_of_work() as unit:
        wanted = Profile("vat", 10, prepaid=True)
        profiles.save_profile(unit, unit.get_one(Tenant, globex.id), wanted, actor="nora", now=NOW)
    make.subscribe(make.tenant("Postpaid"), make.package("bronze", [LimitSpec("voice_minutes", 0, "charge", 1)]))
    for tenant in (acme, globex):
        pay(tenant, 7, f"p{tenant.id}")
        make.usage(tenant, 700, source=source)
        make.call(tenant, source=source)
    db.session.rollback()
    found = prepaid.purses(db.session.connection())
    assert found == {tenant.id: purse(tenant) for tenant in (acme, globex)}
    assert all(each.used and each.on_hold for each in found.values())

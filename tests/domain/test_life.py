"""Trials, suspensions and ends: the life of a subscription."""

from datetime import UTC, date, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import select, update

from app.core.errors import Conflict, DomainError, NotFound
from app.core.usage import UsageEvent
from app.db import run_in_transaction, unit_of_work
from app.domain.billing import due, service
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog.specs import LimitSpec
from app.domain.changes import ending, outlook
from app.domain.insight import verify
from app.domain.metering.ingest import ingest
from app.domain.metering.models import MeterBeyond
from app.domain.metering.reports import Report
from app.domain.subscriptions import life, moves, service as subscriptions, timeline
from app.domain.subscriptions.life import TRANSITIONS
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"))
STARTED = datetime(2026, 9, 10, 9, tzinfo=UTC)
TRIAL_END = datetime(2026, 9, 23, 22, tzinfo=UTC)  # midnight in Berlin
CHARGED = (LimitSpec("voice_minutes", 6_000, "charge", 20_000),)


@pytest.fixture
def acme(make):
    make.now = STARTED
    return make.tenant(timezone="Europe/Berlin")


@pytest.fixture
def office(make, acme):
    return make.package("office", CHARGED, price_micros=49 * EURO, setup_fee_micros=10 * EURO)


@pytest.fixture
def source(make, acme):
    return make.source()


def act(do, tenant, *arguments, now, **more):
    def in_unit(session):
        return do(session, session.get_one(Tenant, tenant.id), *arguments, actor="nora", now=now, **more)

    return run_in_transaction(in_unit)


def try_out(tenant, package, days=14, now=STARTED):
    return act(subscriptions.subscribe, tenant, package, now=now, trial_days=days)


def subscription_of(session, tenant):
    session.rollback()
    return session.scalars(
        select(Subscription).where(Subscription.tenant_id == tenant.id).execution_options(populate_existing=True)
    ).one()


def story(session, tenant):
    session.rollback()
    steps = timeline.of_tenant(session, tenant.id)
    return [step.package.code if step.package else f"{step.status} {step.why}" for step in reversed(steps)]


def dues(session, tenant, now):
    return [
        (d.reason, d.period.first_on) for d in due.find(session, [subscription_of(session, tenant)], TERMS, now=now)
    ]


def invoice_lines(tenant, reason, first_on, now):
    def in_unit(session):
        found = subscription_of(session, tenant)
        invoice = service.draft(
            session, found, subscriptions.period_on_day(found, first_on), TERMS, now=now, reason=reason
        )
        service.finalise(session, invoice, TERMS, actor="nora", now=now)
        return [(line.kind, line.amount_micros) for line in service.lines_of(session, invoice)]

    return run_in_transaction(in_unit)


def report(tenant, source, occurred_at, now, quantity=60, external_id="late"):
    event = UsageEvent(external_id, tenant.slug, "voice_minutes", quantity, occurred_at)
    source_id = source.id
    return run_in_transaction(lambda session: ingest(session, source_id, [Report(event, "raw")], now=now))[0]


def check_books(session, now):
    session.rollback()
    assert [str(each) for each in verify.differences(session, now=now)] == []


def test_a_trial_becomes_active_at_its_end_and_is_billed_from_then_on(session, acme, office):
    try_out(acme, office)
    before = TRIAL_END - timedelta(seconds=1)
    assert run_in_transaction(lambda unit: life.end_trials(unit, now=before)) == 0
    assert dues(session, acme, before) == []
    later = TRIAL_END + timedelta(hours=3)
    assert run_in_transaction(lambda unit: life.end_trials(unit, now=later)) == 1
    assert run_in_transaction(lambda unit: life.end_trials(unit, now=later)) == 0
    assert story(session, acme) == ["office", "trial started", "active trial_over"]
    assert timeline.of_tenant(session, acme.id)[0].at == TRIAL_END
    assert dues(session, acme, later) == [("start", date(2026, 9, 24))]
    assert invoice_lines(acme, "start", date(2026, 9, 24), later) == [("recurring", 49 * EURO), ("setup", 10 * EURO)]
    assert dues(session, acme, datetime(2026, 10, 27, tzinfo=UTC)) == [("period", date(2026, 9, 24))]
    check_books(session, later)


def test_a_trial_charges_nothing_what_would_be_charged_stops(session, make, acme, office, source):
    try_out(acme, office)
    make.usage(acme, 5_990, source=source, occurred_at=STARTED)
    granted = make.call(acme, source=source, seconds=600, at=STARTED)
    assert (granted.allowed, granted.seconds) == (True, 10)
    refused = make.call(acme, source=source, seconds=600, at=STARTED)
    assert (refused.allowed, refused.reason) == (False, "quota_exhausted")
    make.usage(acme, 120, source=source, occurred_at=STARTED)
    beyond = session.scalars(select(MeterBeyond)).one()
    assert (beyond.beyond_as, beyond.price_micros, beyond.quantity) == ("block", 0, 110)
    later = TRIAL_END + timedelta(days=40)
    run_in_transaction(lambda unit: life.end_trials(unit, now=later))
    invoice_lines(acme, "start", date(2026, 9, 24), later)
    assert invoice_lines(acme, "period", date(2026, 9, 24), later) == [("recurring", 49 * EURO)]


def test_after_the_trial_limits_charge_again_and_its_usage_does_not_count(session, make, acme, office, source):
    try_out(acme, office)
    make.usage(acme, 6_000, source=source, occurred_at=STARTED)
    later = TRIAL_END + timedelta(hours=1)
    run_in_transaction(lambda unit: life.end_trials(unit, now=later))
    assert make.call(acme, source=source, seconds=7_200, at=later).seconds == 7_200
    make.usage(acme, 6_060, source=source, occurred_at=later)
    beyond = session.scalars(select(MeterBeyond)).one()
    assert (beyond.beyond_as, beyond.quantity, beyond.period_on) == ("charge", 60, date(2026, 9, 24))


def test_a_change_during_a_trial_costs_nothing_and_the_package_of_its_end_is_billed(session, make, acme, office):
    large = make.package("large", CHARGED, price_micros=90 * EURO)
    try_out(acme, office)
    now = STARTED + timedelta(days=3)
    found = subscription_of(session, acme)
    seen = outlook.outlook(session, found.tenant, found, large, "now", TERMS, now=now)
    assert (seen.lines, seen.due_now_micros, seen.next_on, seen.next_micros) == ((), 0, date(2026, 9, 24), 90 * EURO)
    act(subscriptions.subscribe, acme, large, now=now)
    assert invoice_lines(acme, "start", date(2026, 9, 24), TRIAL_END) == [("recurring", 90 * EURO)]


def test_a_trial_is_for_a_first_package_and_for_some_days(session, make, acme, office):
    for days in (-1, 367):
        with pytest.raises(DomainError, match="from 1 to 366"):
            try_out(acme, office, days)
    try_out(acme, office)
    for now in (STARTED, STARTED + timedelta(days=1)):
        with pytest.raises(Conflict) as refused:
            try_out(acme, office, now=now)
        assert refused.value.code == "no_trial"
    act(subscriptions.end, acme, now=STARTED + timedelta(days=2))
    with pytest.raises(Conflict, match="never had"):
        try_out(acme, office, now=STARTED + timedelta(days=3))


def test_a_trial_that_ends_early_is_billed_nothing(session, acme, office):
    try_out(acme, office)
    act(subscriptions.end, acme, now=STARTED + timedelta(days=2))
    assert story(session, acme) == ["office", "trial started", "cancelled cancelled"]
    assert dues(session, acme, STARTED + timedelta(days=90)) == []
    check_books(session, STARTED)


def test_ended_at_once_the_last_invoice_gives_back_the_days_that_are_left(session, make, acme, office, source):
    make.subscribe(acme, office)
    invoice_lines(acme, "start", date(2026, 9, 10), STARTED)
    make.usage(acme, 6_060, source=source, occurred_at=STARTED + timedelta(days=1))
    ended = datetime(2026, 9, 25, 12, tzinfo=UTC)
    seen = ending.preview(session, subscription_of(session, acme), TERMS, at_once=True, now=ended)
    act(subscriptions.end, acme, now=ended)
    assert story(session, acme) == ["office", "active started", "cancelled cancelled"]
    assert make.call(acme, source=source, at=ended).reason == "no_subscription"
    assert dues(session, acme, ended + timedelta(days=1)) == []
    due_at = ended + timedelta(days=TERMS.late_days)
    assert dues(session, acme, due_at) == [("period", date(2026, 9, 10))]
    # 15 of 30 days are left, the day of the end among them.
    assert invoice_lines(acme, "period", date(2026, 9, 10), due_at) == [("credit", -24_500_000), ("overage", 20_000)]
    assert [(line.kind, line.amount_micros) for line in seen.lines] == [("credit", -24_500_000), ("overage", 20_000)]
    assert dues(session, acme, due_at + timedelta(days=90)) == []
    check_books(session, due_at)


def test_an_end_waits_for_the_period_and_can_be_withdrawn(session, make, acme, office, source):
    make.subscribe(acme, office)
    ends = datetime(2026, 10, 9, 22, tzinfo=UTC)
    act(subscriptions.end_at_period_end, acme, now=STARTED)
    assert subscription_of(session, acme).ends_at == ends
    with unit_of_work() as unit:
        moves.cancel(unit, subscription_of(unit, acme), actor="nora", now=STARTED)
    assert subscription_of(session, acme).ends_at is None
    with pytest.raises(NotFound), unit_of_work() as unit:
        moves.cancel(unit, subscription_of(unit, acme), actor="nora", now=STARTED)
    act(subscriptions.end_at_period_end, acme, now=STARTED)
    assert make.call(acme, source=source, at=ends - timedelta(seconds=1)).allowed
    # Whatever decides by the subscription carries it out, before any worker does.
    assert make.call(acme, source=source, at=ends).reason == "no_subscription"
    found = subscription_of(session, acme)
    assert (found.status, found.ended_at, found.pending_at) == ("cancelled", ends, None)
    assert run_in_transaction(lambda unit: moves.take_effect(unit, now=ends)) == 0
    later = ends + timedelta(days=3)
    invoice_lines(acme, "start", date(2026, 9, 10), later)
    assert invoice_lines(acme, "period", date(2026, 9, 10), later) == []
    with unit_of_work() as unit, pytest.raises(NotFound):
        moves.cancel(unit, subscription_of(unit, acme), actor="nora", now=later)


def test_a_package_chosen_while_the_end_is_pending_is_kept(session, make, acme, office):
    large = make.package("large", CHARGED, price_micros=90 * EURO)
    make.subscribe(acme, office)
    act(subscriptions.end_at_period_end, acme, now=STARTED)
    act(subscriptions.subscribe, acme, large, now=STARTED)
    assert subscription_of(session, acme).ends_at is None


def test_usage_from_before_the_end_counts_until_the_last_invoice(session, make, acme, office, source):
    make.subscribe(acme, office)
    ended = STARTED + timedelta(days=5)
    act(subscriptions.end, acme, now=ended)
    assert report(acme, source, ended - timedelta(minutes=5), ended + timedelta(hours=1)).status == "recorded"
    after = report(acme, source, ended, ended + timedelta(hours=1), external_id="after")
    assert (after.status, after.code) == ("quarantined", "no_subscription")
    later = ended + timedelta(days=3)
    for reason in ("start", "period"):
        invoice_lines(acme, reason, date(2026, 9, 10), later)
    late = report(acme, source, ended - timedelta(minutes=1), later, external_id="too-late")
    assert (late.status, late.code) == ("quarantined", "no_subscription")
    check_books(session, later)


def test_a_suspension_takes_the_subscription_along_and_gives_it_back(session, make, acme, office, source):
    make.subscribe(acme, office)
    for _ in range(2):
        act(life.suspend, acme, "staff", now=STARTED)
    assert subscription_of(session, acme).status == "suspended"
    assert make.call(acme, source=source, at=STARTED).reason == "tenant_suspended"
    check_books(session, STARTED)
    for _ in range(2):
        act(life.resume, acme, "staff", now=STARTED)
    assert story(session, acme) == ["office", "active started", "suspended staff", "active staff"]
    check_books(session, STARTED)


def test_a_trial_suspended_over_its_end_comes_back_active(session, acme, office):
    try_out(acme, office)
    act(life.suspend, acme, "staff", now=STARTED)
    act(life.resume, acme, "staff", now=STARTED)
    assert subscription_of(session, acme).status == "trial"
    act(life.suspend, acme, "staff", now=STARTED)
    run_in_transaction(lambda unit: life.end_trials(unit, now=TRIAL_END))
    act(life.resume, acme, "staff", now=TRIAL_END)
    assert subscription_of(session, acme).status == "active"


def test_steps_stay_in_order_though_the_clocks_of_machines_differ(session, acme, office, monkeypatch):
    try_out(acme, office)
    slow = count(1_000, -1)
    monkeypatch.setattr(life, "new_id", lambda: next(slow))
    act(life.suspend, acme, "staff", now=STARTED)
    check_books(session, STARTED)
    act(life.resume, acme, "staff", now=STARTED)
    assert subscription_of(session, acme).status == "trial"
    act(life.suspend, acme, "staff", now=STARTED)
    steps = [event.status for event in life.events(session, subscription_of(session, acme))]
    assert steps == ["trial", "suspended", "trial", "suspended"]
    check_books(session, STARTED)


def test_a_suspended_tenant_can_be_put_on_a_package_and_resumed(session, make, acme, office):
    act(life.suspend, acme, "staff", now=STARTED)
    make.subscribe(acme, office)
    check_books(session, STARTED)
    act(life.resume, acme, "staff", now=STARTED)
    assert subscription_of(session, acme).status == "active"


@pytest.mark.parametrize(
    ("before", "after"), [(a, b) for a in TRANSITIONS for b in TRANSITIONS if b not in TRANSITIONS[a]]
)
@pytest.mark.databases("sqlite")
def test_what_the_table_does_not_have_is_refused(session, make, acme, office, before, after):
    make.subscribe(acme, office)
    with unit_of_work() as unit:
        ended = {"ended_at": STARTED} if before == "cancelled" else {}
        unit.execute(update(Subscription).values(status=before, **ended))
    with unit_of_work() as unit, pytest.raises(Conflict) as refused:
        life.turn(unit, subscription_of(unit, acme), after, "staff", actor="nora", now=STARTED)
    assert refused.value.code == "wrong_status"

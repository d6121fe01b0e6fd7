"""Every invariant is recounted from the rows: what agrees is passed over, every kind of drift is named."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text

from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, snapshot, unit_of_work
from app.domain.billing import drafting, due, issuing, payments, profiles
from app.domain.billing.models import Invoice
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms as BillingTerms
from app.domain.catalog.specs import LimitSpec
from app.domain.insight.verify import CODES, differences
from app.domain.metering import calls, quarantine
from app.domain.metering.decision import Call, Terms
from app.domain.metering.ingest import ingest
from app.domain.metering.models import NO_PERIOD, Meter, Quarantined, UsageRecord
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony.models import Allocation, Did

LIMITS = (LimitSpec("voice_minutes", 1000, "charge", 20_000), LimitSpec("fax_pages", 10),
          LimitSpec("sms_messages", 100, rollover_periods=1))  # fmt: skip
TERMS = Terms(seconds=60, grace=120, metered_directions=("outbound",))


@pytest.fixture
def world(make, now):
    """Acme with something of everything: beyond the limit, two periods, calls, numbers, a replay, a change."""
    acme, source = make.tenant("Acme"), make.source("pbx1")
    make.subscribe(acme, make.package("gold", LIMITS, price_micros=10_000_000), started_at=now - timedelta(days=70))
    for number, quantity in enumerate((950, 100)):
        make.usage(acme, quantity, source=source, external_id=f"v{number}")
    make.usage(acme, 30, source=source, occurred_at=now - timedelta(days=20))
    for days in (20, 0):
        make.usage(acme, 40, "sms_messages", source=source, occurred_at=now - timedelta(days=days))
    for number in range(3):
        make.usage(acme, 0, "fax_pages", source=source, external_id=f"z{number}")
    replayed(make, source, now)
    for number in range(2):
        run_in_transaction(lambda act: calls.authorize(act, source.id, Call("acme", f"c{number}"), TERMS, now=now))
    with unit_of_work() as act:
        hold = calls.authorize(act, source.id, Call("acme", "c1"), TERMS, now=now).hold
        calls.end(act, source.id, str(hold), 30, grace=TERMS.grace, now=now)
    held(acme.id, now)
    subscribed_elsewhere = make.package("platinum", LIMITS)
    with unit_of_work() as act:
        tenant = act.merge(acme)
        subscriptions.subscribe(act, tenant, act.merge(subscribed_elsewhere), actor="test", now=now)
    billed(acme, now)
    make.user(acme)
    return acme


def billed(acme, now):
    """Three invoices of 10.00 each (the last of 0.00, for the package it is on now), 25.00 paid, the rest open."""
    terms = BillingTerms(Issuer("Northline"))
    with unit_of_work() as act:
        found = subscriptions.require_live(act, acme)
        dues = due.find(act, [found], terms, now=now)
        drafting.draft(act, dues, terms, now=now)
        drafts = act.scalars(select(Invoice).order_by(Invoice.id)).all()
        issuing.issue(act, drafts, terms, actor="test", now=now)
        receipt = Receipt("k", 25_000_000, "EUR", "bank", "k", now.date())
        payments.receive(act, act.merge(acme), receipt, actor="test", now=now)
        profiles.save_profile(act, act.merge(acme), Profile("none", 14, prepaid=True), actor="test", now=now)


def replayed(make, source, now):
    globex, event = make.tenant("Globex"), UsageEvent("late-1", "globex", "voice_minutes", 5, now)
    run_in_transaction(lambda act: ingest(act, source.id, [Report(event, "raw")], now=now))
    make.subscribe(globex, make.package("silver", LIMITS))
    entry = db.session.scalar(select(Quarantined.id))
    run_in_transaction(lambda act: quarantine.replay(act, entry, event, actor="test", now=now))


def held(tenant_id, now):
    given = (("extensions", "101"), ("extensions", "102"), ("dids", "+4930123"))
    with unit_of_work() as act:
        for number, (resource, name) in enumerate(given, 1):
            act.add(
                Allocation(
                    tenant_id=tenant_id, id=number, resource_code=resource, name=name, created_at=now, created_by=""
                )
            )
        act.flush()
        act.add(Did(number="+4930123", tenant_id=tenant_id, allocation_id=3))
        for resource, used in (("extensions", 2), ("dids", 1)):
            act.add(Meter(tenant_id=tenant_id, resource_code=resource, period_on=NO_PERIOD, used=used))


def found(now):
    return [str(each) for each in differences(db.session(), now=now)]


def test_what_the_portal_wrote_agrees(world, now):
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == 9
    assert found(now) == []


# What is planted, into which table, and what is said of it: exactly one difference each.
DRIFTS = {
    "meter_used": (
        "UPDATE meter SET used = used + 1 WHERE resource_code = 'voice_minutes' AND used = 1050",
        "acme voice_minutes 2026-11-13: expected 1050, found 1051",
    ),
    "meter_records": (
        "UPDATE meter SET records = records - 1 WHERE resource_code = 'fax_pages'",
        "acme fax_pages 2026-11-13: expected 3, found 2",
    ),
    "meter_beyond": (
        "UPDATE meter_beyond SET price_micros = 20000, quantity = 49",
        "acme voice_minutes 2026-11-13 charge at 20000: expected 50, found 49",
    ),
    "carried_in": (
        "UPDATE meter SET carried_in = 60 WHERE resource_code = 'sms_messages' AND period_on = '2026-11-13'",
        "acme sms_messages 2026-11-13: expected 100, found 60",
    ),
    "day_quantity": (
        "UPDATE usage_day SET quantity = quantity + 7 WHERE quantity = 1050",
        "acme voice_minutes: expected 1080, found 1087",
    ),
    "day_records": (
        "UPDATE usage_day SET records = records + 1 WHERE quantity = 1050",
        "acme voice_minutes: expected 3, found 4",
    ),
    "record_parts": (
        "UPDATE usage_record SET from_allowance = from_allowance - 1 WHERE external_id = 'v0'",
        "acme voice_minutes 2026-11-13 record {v0}: expected 950, found 949",
    ),
    "reversal_is_its_negative": (
        "UPDATE usage_record SET reverses_id = {v0} WHERE external_id = 'v1'",
        "acme voice_minutes 2026-11-13 record {v1}: expected -950, found 100",
    ),
    "reversed_once": (
        "UPDATE usage_record SET reverses_id = {z0} WHERE external_id IN ('z1', 'z2')",
        "acme fax_pages 2026-11-13 record {z0}: expected 1, found 2",
    ),
    "on_hold": (
        "UPDATE hold SET granted = granted - 1 WHERE call_id = 'c0'",
        "acme voice_minutes 2026-11-13: expected 89, found 90",
    ),
    "calls_in_progress": (
        "UPDATE meter SET used = 2 WHERE resource_code = 'concurrent_calls'",
        "acme concurrent_calls 1970-01-01: expected 1, found 2",
    ),
    "hold_overdue": (
        "UPDATE hold SET expires_at = (SELECT min(started_at) FROM subscription) WHERE call_id = 'c0'",
        "acme voice_minutes 2026-11-13 hold {c0}: expected 0, found 1",
    ),
    "hold_ends_once": (
        "UPDATE hold SET ended_as = 'settled' WHERE call_id = 'c0'",
        "acme voice_minutes 2026-11-13 hold {c0}: expected 1, found 0",
    ),
    "allocated": (
        "UPDATE allocation SET released_at = created_at WHERE name = '101'",
        "acme extensions 1970-01-01: expected 1, found 2",
    ),
    "numbers": ("DELETE FROM did", "acme dids allocation 3 +4930123: expected 1, found 0"),
    "one_live_subscription": (
        "UPDATE subscription SET tenant_id = {globex}",
        "globex live subscriptions: expected 1, found 2",
    ),
    "open_segment": (
        "UPDATE subscription SET package_id = 1 WHERE tenant_id = {acme}",
        "acme subscription {subscription} on package 1: expected 1, found 0",
    ),
    "segments_overlap": (
        "UPDATE subscription_segment SET started_at = '2026-10-14 00:00:00+00:00'"
        " WHERE tenant_id = {acme} AND ended_at IS NULL",
        "acme segment {segment}: expected 0, found 1",
    ),
    "package_currency": (
        "UPDATE tenant SET currency = 'USD' WHERE slug = 'acme'",
        "acme USD on package platinum in EUR: expected 1, found 0",
    ),
    "status_is_the_last_event": (
        "UPDATE subscription_event SET status = 'trial' WHERE tenant_id = {acme}",
        "acme subscription {subscription} active: expected 1, found 0",
    ),
    "suspended_as_the_tenant": (
        "UPDATE tenant SET status = 'suspended', suspended_at = created_at WHERE slug = 'acme'",
        "acme subscription {subscription} active: expected 1, found 0",
    ),
    "billed_periods_closed": (
        "UPDATE subscription SET open_from = '2026-10-13' WHERE tenant_id = {acme}",
        "acme 2026-11-13 subscription {subscription} open from 2026-10-13: expected 1, found 0",
    ),
    "replay_left_its_record": (
        "UPDATE quarantined SET external_id = 'another'",
        "quarantine entry {entry}: expected 1, found 0",
    ),
    "entry_resolved_or_open": (
        "UPDATE quarantined SET resolved_at = NULL",
        "quarantine entry {entry}: expected 1, found 0",
    ),
    "ledger_balance": (
        "UPDATE ledger_entry SET amount_micros = amount_micros - 1 WHERE kind = 'payment'",
        "acme EUR: expected 4999999, found 5000000",
    ),
    "ledger_entries": (
        "UPDATE ledger_balance SET entries = entries + 1",
        "acme EUR: expected 4, found 5",
    ),
    "ledger_goes_on": (
        "UPDATE ledger_entry SET balance_micros = balance_micros + 1 WHERE kind = 'payment'",
        "acme EUR 5000001: expected 0, found 1",
    ),
    "ledger_documents": (
        "UPDATE ledger_entry SET source = 'payment:1' WHERE kind = 'payment'",
        "acme payment:{payment}: expected -25000000, found 0",
    ),
    "prepaid_credit": (
        "UPDATE prepaid SET credit_micros = credit_micros + 1",
        "acme EUR: expected -5000000, found -4999999",
    ),
    "prepaid_tax": (
        "UPDATE prepaid SET tax_ppm = 70000",
        "acme tax on top, per million: expected 0, found 70000",
    ),
    "open_and_credit": (
        "UPDATE invoice SET open_micros = open_micros + 1 WHERE open_micros > 0",
        "acme EUR: expected 5000000, found 5000001",
    ),
    "payment_matches": (
        "UPDATE payment_match SET amount_micros = amount_micros - 1 WHERE amount_micros = 5000000",
        "acme payment {payment}: expected 25000000, found 24999999",
    ),
    "repayments": (
        "UPDATE payment_match SET repayment_id = payment_id",
        "acme payment {payment}: expected 0, found 25000000",
    ),
    "invoice_open": (
        "UPDATE invoice SET open_micros = CASE WHEN number = '2026-00001' THEN 5000000 ELSE 0 END,"
        " status = CASE WHEN number = '2026-00001' THEN 'final' ELSE 'paid' END WHERE status <> 'draft'",
        "acme invoice {2026-00001}: expected 0, found 5000000",
    ),
    "open_by_status": (
        "UPDATE invoice SET status = 'final' WHERE number = '2026-00001'",
        "acme final invoice {2026-00001}: expected 1, found 0",
    ),
    "void_is_credited": (
        "UPDATE invoice SET status = 'void' WHERE number = '2026-00001'",
        "acme invoice {2026-00001}: expected 10000000, found 0",
    ),
    "current_revision": (
        "UPDATE package SET revision_id = revision_id + 1 WHERE code = 'gold'",
        "package gold: expected 1, found 0",
    ),
    "package_as_revised": (
        "UPDATE package SET public = NOT public WHERE code = 'gold'",
        "package gold: expected 1, found 0",
    ),
    "bank_lines": (
        "INSERT INTO unmatched_line (id, key, amount_micros, currency, state, assigned_to_id)"
        " VALUES (9, 'lost', 7000000, 'EUR', 'assigned', {acme})",
        "acme assigned bank line 9: expected 7000000, found 0",
    ),
    "bill_run_counts": (
        "INSERT INTO bill_run (id, drafted, finalised) VALUES (9, 2, 2)",
        "invoices of bill run 9: expected 0, found 2",
    ),
    "suspended_since": (
        "UPDATE tenant SET suspended_at = created_at WHERE slug = 'acme'",
        "acme active: expected 0, found 1",
    ),
    "tenant_names": (
        "DELETE FROM tenant_name WHERE name = 'acme'",
        "acme slug acme: expected 1, found 0",
    ),
    "invoice_lines": (
        "UPDATE invoice_line SET amount_micros = amount_micros + 1 WHERE invoice_id = {2026-00001}",
        "acme invoice {2026-00001}: expected 10000001, found 10000000",
    ),
    "invoice_margin": (
        "UPDATE invoice SET cost_micros = 7 WHERE id = {2026-00001}",
        "acme cost of invoice {2026-00001}: expected 0, found 7",
    ),
    "usage_lines": (
        "UPDATE invoice_line SET resource_code = 'voice_minutes', usage_on = '2026-09-13', price_micros = 20000,"
        " quantity = 5 WHERE invoice_id = {2026-00001}",
        "acme voice_minutes 2026-09-13 at 20000: expected 0, found 5",
    ),
    "billed_once": (
        "UPDATE invoice SET reason = 'period' WHERE reason = 'start'",
        "acme 2026-09-13 invoices for period: expected 1, found 2",
    ),
    "second_factor": (
        "UPDATE account SET has_second_factor = true WHERE id = {account}",
        "acme account {account}: expected 0, found 1",
    ),
    "number_gaps": ("UPDATE number_series SET last = 4", "series 2026-: expected 4, found 3"),
}  # fmt: skip
TABLES = ("usage_record", "meter", "meter_beyond", "usage_day", "hold", "allocation", "did", "subscription",
          "subscription_segment", "subscription_event", "tenant", "quarantined", "ledger_entry", "ledger_balance", "invoice",
          "invoice_line", "payment", "payment_match", "number_series", "prepaid", "account",
          "package", "tenant_name", "unmatched_line", "bill_run")  # fmt: skip
# One drift seen from two sides; and what is carried over depends on the package.
ALSO = {
    "one_live_subscription": {"open_segment", "carried_in", "status_is_the_last_event"},
    "open_segment": {"open_segment", "carried_in"},
    "ledger_balance": {"prepaid_credit", "ledger_goes_on", "ledger_documents"},
    "ledger_goes_on": {"ledger_goes_on"},
    "ledger_documents": {"ledger_documents"},
    "invoice_open": {"invoice_open"},
    "open_and_credit": {"invoice_open"},
    "payment_matches": {"invoice_open"},
}


def shadow(session):
    """Copies that hide the tables from this transaction, without the constraints that forbid most of these drifts."""
    schema = "main" if session.get_bind().dialect.name == "sqlite" else "public"
    for table in TABLES:
        session.execute(text(f"CREATE TEMP TABLE {table} AS SELECT * FROM {schema}.{table}"))


def names(session):
    """The ids that a drift or its finding speaks of."""
    asked = {
        "SELECT external_id, id FROM usage_record",
        "SELECT call_id, id FROM hold",
        "SELECT slug, id FROM tenant",
        "SELECT 'entry', id FROM quarantined",
        "SELECT 'subscription', s.id FROM subscription s JOIN tenant t ON t.id = s.tenant_id WHERE t.slug = 'acme'",
        "SELECT 'segment', id FROM subscription_segment WHERE ended_at IS NOT NULL",
        "SELECT number, id FROM invoice",
        "SELECT 'payment', id FROM payment",
        "SELECT 'account', id FROM account",
    }
    return {str(name): number for sql in asked for name, number in session.execute(text(sql))}


@pytest.mark.parametrize("code", sorted(DRIFTS))
def test_a_drift_is_named(world, session, now, code):
    drift, said = DRIFTS[code]
    shadow(session)
    known = names(session)
    session.execute(text(drift.format(**known)))
    seen = found(now)
    session.rollback()
    assert f"{code}: {said.format(**known)}" in seen
    others = {each.partition(":")[0] for each in seen} - {code}
    assert (len(seen) == 1 or code in ALSO) and others <= ALSO.get(code, set())


def test_records_without_a_meter_and_meters_without_records_differ_too(world, session, now):
    shadow(session)
    session.execute(text("UPDATE meter SET period_on = '2026-09-13' WHERE used = 1050"))
    assert [each for each in found(now) if each.startswith("meter_used")] == [
        "meter_used: acme voice_minutes 2026-09-13: expected 0, found 1050",
        "meter_used: acme voice_minutes 2026-11-13: expected 1050, found 0",
    ]
    session.rollback()


def test_what_is_carried_where_nothing_can_be_is_named_too(world, session, now):
    shadow(session)
    session.execute(text("UPDATE meter SET carried_in = 7 WHERE resource_code = 'fax_pages'"))
    assert found(now) == ["carried_in: acme fax_pages 2026-11-13: expected 0, found 7"]
    session.rollback()


@pytest.mark.parametrize(
    ("drift", "seen"),
    [
        ("UPDATE did SET number = '+4930124'", ["numbers: acme dids allocation 3 +4930123: expected 1, found 0",
                                                "numbers: acme dids allocation 3 +4930124: expected 0, found 1"]),
        ("UPDATE package SET name = 'Golden' WHERE code = 'gold'",
         ["package_as_revised: package gold: expected 1, found 0"]),
        ("INSERT INTO unmatched_line (id, key, amount_micros, currency, state) VALUES (9, 'k', 25000000, 'EUR', 'open')",
         ["bank_lines: acme open bank line 9: expected 0, found 25000000"]),
        ("INSERT INTO unmatched_line (id, key, amount_micros, currency, state, assigned_to_id)"
         " VALUES (9, 'k', 25000000, 'EUR', 'assigned', {acme}), (8, 'l', 1, 'EUR', 'open', NULL),"
         " (7, 'k', 1, 'EUR', 'ignored', NULL)", []),
        ("INSERT INTO bill_run (id, drafted, finalised) VALUES (9, 1, 0); UPDATE invoice SET bill_run_id = 9",
         ["bill_run_counts: drafts of bill run 9: expected 3, found 1"]),
    ],
)  # fmt: skip
def test_drifts_of_the_other_sides(world, session, now, drift, seen):
    shadow(session)
    known = names(session)
    for statement in drift.format(**known).split("; "):
        session.execute(text(statement))
    assert found(now) == seen
    session.rollback()


def test_every_check_has_its_drift():
    assert sorted([*DRIFTS, "audit_chain"]) == sorted(CODES)  # whose drifts are those of test_audit.py


def test_a_hold_is_overdue_only_when_no_worker_can_have_ended_it_yet(world, now):
    first, second = timedelta(seconds=TERMS.grace), timedelta(seconds=TERMS.seconds + TERMS.grace)
    assert found(now + first + timedelta(seconds=110)) == []
    assert len(found(now + first + timedelta(seconds=130))) == 1
    assert len(found(now + second + timedelta(seconds=130))) == 2


def test_a_snapshot_sees_one_moment_while_others_write(app, world, make, now):
    source = make.source("pbx2")
    count = select(func.count()).select_from(UsageRecord)

    def report():
        with app.app_context():
            make.usage(world, 5, source=source)
            db.session.remove()

    with snapshot() as session:
        assert session.scalar(count) == 9
        writer = threading.Thread(target=report)
        writer.start()
        writer.join()
        assert session.scalar(count) == 9
        assert found(now) == []
    assert db.session.scalar(count) == 10

"""Drafts, numbers, the ledger, credit notes, payments: the life of an invoice."""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, DomainError, Invalid, NotFound
from app.db import db, run_in_transaction, unit_of_work
from app.domain.billing import credit_notes, due, ledger, payments, profiles, service
from app.domain.billing.lines import Rate
from app.domain.billing.models import Invoice, InvoiceLine, LedgerBalance, LedgerEntry, NumberSeries, Payment
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from tests.factories import close_before

EURO = 1_000_000
TERMS = Terms(Issuer("Northline", ("1 High Street",), tax_id="DE1", iban="DE02"))
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
FIRST, SECOND = date(2026, 9, 1), date(2026, 10, 1)
OCTOBER = datetime(2026, 10, 5, tzinfo=UTC)
EDGE = {"actor": "nora", "now": OCTOBER}
CHARGED = [LimitSpec("voice_minutes", 6_000, "charge", 20_000)]


@pytest.fixture
def vat(session):
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT 19 %", 190_000), actor="nora", now=STARTED)


@pytest.fixture
def acme(make, vat):
    """On a package of 49.00 with 100 minutes, 0.02 a minute beyond, since 1 September."""
    make.now = STARTED
    tenant = make.tenant()
    make.subscribe(tenant, make.package("office", CHARGED, price_micros=49 * EURO, setup_fee_micros=10 * EURO))
    with unit_of_work() as unit:
        wanted = Profile("vat", 10, "Acme GmbH", "Gate 1\nBerlin", "DE9")
        profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), wanted, actor="nora", now=STARTED)
    return tenant


def subscription_of(session, tenant):
    return subscriptions.require_live(session, tenant)


def draft(tenant, reason="period", first_on=FIRST, terms=TERMS, now=OCTOBER):
    def act(session):
        found = subscription_of(session, tenant)
        period = subscriptions.period_on_day(found, first_on)
        return service.draft(session, found, period, terms, now=now, reason=reason).id

    return run_in_transaction(act)


def finalise(tenant, invoice_id, terms=TERMS, now=OCTOBER, seen_micros=None):
    def act(session):
        invoice = service.get(session, tenant.id, invoice_id)
        return service.finalise(session, invoice, terms, actor="nora", now=now, seen_micros=seen_micros).number

    return run_in_transaction(act)


def credit(tenant, invoice_id, line_ids=None):
    def act(session):
        invoice = service.get(session, tenant.id, invoice_id)
        return credit_notes.credit(session, invoice, TERMS, line_ids=line_ids, **EDGE).id

    return run_in_transaction(act)


def receive(tenant, amount, key="k1", **changed):
    receipt = replace(Receipt(key, amount, "EUR", "bank", key, date(2026, 10, 5)), **changed)
    return run_in_transaction(lambda session: payments.receive(session, tenant, receipt, **EDGE).id)


def issued(tenant, reason="start", first_on=FIRST):
    invoice_id = draft(tenant, reason, first_on)
    finalise(tenant, invoice_id)
    return invoice_id


def read(session, tenant, invoice_id):
    session.rollback()
    invoice = service.get(session, tenant.id, invoice_id)
    return invoice, service.lines_of(session, invoice)


def check_books(session):
    """Invariants 5 and 6 of the domain, recounted."""
    session.rollback()
    for balance in session.scalars(select(LedgerBalance)):
        entries = select(func.sum(LedgerEntry.amount_micros), func.count()).where(
            LedgerEntry.tenant_id == balance.tenant_id, LedgerEntry.currency == balance.currency
        )
        assert tuple(session.execute(entries).one()) in {(balance.balance_micros, balance.entries), (None, 0)}
        still_open = session.scalar(select(func.sum(Invoice.open_micros)).where(Invoice.tenant_id == balance.tenant_id))
        credit = session.scalar(
            select(func.sum(Payment.unmatched_micros)).where(Payment.tenant_id == balance.tenant_id)
        )
        assert (still_open or 0) - (credit or 0) == balance.balance_micros
    for invoice in session.scalars(select(Invoice)):
        amounts = select(func.sum(InvoiceLine.amount_micros)).where(
            InvoiceLine.tenant_id == invoice.tenant_id, InvoiceLine.invoice_id == invoice.id
        )
        on_top = sum(tax["tax_micros"] for tax in invoice.printed["taxes"] if not tax["inclusive"])
        assert (session.scalar(amounts) or 0) + on_top == invoice.total_micros
    numbers = sorted(session.scalars(select(Invoice.number).where(Invoice.number.is_not(None))))
    assert numbers == [f"2026-{number:05d}" for number in range(1, len(numbers) + 1)]


def test_the_first_invoice_has_the_period_in_advance_and_the_setup_fee(session, acme):
    invoice, lines = read(session, acme, issued(acme))
    assert [(line.kind, line.amount_micros, line.first_on, line.end_on) for line in lines] == [
        ("recurring", 49 * EURO, FIRST, SECOND),
        ("setup", 10 * EURO, FIRST, FIRST),
    ]
    assert (invoice.number, invoice.status) == ("2026-00001", "final")
    assert (invoice.net_micros, invoice.tax_micros, invoice.total_micros) == (59 * EURO, 11_210_000, 70_210_000)
    assert (invoice.issued_on, invoice.due_on) == (date(2026, 10, 5), date(2026, 10, 15))
    assert invoice.printed["customer"]["name"] == "Acme GmbH" and invoice.printed["customer"]["address"] == [
        "Gate 1",
        "Berlin",
    ]
    assert invoice.printed["provider"]["iban"] == "DE02" and invoice.printed["taxes"][0]["name"] == "VAT 19 %"
    check_books(session)


def test_a_period_is_billed_with_what_lay_beyond_and_the_next_in_advance(session, make, acme):
    source = make.source()
    make.usage(acme, 6_000, source=source, occurred_at=STARTED + timedelta(days=1))
    make.usage(acme, 90, source=source, occurred_at=STARTED + timedelta(days=2))
    _, lines = read(session, acme, issued(acme, "period"))
    assert [(line.kind, line.amount_micros, line.quantity, line.usage_on) for line in lines] == [
        ("recurring", 49 * EURO, 1, None),
        ("overage", 30_000, 90, FIRST),
    ]
    assert (lines[0].first_on, lines[0].end_on) == (SECOND, date(2026, 11, 1))
    assert (lines[1].unit_one, lines[1].factor, lines[1].late) == ("minute", 60, False)
    check_books(session)


def test_the_price_of_the_coming_period_is_the_one_in_force_as_it_begins(session, make, acme):
    for day, price in ((datetime(2026, 9, 20, tzinfo=UTC), 55), (datetime(2026, 10, 2, tzinfo=UTC), 60)):
        with unit_of_work() as unit:
            package = catalog.by_code(unit, "office")
            spec = replace(catalog.spec_of(package.revision), price_micros=price * EURO)
            catalog.publish(unit, package, spec, actor="nora", now=day)
    _, lines = read(session, acme, issued(acme, "period"))
    assert [line.amount_micros for line in lines] == [55 * EURO]


def test_changes_of_package_are_prorated_by_days(session, make, acme):
    make.now = datetime(2026, 9, 16, 12, tzinfo=UTC)
    big = make.package("big", CHARGED, price_micros=79 * EURO)
    make.subscribe(acme, big)
    make.now = datetime(2026, 9, 25, 12, tzinfo=UTC)
    make.subscribe(acme, make.package("small", CHARGED, price_micros=20 * EURO))
    _, lines = read(session, acme, issued(acme, "period"))
    assert [(line.kind, line.name, line.amount_micros, line.days) for line in lines] == [
        ("recurring", "Small", 20 * EURO, 0),
        ("credit", "Office", -24_500_000, 15),
        ("charge", "Big", 39_500_000, 15),
        ("credit", "Big", -15_800_000, 6),
        ("charge", "Small", 4 * EURO, 6),
    ]


def test_late_usage_joins_the_next_invoice_and_says_so(session, make, acme):
    source = make.source()
    make.usage(acme, 6_000, source=source, occurred_at=STARTED + timedelta(days=1))
    issued(acme, "period")
    make.now = OCTOBER
    make.usage(acme, 6_060, source=source, occurred_at=STARTED + timedelta(days=3))
    make.usage(acme, 120, source=source, occurred_at=OCTOBER)
    later = datetime(2026, 11, 3, tzinfo=UTC)
    second = draft(acme, first_on=SECOND, now=later)
    _, lines = read(session, acme, second)
    # The late record burnt October's allowance first: 60 seconds of it lay beyond.
    assert [(line.quantity, line.late) for line in lines if line.kind == "overage"] == [(120, False), (60, True)]


def test_what_slipped_into_a_period_while_it_was_billed_is_on_the_next_invoice(session, make, acme):
    source = make.source()
    make.usage(acme, 6_060, source=source, occurred_at=STARTED + timedelta(days=1))
    issued(acme, "period")
    with unit_of_work() as unit:  # as a transaction that had read the open period before it was closed
        found = subscription_of(unit, acme)
        found.open_from = FIRST
    make.usage(acme, 30, source=source, occurred_at=STARTED + timedelta(days=2))
    _, lines = read(session, acme, draft(acme, first_on=SECOND, now=datetime(2026, 11, 3, tzinfo=UTC)))
    assert [(line.quantity, line.usage_on, line.late) for line in lines if line.kind == "overage"] == [
        (30, FIRST, True)
    ]


def test_a_draft_is_made_once_and_numbered_once(session, acme):
    first = draft(acme, "start")
    assert draft(acme, "start") == first
    finalise(acme, first)
    with pytest.raises(Conflict) as refused:
        finalise(acme, first)
    assert refused.value.code == "not_a_draft"
    assert draft(acme, "start") == first
    check_books(session)


def test_only_a_period_that_is_over_is_billed(acme):
    with pytest.raises(Conflict, match="not over"):
        draft(acme, first_on=SECOND)
    with pytest.raises(Conflict, match="first period"):
        draft(acme, "start", SECOND)


def test_usage_after_the_review_is_seen_before_it_is_charged(session, make, acme):
    source = make.source()
    invoice_id = draft(acme)
    make.usage(acme, 6_060, source=source, occurred_at=STARTED + timedelta(days=1))
    with pytest.raises(Conflict) as refused:
        finalise(acme, invoice_id, seen_micros=58_310_000)
    assert refused.value.code == "changed_meanwhile"
    assert subscription_of(session, acme).open_from == FIRST  # nothing of it was kept
    assert finalise(acme, invoice_id, seen_micros=58_330_000) == "2026-00001"  # 49.02 and 19 %
    invoice, lines = read(session, acme, invoice_id)
    assert invoice.total_micros == 58_330_000 and len(lines) == 2
    assert subscription_of(session, acme).open_from == SECOND


def test_a_line_that_somebody_else_adds_is_seen_before_it_is_charged(acme):
    invoice_id = draft(acme)
    with unit_of_work() as session:
        service.add_line(session, service.get(session, acme.id, invoice_id), "Visit", 1, EURO, TERMS, **EDGE)
    with pytest.raises(Conflict) as refused:
        finalise(acme, invoice_id, seen_micros=58_310_000)
    assert refused.value.code == "changed_meanwhile"
    assert finalise(acme, invoice_id, seen_micros=59_500_000) == "2026-00001"  # 50.00 and 19 %


def test_a_finalise_that_is_rolled_back_gives_its_number_back(session, acme):
    first, second = draft(acme, "start"), draft(acme)

    def killed_before_the_commit():
        with unit_of_work() as unit:
            service.finalise(unit, service.get(unit, acme.id, first), TERMS, **EDGE)
            raise RuntimeError("killed")

    for _ in range(3):
        with pytest.raises(RuntimeError, match="killed"):
            killed_before_the_commit()
    assert session.scalar(select(func.count()).select_from(LedgerEntry)) == 0
    assert [finalise(acme, first), finalise(acme, second)] == ["2026-00001", "2026-00002"]
    check_books(session)


def test_two_who_finalise_at_once_make_one_invoice_each_without_a_gap(app, session, make, acme):
    globex = make.tenant("Globex")
    make.subscribe(globex, catalog.by_code(session, "office"))
    jobs = [(acme, draft(acme, "start")), (acme, draft(acme)), (globex, draft(globex, "start"))] * 3
    answers, start = [], threading.Barrier(len(jobs))

    def act(tenant, invoice_id):
        with app.app_context():
            start.wait()
            try:
                answers.append(finalise(tenant, invoice_id))
            except Conflict as error:
                answers.append(error.code)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=act, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(answer for answer in answers if answer.startswith("2026-"))
    assert len(answers) == len(jobs) and set(answers) <= {*numbers, "not_a_draft", "unfinished"}
    assert numbers == [f"2026-{number:05d}" for number in range(1, len(numbers) + 1)] and len(numbers) == 3
    check_books(session)


def test_each_prefix_counts_from_one(session, acme):
    terms = replace(TERMS, prefix="N")
    assert finalise(acme, draft(acme, "start"), terms) == "N00001"
    assert finalise(acme, draft(acme)) == "2026-00001"
    assert {row.prefix: row.last for row in session.scalars(select(NumberSeries))} == {"N": 1, "2026-": 1}


def test_lines_of_staff_go_on_a_draft_alone(session, acme):
    invoice_id = draft(acme, "start")

    def add(name="Visit", quantity=2, price=5 * EURO, **more):
        run_in_transaction(
            lambda unit: service.add_line(
                unit, service.get(unit, acme.id, invoice_id), name, quantity, price, TERMS, **more, **EDGE
            )
        )

    add()
    add("Goodwill", 1, -4 * EURO, tax_code="none")
    invoice, lines = read(session, acme, invoice_id)
    assert [(line.kind, line.amount_micros) for line in lines[2:]] == [("one_off", 10 * EURO), ("one_off", -4 * EURO)]
    assert invoice.net_micros == 65 * EURO and len(invoice.printed["taxes"]) == 2
    for wrong in ({"name": " "}, {"quantity": 0}, {"price": 0}, {"tax_code": "nothing"}):
        with pytest.raises(Invalid):
            add(**wrong)

    def remove(line_id):
        with unit_of_work() as unit:
            service.remove_line(unit, service.get(unit, acme.id, invoice_id), line_id, TERMS, **EDGE)

    with pytest.raises(NotFound):
        remove(lines[0].id)
    remove(next(line.id for line in lines if line.name == "Goodwill"))
    finalise(acme, invoice_id)
    check_books(session)
    with pytest.raises(Conflict):
        add()
    with pytest.raises(Conflict), unit_of_work() as unit:
        service.discard(unit, service.get(unit, acme.id, invoice_id), **EDGE)


def test_a_discarded_draft_is_due_again(session, acme):
    def still_due():
        session.rollback()
        return [
            (each.reason, each.period.first_on)
            for each in due.find(session, [subscription_of(session, acme)], TERMS, now=OCTOBER)
        ]

    assert still_due() == [("start", FIRST), ("period", FIRST)]
    invoice_id, second = draft(acme, "start"), draft(acme)
    assert still_due() == []
    for each in (second, invoice_id):
        with unit_of_work() as unit:
            service.discard(unit, service.get(unit, acme.id, each), **EDGE)
    assert still_due() == [("start", FIRST), ("period", FIRST)]


def test_a_period_waits_for_late_usage_before_it_is_due(session, acme):
    found = subscription_of(session, acme)
    for day, expected in ((2, 1), (3, 2)):
        now = datetime(2026, 10, day, tzinfo=UTC)
        assert len(due.find(session, [found], TERMS, now=now)) == expected


def test_what_was_closed_before_the_first_invoice_was_billed_elsewhere(session, acme):
    with unit_of_work() as unit:
        close_before(unit, acme.id, SECOND)
    now = datetime(2026, 11, 5, tzinfo=UTC)
    found = due.find(session, [subscription_of(session, acme)], TERMS, now=now)
    assert [(each.reason, each.period.first_on) for each in found] == [("period", SECOND)]


def test_the_least_amount_of_an_invoice_counts_lines_of_staff(session, acme):
    terms = replace(TERMS, minimum_micros=70 * EURO)
    invoice_id = draft(acme, "start", terms=terms)
    with unit_of_work() as unit:
        service.add_line(unit, service.get(unit, acme.id, invoice_id), "Visit", 1, 5 * EURO, terms, **EDGE)
    _, lines = read(session, acme, invoice_id)
    assert [(line.kind, line.amount_micros) for line in lines][2:] == [("one_off", 5 * EURO), ("minimum", 6 * EURO)]


def test_a_credit_note_on_everything_makes_the_invoice_void(session, acme):
    invoice_id = issued(acme)
    note, lines = read(session, acme, credit(acme, invoice_id))
    invoice, before = read(session, acme, invoice_id)
    assert (invoice.status, invoice.open_micros, note.number) == ("void", 0, "2026-00002")
    assert note.total_micros == -invoice.total_micros
    assert [line.amount_micros for line in lines] == [-line.amount_micros for line in before]
    assert ledger.balances_of(session, acme.id) == {"EUR": 0}
    with pytest.raises(Conflict):
        credit(acme, invoice_id)
    check_books(session)


def test_credit_by_lines_takes_each_line_once_and_the_last_takes_the_rest(session, acme):
    invoice_id = draft(acme, "start")
    for cents in (30_000, 30_000, 30_000):
        with unit_of_work() as unit:
            service.add_line(unit, service.get(unit, acme.id, invoice_id), "Stamp", 1, cents, TERMS, **EDGE)
    finalise(acme, invoice_id)
    _, lines = read(session, acme, invoice_id)
    for line in lines[:-1]:
        credit(acme, invoice_id, [line.id])
        with pytest.raises(Conflict):
            credit(acme, invoice_id, [line.id])
        assert read(session, acme, invoice_id)[0].status == "final"
    credit(acme, invoice_id, [lines[-1].id])
    assert read(session, acme, invoice_id)[0].status == "void"
    assert ledger.balances_of(session, acme.id) == {"EUR": 0}
    check_books(session)


def test_lines_that_come_to_nothing_together_still_name_their_rate(session, acme):
    invoice_id = draft(acme, "start")
    for name, micros in (("Visit", 5 * EURO), ("Discount", -5 * EURO)):
        with unit_of_work() as unit:
            service.add_line(unit, service.get(unit, acme.id, invoice_id), name, 1, micros, TERMS, **EDGE)
    finalise(acme, invoice_id)
    _, lines = read(session, acme, invoice_id)
    credit(acme, invoice_id, [line.id for line in lines[:-2]])
    note, taken = read(session, acme, credit(acme, invoice_id, [line.id for line in lines[-2:]]))
    assert (note.total_micros, {line.tax_code for line in taken}) == (0, {tax["code"] for tax in note.printed["taxes"]})
    check_books(session)


def test_crediting_what_was_paid_leaves_the_tenant_credit_for_the_next_invoice(session, acme):
    first = issued(acme)
    receive(acme, 70_210_000)
    assert read(session, acme, first)[0].status == "paid"
    credit(acme, first)
    assert payments.credit_of(session, acme.id, "EUR") == 70_210_000
    check_books(session)
    second, _ = read(session, acme, issued(acme, "period"))
    assert (second.status, second.open_micros) == ("paid", 0)
    assert ledger.balances_of(session, acme.id) == {"EUR": 58_310_000 - 70_210_000}
    check_books(session)


def test_an_invoice_below_zero_is_credit(session, make, acme):
    invoice_id = draft(acme, "start")
    with unit_of_work() as unit:
        service.add_line(
            unit, service.get(unit, acme.id, invoice_id), "Goodwill", 1, -100 * EURO, TERMS, tax_code="none", **EDGE
        )
    finalise(acme, invoice_id)
    invoice, _ = read(session, acme, invoice_id)
    assert invoice.status == "paid" and invoice.total_micros < 0
    assert payments.credit_of(session, acme.id, "EUR") == -invoice.total_micros
    check_books(session)


def test_payments_pay_the_oldest_first_in_part_and_beyond(session, acme):
    first, second = issued(acme), issued(acme, "period")
    receive(acme, 80 * EURO)
    assert read(session, acme, first)[0].status == "paid"
    invoice, _ = read(session, acme, second)
    assert (invoice.status, invoice.open_micros) == ("final", 58_310_000 - 9_790_000)
    receive(acme, 60 * EURO, "k2")
    assert read(session, acme, second)[0].status == "paid"
    over = 140 * EURO - 70_210_000 - 58_310_000
    assert payments.credit_of(session, acme.id, "EUR") == over
    assert ledger.balances_of(session, acme.id) == {"EUR": -over}
    check_books(session)
    back = Receipt("r1", over, "EUR", "bank", "r1", date(2026, 10, 6))
    with pytest.raises(Conflict, match="less than that"), unit_of_work() as unit:
        payments.repay(unit, acme, replace(back, amount_micros=over + 1), **EDGE)
    for _ in range(2):
        with unit_of_work() as unit:
            payments.repay(unit, acme, back, **EDGE)
    assert ledger.balances_of(session, acme.id) == {"EUR": 0}
    assert [entry.kind for entry in ledger.find_entries(session, acme.id).entries] == [
        "repayment", "payment", "payment", "invoice", "invoice",
    ]  # fmt: skip
    check_books(session)


def test_a_payment_may_name_its_invoice(session, acme):
    first, second = issued(acme), issued(acme, "period")
    receive(acme, 58_310_000, invoice_ids=(second,))
    assert [read(session, acme, each)[0].status for each in (first, second)] == ["final", "paid"]
    found = payments.matches_of(session, read(session, acme, second)[0])
    assert [(match.amount_micros, payment.reference) for match, payment in found] == [(58_310_000, "k1")]
    check_books(session)


def test_a_payment_entered_twice_is_entered_once(session, acme):
    issued(acme)
    assert receive(acme, EURO) == receive(acme, EURO)
    with pytest.raises(Conflict, match="already"):
        receive(acme, 2 * EURO)
    for wrong in ({"amount": 0}, {"amount": EURO, "method": "credit"}, {"amount": EURO, "key": ""}):
        with pytest.raises(DomainError):
            receive(acme, **wrong)
    assert ledger.balances_of(session, acme.id) == {"EUR": 69_210_000}
    check_books(session)


def test_a_double_click_at_once_pays_once(app, session, acme):
    issued(acme)
    start, answers = threading.Barrier(6), []

    def act():
        with app.app_context():
            start.wait()
            answers.append(receive(acme, 40 * EURO))
            db.session.remove()

    threads = [threading.Thread(target=act) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6 and len(set(answers)) == 1
    check_books(session)


def test_what_is_issued_reprints_the_same_for_ever(session, make, acme):
    invoice_id = issued(acme)
    before = read(session, acme, invoice_id)[0].printed
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT 20 %", 200_000), actor="nora", now=OCTOBER)
        tenant = unit.get_one(Tenant, acme.id)
        profiles.save_profile(unit, tenant, Profile("none", 30, "Acme AG"), actor="nora", now=OCTOBER)
    invoice, _ = read(session, acme, invoice_id)
    assert invoice.printed == before and invoice.tax_micros == 11_210_000


def test_a_profile_and_a_rate_are_checked(session, acme):
    for wrong in (
        Rate("Bad code", "x", 0), Rate("a", "", 0), Rate("a", "x", 1_000_001), Rate("a", "x", 1, category="AE"),
        Rate("a", "x", 0, category="X"),
    ):  # fmt: skip
        with pytest.raises(Invalid), unit_of_work() as unit:
            profiles.save_rate(unit, wrong, actor="nora", now=OCTOBER)
    for wrong in (Profile("nothing", 10), Profile("vat", 400), Profile("vat", 10, address="x" * 1_001)):
        with pytest.raises(DomainError), unit_of_work() as unit:
            profiles.save_profile(unit, acme, wrong, actor="nora", now=OCTOBER)


def test_an_ended_subscription_gets_one_last_invoice(session, make, acme):
    source = make.source()
    make.usage(acme, 6_060, source=source, occurred_at=STARTED + timedelta(days=1))
    with unit_of_work() as unit:
        ended = datetime(2026, 9, 20, tzinfo=UTC)
        subscription_id = subscriptions.end(unit, acme, actor="nora", now=ended).id
    session.rollback()
    found = session.get_one(Subscription, (acme.id, subscription_id), populate_existing=True)
    now = datetime(2027, 1, 5, tzinfo=UTC)
    assert [each.reason for each in due.find(session, [found], TERMS, now=now)] == ["start", "period"]
    with unit_of_work() as unit:
        found = unit.get_one(Subscription, (acme.id, subscription_id))
        period = subscriptions.period_on_day(found, FIRST)
        invoice = service.draft(unit, found, period, TERMS, now=now)
        assert [(line.kind, line.amount_micros, line.days) for line in service.lines_of(unit, invoice)] == [
            ("credit", -17_970_000, 11),  # 49.00 x 11 of 30 days, the day of the end among them
            ("overage", 20_000, 0),
        ]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"amount": 0}, "invalid_amount"),
        ({"method": "credit"}, "unknown_method"),  # of documents alone: no money came in
        ({"key": ""}, "missing_key"),
        ({"key": "k" * 201}, "missing_key"),
    ],
)
def test_what_is_no_receipt_is_refused_and_says_why(acme, changed, code):
    with pytest.raises(Invalid) as refused:
        receive(acme, **{"amount": EURO, **changed})
    assert refused.value.code == code


def test_the_longest_reference_is_one(session, acme):
    payment_id = receive(acme, EURO, "k" * 200)
    assert session.get_one(Payment, (acme.id, payment_id)).unmatched_micros == EURO

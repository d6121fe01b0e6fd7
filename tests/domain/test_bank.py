"""Bank files: lines are read as banks write them, matched by number, and count once."""

import threading
import tracemalloc
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, Invalid
from app.db import db, run_in_transaction
from app.domain.billing import bank, bank_csv, bank_lines, due, issuing, ledger
from app.domain.billing.bank_csv import Unread, parse_amount, parse_day
from app.domain.billing.drafting import draft
from app.domain.billing.models import Invoice, Payment
from app.domain.billing.terms import Issuer, Terms
from app.domain.insight import verify
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"), prefix="RE{year}-")
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
HEAD = "Buchungstag;Auftraggeber;Verwendungszweck;Betrag;Währung\n"


@pytest.fixture
def two(make):
    """Acme owes RE2026-00001 of 49.00, Globex RE2026-00002 of 49.00."""
    make.now = STARTED
    package = make.package("office", {}, price_micros=49 * EURO)
    found = [make.tenant("Acme"), make.tenant("Globex")]
    for tenant in found:
        make.subscribe(tenant, package)

    def act(session):
        rows = [subscriptions.require_live(session, session.get_one(Tenant, each.id)) for each in found]
        draft(session, due.find(session, rows, TERMS, now=STARTED), TERMS, now=STARTED)
        drafts = session.scalars(select(Invoice).order_by(Invoice.tenant_id)).all()
        issuing.issue(session, drafts, TERMS, actor="nora", now=STARTED)

    run_in_transaction(act)
    return found


def looked(session, content, currency="EUR"):
    session.rollback()
    return bank.preview(session, content, currency)


def enter(session, content, mark=None):
    mark = mark or looked(session, content).mark
    return run_in_transaction(lambda unit: bank.enter(unit, content, "EUR", mark, actor="nora", now=STARTED))


def owed(session, tenant):
    session.rollback()
    return ledger.balances_of(session, tenant.id).get("EUR")


def states(found):
    return [(each.state, each.why or each.tenant.slug) for each in found.found]


@pytest.mark.parametrize(
    ("text", "micros"),
    [("49,00", 49 * EURO), ("1.234,56", 1_234_560_000), ("1,234.56", 1_234_560_000), ("-12,5", -12_500_000),
     ("1'000.00", 1_000 * EURO), ("1.234.567", 1_234_567 * EURO), ("1,234", 1_234 * EURO), ("+7", 7 * EURO),
     ("12.345,678", 12_345_678_000), ("49,00 €", 49 * EURO)],
)  # fmt: skip
def test_amounts_are_read_as_banks_write_them(text, micros):
    assert parse_amount(text) == micros


@pytest.mark.parametrize("text", ["", "abc", "1,2,3x", "--1", "9" * 20, "=1+1"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match="amount"):
        parse_amount(text)


def test_days_are_read_as_banks_write_them():
    assert {parse_day(text) for text in ("2026-11-23", "23.11.2026", "23.11.26", "23/11/2026", "20261123")} == {
        date(2026, 11, 23)
    }
    with pytest.raises(ValueError, match="no day"):
        parse_day("tomorrow")


def test_a_header_may_stand_below_the_account_and_columns_in_any_order():
    content = 'Konto;DE02\n\n"Betrag";"Verwendungszweck";"Valuta"\n"1.000,00";"Rechnung 7";"01.09.2026"\n;x;\n'
    first, second = bank_csv.read(content, "EUR")
    assert (first.amount_micros, first.text, first.day, first.currency) == (
        1_000 * EURO, "Rechnung 7", date(2026, 9, 1), "EUR"
    )  # fmt: skip
    assert second == Unread(5, "day")


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "Date,Amount\n2026-01-01,5\n", "\x00"])
def test_what_is_no_bank_file_is_refused(content):
    with pytest.raises(Invalid):
        bank_csv.read(content, "EUR")


@pytest.mark.parametrize(
    "bomb", ["ab\n" * 660_000, "," * 2_000_000, "\n" * 2_000_000, "date;amount;text\n" + "1\n" * 900_000]
)
def test_a_bomb_of_a_bank_file_takes_little_memory(bomb):
    tracemalloc.start()
    with pytest.raises(Invalid):
        bank_csv.read(bomb, "EUR")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


def test_a_field_too_long_for_the_reader_is_no_error_of_the_portal():
    with pytest.raises(Invalid):
        bank_csv.read('date;amount;text\n"' + "a" * 200_000, "EUR")


def test_a_line_that_is_there_twice_is_two_payments_and_read_again_the_same_two():
    content = HEAD + "01.09.2026;A;Rate;10,00;EUR\n" * 2
    keys = [line.key for line in bank_csv.read(content, "EUR")]
    assert len(set(keys)) == 2 and keys == [line.key for line in bank_csv.read(content, "EUR")]


@pytest.mark.parametrize(
    "text",
    [
        "RE2026-00001",
        "Rechnung re2026-00001 danke",
        "RE 2026 - 000 01",
        "RE202600001",
        "EREF+X SVWZ+RE2026/00001 ABWA+",
    ],
)
def test_a_number_is_found_however_the_bank_broke_it(session, two, text):
    found = looked(session, f"{HEAD}05.09.2026;Acme GmbH;{text};49,00;EUR\n")
    assert states(found) == [("matched", "acme")]
    assert [row.number for row in found.found[0].invoices] == ["RE2026-00001"]


def test_what_cannot_be_matched_says_why(session, two):
    found = looked(
        session,
        HEAD
        + "05.09.2026;A;RE2026-00001 und RE2026-00002;98,00;EUR\n05.09.2026;A;Miete;49,00;EUR\n"
        + "05.09.2026;A;RE2026-00009;49,00;EUR\n05.09.2026;A;RE2026-00001;-49,00;EUR\n"
        + "05.09.2026;A;RE2026-00001;49,00;USD\nnie;A;RE2026-00001;49,00;EUR\n05.09.2026;A;RE2026-00001;viel;EUR\n"
        + "05.09.2026;A;RE2026-000011;49,00;EUR\n",
    )
    assert [each.why for each in found.found] == [
        "several_tenants", "no_number", "unknown_number", "outgoing", "other_currency", "day", "amount",
        "unknown_number",
    ]  # fmt: skip
    assert enter(session, HEAD + "05.09.2026;A;Miete;49,00;EUR\n") == 0


def test_a_file_is_entered_and_imported_again_counts_once(session, two):
    acme, globex = two
    content = HEAD + "05.09.2026;Acme;RE2026-00001;49,00;EUR\n06.09.2026;Globex;RE2026-00002;20,00;EUR\n"
    assert enter(session, content) == 2
    assert (owed(session, acme), owed(session, globex)) == (0, 29 * EURO)
    assert states(looked(session, content)) == [("duplicate", "acme"), ("duplicate", "globex")]
    assert enter(session, content) == 0
    # The next file overlaps with it and has one line more.
    assert enter(session, content + "07.09.2026;Globex;RE2026-00002 Rest;31,00;EUR\n") == 1
    assert owed(session, globex) == -2 * EURO
    session.rollback()
    rows = session.scalars(select(Payment).order_by(Payment.id)).all()
    assert [(row.method, row.amount_micros, row.unmatched_micros) for row in rows] == [
        ("bank", 49 * EURO, 0), ("bank", 20 * EURO, 0), ("bank", 31 * EURO, 2 * EURO),
    ]  # fmt: skip
    assert rows[0].reference == "Acme: RE2026-00001" and rows[0].received_on == date(2026, 9, 5)
    assert list(verify.differences(session, now=STARTED)) == []


def test_what_changed_since_the_look_is_not_entered(session, two):
    content = HEAD + "05.09.2026;Acme;RE2026-00001;49,00;EUR\n"
    mark = looked(session, content).mark
    enter(session, content)
    with pytest.raises(Conflict) as refused:
        enter(session, content, mark)
    assert refused.value.code == "preview_stale"
    assert owed(session, two[0]) == 0


def test_numbers_without_a_prefix_are_found_too():
    pattern = bank._pattern(["", "A-"])
    assert bank._numbers(pattern, "zu 00012, A-00013 und 1234567890123") == ("00012", "a00013", "1234567890123")
    assert bank._numbers(bank._pattern([]), "RE2026-00001") == ()


def waiting(session, state="open"):
    session.rollback()
    return bank_lines.find(session, state).lines


def test_what_is_not_matched_waits_once_with_suggestions_by_amount_and_name(session, two):
    content = (
        HEAD + "05.09.2026;Globex Trading GmbH;Miete;49,00;EUR\n05.09.2026;Unbekannt;Miete;7,00;EUR\n"
        "05.09.2026;Acme;Lastschrift;-49,00;EUR\nnie;A;x;1,00;EUR\n"
    )
    assert enter(session, content) == 0
    assert enter(session, content) == 0  # again
    (unknown, none), (line, found) = waiting(session)
    assert (unknown.payer, none) == ("Unbekannt", [])
    assert (line.payer, line.amount_micros, line.why) == ("Globex Trading GmbH", 49 * EURO, "no_number")
    assert [(each.tenant.slug, each.invoice.number, each.by_amount, each.by_name) for each in found] == [
        ("globex", "RE2026-00002", True, True), ("acme", "RE2026-00001", True, False),
    ]  # fmt: skip


def test_a_line_that_was_assigned_is_a_payment_and_read_again_a_duplicate(session, two):
    acme, globex = two
    content = HEAD + "05.09.2026;G. Trading;Miete;49,00;EUR\n"
    enter(session, content)
    ((line, _),) = waiting(session)
    line_id = line.id

    def assign(unit):
        tenant, invoice = bank_lines.target(unit, "RE2026-00002")
        return bank_lines.assign(unit, line_id, tenant, invoice, actor="nora", now=STARTED)

    run_in_transaction(assign)
    assert (owed(session, acme), owed(session, globex)) == (49 * EURO, 0)
    with pytest.raises(Conflict, match="meanwhile"):
        run_in_transaction(assign)
    assert states(looked(session, content)) == [("duplicate", "globex")]
    assert enter(session, content) == 0 and waiting(session) == []
    ((line, _),) = waiting(session, "assigned")
    assert (line.assigned_to.slug, line.decided_by) == ("globex", "nora")
    assert len(session.scalars(select(Payment)).all()) == 1
    assert list(verify.differences(session, now=STARTED)) == []


def test_a_line_that_is_nobodys_stays_so_until_it_waits_again(session, two):
    content = HEAD + "05.09.2026;Finanzamt;Erstattung;49,00;EUR\n"
    enter(session, content)
    line_id = waiting(session)[0][0].id
    edge = {"actor": "nora", "now": STARTED}
    with pytest.raises(Invalid):
        run_in_transaction(lambda unit: bank_lines.ignore(unit, line_id, " ", **edge))
    run_in_transaction(lambda unit: bank_lines.ignore(unit, line_id, "tax refund", **edge))
    assert [(each.state, each.why) for each in looked(session, content).found] == [("ignored", "tax refund")]
    assert enter(session, content) == 0 and waiting(session) == []
    with pytest.raises(Conflict):
        run_in_transaction(lambda unit: bank_lines.assign(unit, line_id, unit.merge(two[0]), None, **edge))
    run_in_transaction(lambda unit: bank_lines.reopen(unit, line_id, **edge))
    assert len(waiting(session)) == 1 and owed(session, two[0]) == 49 * EURO


def test_a_line_whose_number_is_known_by_now_waits_no_more(session, make, two):
    content = HEAD + "05.09.2026;Initech;RE2026-00003;49,00;EUR\n"
    enter(session, content)
    assert [line.why for line, _ in waiting(session)] == ["unknown_number"]
    initech = make.tenant("Initech")
    make.subscribe(initech, make.package("later", {}, price_micros=49 * EURO))

    def act(unit):
        rows = [subscriptions.require_live(unit, unit.get_one(Tenant, initech.id))]
        draft(unit, due.find(unit, rows, TERMS, now=STARTED), TERMS, now=STARTED)
        drafts = unit.scalars(select(Invoice).where(Invoice.status == "draft")).all()
        issuing.issue(unit, drafts, TERMS, actor="nora", now=STARTED)

    run_in_transaction(act)
    assert enter(session, content) == 1 and waiting(session) == [] and owed(session, initech) == 0


def test_two_people_assign_one_line_to_two_tenants_at_once(app, session, two):
    enter(session, HEAD + "05.09.2026;Wer;Miete;49,00;EUR\n")
    line_id, results = waiting(session)[0][0].id, []
    start = threading.Barrier(2)

    def person(tenant_id):
        with app.app_context():
            start.wait()
            try:
                run_in_transaction(
                    lambda unit: bank_lines.assign(
                        unit, line_id, unit.get_one(Tenant, tenant_id), None, actor="nora", now=STARTED
                    )
                )
                results.append("entered")
            except Conflict as error:
                results.append(error.code)
            db.session.remove()

    threads = [threading.Thread(target=person, args=(tenant.id,)) for tenant in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["decided", "entered"]
    session.rollback()
    assert len(session.scalars(select(Payment)).all()) == 1


def test_what_is_called_so_is_found_by_number_or_name(session, two):
    with pytest.raises(Invalid):
        bank_lines.target(session, "nobody")
    assert bank_lines.target(session, " GLOBEX ")[0].slug == "globex"

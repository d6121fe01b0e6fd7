"""Bank files: lines are read as banks write them, matched by number, and count once."""

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from app.core.errors import Conflict, Invalid
from app.db import run_in_transaction
from app.domain.billing import bank, bank_csv, due, issuing, ledger
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

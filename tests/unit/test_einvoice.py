"""Invoices as EN 16931 data: every one of them fits the schemas and breaks no rule of the Schematron."""

from dataclasses import asdict
from datetime import UTC, date, datetime

import pytest
from facturx import parse_ubl_cii_xml, xml_check_xsd
from hypothesis import HealthCheck, given, settings, strategies as st

from app.core.errors import Conflict
from app.core.money import format_micros
from app.domain.billing import drafting, einvoice, lines
from app.domain.billing.lines import Line, Priced, Rate
from app.domain.billing.models import Invoice, InvoiceLine
from tests.einvoices import broken_rules

EURO, CENT = 1_000_000, 10_000
FIRST, END = date(2026, 9, 1), date(2026, 10, 1)
VAT = Rate("vat", "VAT", 190_000)
WITHIN = Rate("within", "VAT", 190_000, inclusive=True)
REDUCED = Rate("reduced", "VAT, reduced", 70_000)
REVERSE = Rate("reverse", "Reverse charge", 0, category="AE", note="Reverse charge: the customer owes the tax.")
ZERO, EXEMPT = Rate("zero", "Zero-rated", 0, category="Z"), Rate("exempt", "Exempt", 0, category="E", note="§ 4 UStG")
OUTSIDE = Rate("none", "Not taxed", 0, category="O")
NOUGHT = Rate("nought", "VAT at nought", 0)
RATES = (VAT, WITHIN, REDUCED, REVERSE, ZERO, EXEMPT, OUTSIDE, NOUGHT)
PROVIDER = {
    "name": "Northline Telecom GmbH", "address": ["Hafenstraße 12", "20457 Hamburg"], "email": "billing@northline.example",
    "tax_id": "DE123456789", "iban": "DE02 1203 0000 0000 2020 51", "bic": "BYLADEM1001", "country": "",
}  # fmt: skip
CUSTOMER = {
    "name": "Acme & Söhne <KG>", "address": ["Gate 1", "c/o Nobody", "Wing B", "1010 Wien"], "country": "AT",
    "tax_id": "ATU12345678", "email": "office@acme.example", "timezone": "Europe/Vienna",
}  # fmt: skip


def month(amount=49 * EURO, rate=VAT):
    return Line(lines.RECURRING, "Gold", amount, rate.code, amount, first_on=END, end_on=date(2026, 11, 1))


def overage(seconds, rate=VAT, unit=CENT):
    used = lines.Used("voice_minutes", "Voice", 60, 20_000, seconds, 0, "minute", "minutes")
    return lines.overage([used], FIRST, FIRST, END, tax_code=rate.code, unit_micros=unit)[0]


def invoice(*found, credit=False, currency="EUR", provider=(), customer=(), unit=CENT):
    """An issued invoice of these lines, or the credit note that takes them back."""
    found = [lines.credited(line) for line in found] if credit else list(found)
    totals = lines.total(found, RATES, unit_micros=unit)
    made = Invoice(
        kind="credit_note" if credit else "invoice", number="2026-00001", currency=currency, status="final",
        issued_on=date(2026, 10, 5), due_on=date(2026, 10, 19), period_on=FIRST, period_end_on=END,
        issued_at=datetime(2026, 10, 5, tzinfo=UTC),
        net_micros=totals.net_micros, tax_micros=totals.tax_micros, total_micros=totals.total_micros,
        printed={
            "provider": PROVIDER | dict(provider), "customer": CUSTOMER | dict(customer),
            "taxes": drafting.taxes_of(totals), **({"credits": "2026-00000"} if credit else {}),
        },
    )  # fmt: skip
    return made, [InvoiceLine(position=at, **asdict(line)) for at, line in enumerate(found, start=1)]


def data_of(made, rows):
    return einvoice.data_of(made, rows, names=[row.name or "?" for row in rows], terms="Within 14 days.")


def check(made, rows):
    """Both syntaxes against schema and Schematron; returns them as read back."""
    read = []
    for kind, write in (("cii", einvoice.as_cii), ("ubl", einvoice.as_ubl)):
        xml = write(data_of(made, rows))
        assert xml_check_xsd(xml) and broken_rules(kind, xml) == []
        assert xml == write(data_of(made, rows))
        read.append(parse_ubl_cii_xml(xml))
    total = format_micros(-made.total_micros if made.kind == "credit_note" else made.total_micros)
    assert [found["BT-112"] for found in read] == [total] * 2
    return read


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.code)
@pytest.mark.parametrize("credit", [False, True], ids=["invoice", "credit_note"])
def test_each_kind_of_tax_breaks_no_rule(rate, credit):
    back = Line(
        lines.CREDIT, "Silver", -5 * EURO, rate.code, 10 * EURO, first_on=FIRST, end_on=END, days=15, of_days=30
    )
    one_off = lines.one_off("Cable", 3, 2_333_333, tax_code=rate.code, unit_micros=CENT)
    discount = lines.one_off("Discount", 2, -1_500_000, tax_code=rate.code, unit_micros=CENT)
    setup = lines.setup(Priced("Gold", 0), 10 * EURO, FIRST, tax_code=rate.code, unit_micros=CENT)
    read = check(*invoice(month(rate=rate), *setup, overage(35, rate), back, one_off, discount, credit=credit))
    assert {found["BT-3"] for found in read} == {"381" if credit else "380"}
    assert {found["BG-23"][0]["BT-118"] for found in read} == {{"nought": "Z"}.get(rate.code, rate.category)}


def test_figures_are_those_of_the_invoice():
    made, rows = invoice(month(), overage(5_400), month(10 * EURO, REDUCED))
    data = data_of(made, rows)
    assert [data[term] for term in ("BT-106", "BT-109", "BT-110", "BT-112", "BT-115")] == [
        "60.80", "60.80", "10.35", "71.15", "71.15",
    ]  # fmt: skip
    assert [
        (line["BT-131"], line["BT-129"], line["BT-130"], line["BT-146"], line["BT-149"]) for line in data["BG-25"]
    ] == [
        ("49.00", "1", "C62", "49.00", "1"),
        ("1.80", "5400", "SEC", "0.02", "60"),
        ("10.00", "1", "C62", "10.00", "1"),
    ]
    assert [(group["BT-118"], group["BT-119"], group["BT-116"], group["BT-117"]) for group in data["BG-23"]] == [
        ("S", "7.00", "10.00", "0.70"),
        ("S", "19.00", "50.80", "9.65"),
    ]
    assert (data["BT-73"], data["BT-74"], data["BT-9"]) == (FIRST, date(2026, 10, 31), date(2026, 10, 19))
    assert (data["BT-81"], data["BT-84"], data["BT-83"]) == ("58", "DE02120300000000202051", "2026-00001")


def test_parties_are_those_that_are_printed():
    data = data_of(*invoice(month()))
    assert data["BG-4"] == {
        "name": "Northline Telecom GmbH", "country_code": "DE", "addr_l1": "Hafenstraße 12", "postcode": "20457",
        "city": "Hamburg", "vat_identifier": "DE123456789",
        "einvoicing_addr": "billing@northline.example", "einvoicing_addr_schemeid": "EM",
    }  # fmt: skip
    assert data["BG-7"]["addr_l3"] == "Wing B" and data["BG-7"]["city"] == "Wien"
    check(
        *invoice(month(), provider={"tax_id": "12/345/67890", "address": [], "email": ""}, customer={"tax_id": "7-8"})
    )


def test_inclusive_prices_become_net_ones():
    made, rows = invoice(month(49 * EURO, WITHIN), overage(90, WITHIN))
    assert (made.net_micros, made.tax_micros) == (41_200_000, 7_830_000)
    data = data_of(made, rows)
    assert [line["BT-131"] for line in data["BG-25"]] == ["41.18", "0.02"]
    assert (data["BG-25"][1]["BT-146"], data["BG-25"][1]["BT-149"], data["BG-25"][1]["BT-129"]) == ("0.02", "90", "90")


def test_a_credit_note_takes_back_and_names_what_it_credits():
    made, rows = invoice(month(), overage(5_400), credit=True)
    data = data_of(made, rows)
    assert (data["BT-3"], data["BG-3"], data["BT-112"]) == ("381", [{"BT-25": "2026-00000"}], "60.45")
    assert [line["BT-129"] for line in data["BG-25"]] == ["1", "5400"]
    assert "BT-81" not in data and "BT-9" not in data


@pytest.mark.parametrize(("currency", "unit", "total"), [("USD", CENT, "58.31"), ("JPY", EURO, "58.00")])
def test_other_currencies(currency, unit, total):
    made, rows = invoice(month(), currency=currency, unit=unit)
    assert data_of(made, rows)["BT-112"] == total and data_of(made, rows)["BT-81"] == "30"
    check(made, rows)


def test_what_comes_to_less_than_nothing_or_nothing():
    check(*invoice(month(-5 * EURO), month(2 * EURO)))
    check(*invoice(month(5 * EURO), month(-5 * EURO)))


def test_the_last_credit_note_takes_what_is_left_to_the_coin():
    made, rows = invoice(month(5 * EURO, WITHIN), month(3 * EURO, WITHIN), credit=True)
    made.printed["taxes"][0]["net_micros"] -= CENT
    made.printed["taxes"][0]["tax_micros"] += CENT
    made.net_micros, made.tax_micros = made.net_micros - CENT, made.tax_micros + CENT
    check(made, rows)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"provider": {"tax_id": ""}}, "PROVIDER_TAX_ID"),
        ({"provider": {"tax_id": "12/345", "iban": ""}}, "PROVIDER_COUNTRY"),
        ({"customer": {"tax_id": ""}}, "customer's tax id"),
        ({"currency": "KWD", "unit": 1_000}, "KWD"),
    ],
)
def test_what_is_missing_is_named(changed, says):
    made, rows = invoice(month(rate=REVERSE), **changed)
    with pytest.raises(Conflict, match=says) as refused:
        data_of(made, rows)
    assert refused.value.code == "no_einvoice"


def test_taxed_and_out_of_scope_do_not_mix():
    with pytest.raises(Conflict, match="scope"):
        data_of(*invoice(month(), month(rate=OUTSIDE)))
    with pytest.raises(Conflict, match="Nothing"):
        data_of(*invoice())


signed = st.integers(-10_000_000, 10_000_000).map(lambda cents: cents * CENT)
rows_of = st.lists(
    st.one_of(
        st.builds(month, signed, st.sampled_from((VAT, WITHIN, REDUCED, REVERSE, EXEMPT))),
        st.builds(overage, st.integers(1, 10**7), st.sampled_from((VAT, WITHIN, REDUCED))),
    ),
    min_size=1,
    max_size=12,
)


@given(rows_of, st.booleans())
def test_lines_add_up_to_the_net_of_each_rate(found, credit):
    made, rows = invoice(*found, credit=credit)
    taxes = {tax["code"]: tax for tax in made.printed["taxes"]}
    nets = einvoice.net_amounts(rows, taxes, CENT)
    for code, tax in taxes.items():
        assert sum(net for row, net in zip(rows, nets, strict=True) if row.tax_code == code) == tax["net_micros"]
    for row, net in zip(rows, nets, strict=True):
        assert net % CENT == 0 and abs(net) <= abs(row.amount_micros) + CENT


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows_of, st.booleans())
def test_any_invoice_breaks_no_rule(found, credit):
    check(*invoice(*found, credit=credit))

"""The worked tables of app/domain/billing/README.md, and what holds for any figures."""

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from app.core.money import half_up, price_of
from app.core.periods import period_days
from app.domain.billing import lines, proration
from app.domain.billing.lines import Priced, Rate, Used

CENT, YEN = 10_000, 1_000_000
JUNE, JULY, AUGUST = date(2026, 6, 1), date(2026, 7, 1), date(2026, 8, 1)
prices = st.integers(0, 10**12)
units = st.sampled_from((1_000, CENT, YEN))


def euros(text: str) -> int:
    return int(Fraction(text) * 1_000_000)


@st.composite
def periods(draw):
    first = draw(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
    return first, first + timedelta(days=draw(st.integers(1, 366)))


@pytest.mark.parametrize(
    ("price", "first_on", "end_on", "on", "left", "amount"),
    [
        ("100", JULY, AUGUST, date(2026, 7, 15), 17, "54.84"),
        ("100", JULY, AUGUST, JULY, 31, "100"),
        ("100", JULY, AUGUST, AUGUST, 0, "0"),
        ("10", JUNE, JULY, date(2026, 6, 16), 15, "5"),
        ("20", JUNE, JULY, date(2026, 6, 16), 15, "10"),
    ],
)
def test_the_price_of_the_days_that_are_left(price, first_on, end_on, on, left, amount):
    assert proration.days_left(end_on, on) == left
    assert proration.price_of_rest(euros(price), left, (end_on - first_on).days, CENT) == euros(amount)


@pytest.mark.parametrize("left", [-1, 32])
def test_no_more_days_can_be_left_than_the_period_has(left):
    with pytest.raises(ValueError, match="more days"):
        proration.price_of_rest(euros("100"), left, 31, CENT)


@pytest.mark.parametrize(
    ("anchor", "day", "first_on", "end_on"),
    [
        (date(2026, 1, 31), date(2026, 2, 10), date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 1, 31), date(2026, 3, 1), date(2026, 2, 28), date(2026, 3, 31)),
        (date(2012, 1, 30), date(2012, 1, 31), date(2012, 1, 30), date(2012, 2, 29)),
        (date(2012, 1, 31), date(2012, 1, 31), date(2012, 1, 31), date(2012, 2, 29)),
    ],
)
def test_the_periods_that_are_prorated_do_not_drift(anchor, day, first_on, end_on):
    assert period_days(anchor, "month", day) == (first_on, end_on)


def test_an_upgrade_at_half_time_credits_half_the_old_and_charges_half_the_new():
    found = proration.change(euros("10"), euros("20"), JUNE, JULY, date(2026, 6, 16), CENT)
    assert (found.credit_micros, found.charge_micros) == (euros("-5"), euros("10"))
    assert (found.days_left, found.days, found.net_micros) == (15, 30, euros("5"))


@given(prices, periods(), units, st.data())
def test_the_parts_of_any_split_add_up_to_the_whole(price, period, unit, data):
    days = (period[1] - period[0]).days
    cuts = sorted(data.draw(st.sets(st.integers(1, days))))
    parts = proration.parts(price, (0, *cuts), days, unit)
    assert sum(parts) == half_up(price, 1, unit)
    exact = [Fraction(price * (b - a), days) for a, b in zip((0, *cuts), (*cuts, days), strict=True)]
    assert all(abs(part - wanted) <= unit for part, wanted in zip(parts, exact, strict=True))


@given(prices, prices, periods(), units, st.data())
def test_what_a_change_costs(old, new, period, unit, data):
    first_on, end_on = period
    on = data.draw(st.dates(first_on, end_on - timedelta(days=1)))
    there = proration.change(old, new, first_on, end_on, on, unit)
    back = proration.change(new, old, first_on, end_on, on, unit)
    assert there.net_micros + back.net_micros == 0  # up and back on the same day
    assert proration.change(old, old, first_on, end_on, on, unit).net_micros == 0
    share = Fraction((end_on - on).days, (end_on - first_on).days)
    assert abs(there.charge_micros - new * share) <= Fraction(unit, 2)
    assert abs(there.credit_micros + old * share) <= Fraction(unit, 2)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**15), units)
def test_half_up_rounds_once_and_away_from_zero(numerator, denominator, unit):
    found, exact = half_up(numerator, denominator, unit), Fraction(numerator, denominator)
    assert found % unit == 0
    assert abs(found - exact) <= Fraction(unit, 2)
    assert half_up(-numerator, denominator, unit) == -found
    if abs(found - exact) == Fraction(unit, 2):
        assert abs(found) > abs(exact)


@pytest.mark.parametrize(
    ("quantity", "price", "factor", "in_euros", "in_yen"),
    [
        (90, "0.02", 60, "0.03", 0),
        (35, "0.02", 60, "0.01", 0),
        (7200, "0.0215", 60, "2.58", 3),
        (3, "0.1", 1, "0.3", 0),
    ],
)
def test_overage_is_rounded_once_a_line(quantity, price, factor, in_euros, in_yen):
    used = [Used("voice_minutes", "Voice", factor, euros(price), quantity)]
    for unit, amount in ((CENT, euros(in_euros)), (YEN, in_yen * YEN)):
        found = lines.overage(used, JUNE, JUNE, JULY, tax_code="none", unit_micros=unit)
        assert sum(line.amount_micros for line in found) == amount == price_of(quantity, euros(price), factor, unit)


@pytest.mark.parametrize(
    ("quantity", "late", "shown"),
    [
        (100, 0, [(100, False)]),
        (100, 30, [(70, False), (30, True)]),
        (100, 100, [(100, True)]),
        (-20, 30, [(-20, False)]),  # a reversal took more than came late
        (0, 0, []),
    ],
)
def test_late_usage_is_a_line_of_its_own(quantity, late, shown):
    used = [Used("voice_minutes", "Voice", 60, euros("0.02"), quantity, late)]
    found = lines.overage(used, JUNE, JUNE, JULY, tax_code="none", unit_micros=CENT)
    assert [(line.quantity, line.late) for line in found] == shown


def test_a_change_makes_a_credit_and_a_charge_for_the_same_days():
    old, new = Priced("Office", euros("10")), Priced("Office 2000", euros("20"))
    found = lines.changed(old, new, JUNE, JULY, date(2026, 6, 16), tax_code="none", unit_micros=CENT)
    assert [(line.kind, line.name, line.amount_micros) for line in found] == [
        ("credit", "Office", euros("-5")),
        ("charge", "Office 2000", euros("10")),
    ]
    assert {(line.days, line.of_days, line.first_on, line.end_on) for line in found} == {
        (15, 30, date(2026, 6, 16), JULY)
    }


def test_a_price_finer_than_the_coins_is_rounded_as_a_line():
    assert lines.recurring(
        Priced("Office", 9_999_500), JUNE, JULY, tax_code="", unit_micros=CENT
    ).amount_micros == euros("10")
    assert lines.setup(Priced("Office", 0), 0, JUNE, tax_code="", unit_micros=CENT) == []
    assert lines.setup(Priced("Office", 0), euros("5"), JUNE, tax_code="", unit_micros=CENT)[0].amount_micros == euros(
        "5"
    )
    assert lines.one_off("Visit", 3, euros("-2.5"), tax_code="", unit_micros=CENT).amount_micros == euros("-7.5")


@pytest.mark.parametrize(("amount", "missing"), [("3", ["2"]), ("5", []), ("6", []), ("0", []), ("-1", [])])
def test_the_least_amount_is_filled_up_where_anything_is_charged(amount, missing):
    charged = [lines.one_off("Visit", 1, euros(amount), tax_code="a", unit_micros=CENT)]
    found = lines.up_to_minimum(charged, euros("5"), tax_code="a")
    assert [line.amount_micros for line in found] == [euros(each) for each in missing]


VAT = Rate("vat", "VAT", 190_000)


@pytest.mark.parametrize(
    ("amounts", "rate", "net", "tax"),
    [
        (["49", "0.03"], VAT, "49.03", "9.32"),
        (["49", "0.03"], Rate("gross", "VAT", 190_000, inclusive=True), "41.20", "7.83"),
        (["0.05"] * 3, Rate("ten", "Ten", 100_000), "0.15", "0.02"),
        (["49"], Rate("reverse", "Reverse charge", 0, category="AE", note="Owed by the recipient."), "49", "0"),
        (["-49"], VAT, "-49", "-9.31"),
    ],
)
def test_tax_is_rounded_once_a_rate(amounts, rate, net, tax):
    charged = [lines.one_off("x", 1, euros(amount), tax_code=rate.code, unit_micros=CENT) for amount in amounts]
    found = lines.total(charged, [rate], unit_micros=CENT)
    assert (found.net_micros, found.tax_micros) == (euros(net), euros(tax))
    assert found.total_micros == euros(net) + euros(tax)


def test_each_rate_is_taxed_by_itself():
    reduced = Rate("reduced", "Reduced", 70_000)
    charged = [
        lines.one_off("a", 1, euros("100"), tax_code="vat", unit_micros=CENT),
        lines.one_off("b", 1, euros("10"), tax_code="reduced", unit_micros=CENT),
    ]
    found = lines.total(charged, [VAT, reduced], unit_micros=CENT)
    assert [(tax.rate.code, tax.tax_micros) for tax in found.taxes] == [("reduced", euros("0.7")), ("vat", euros("19"))]
    assert found.total_micros == euros("129.7")
    with pytest.raises(KeyError):
        lines.total(charged, [VAT], unit_micros=CENT)


@given(st.lists(st.tuples(st.integers(-(10**8), 10**8), st.booleans()), max_size=20), st.integers(0, 10**6), units)
def test_the_total_is_the_sum_of_lines_and_tax(amounts, ppm, unit):
    rates = [Rate("on", "On top", ppm), Rate("in", "Within", ppm, inclusive=True)]
    charged = [
        lines.one_off("x", 1, coins * unit, tax_code="in" if within else "on", unit_micros=unit)
        for coins, within in amounts
    ]
    found = lines.total(charged, rates, unit_micros=unit)
    on_top = sum(tax.tax_micros for tax in found.taxes if not tax.rate.inclusive)
    assert found.total_micros == sum(line.amount_micros for line in charged) + on_top
    assert found.total_micros % unit == 0
    back = lines.total([lines.credited(line) for line in charged], rates, unit_micros=unit)
    assert back.total_micros == -found.total_micros
    parts = lines.nets(charged, found)
    assert sum(parts) == found.net_micros
    assert all(net == line.amount_micros for net, line in zip(parts, charged, strict=True) if line.tax_code == "on")


def test_the_net_of_a_line_leaves_out_the_tax_in_its_price():
    gross = Rate("gross", "VAT", 190_000, inclusive=True)
    charged = [lines.one_off("x", 1, euros("0.33"), tax_code="gross", unit_micros=CENT)] * 3
    found = lines.total(charged, [gross], unit_micros=CENT)
    assert (found.net_micros, lines.nets(charged, found)) == (euros("0.83"), [276_667, 276_666, 276_667])


def test_a_line_of_a_package_keeps_what_it_costs_the_provider():
    old, new = Priced("Office", euros("10"), euros("4"), 1), Priced("Office 2000", euros("20"), euros("9"), 2)
    found = lines.changed(old, new, JUNE, JULY, date(2026, 6, 16), tax_code="", unit_micros=CENT)
    assert [(line.package_id, line.cost_micros) for line in found] == [(1, euros("-2")), (2, euros("4.5"))]
    whole = lines.recurring(new, JUNE, JULY, tax_code="", unit_micros=CENT)
    assert (whole.package_id, whole.cost_micros) == (2, euros("9"))
    assert lines.credited(whole).cost_micros == euros("-9")

"""Periods, splits, steps and money: tables, and the properties behind them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from app.core import money, periods, quantities
from app.domain.metering.split import Parts, split

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati", "UTC"]
DAYS = st.dates(date(2012, 1, 1), date(2032, 12, 31))


@pytest.mark.parametrize(
    ("anchor", "interval", "day", "first", "end"),
    [
        (date(2026, 1, 31), "month", date(2026, 2, 27), date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 1, 31), "month", date(2026, 2, 28), date(2026, 2, 28), date(2026, 3, 31)),
        (date(2026, 1, 31), "month", date(2026, 4, 30), date(2026, 4, 30), date(2026, 5, 31)),
        (date(2012, 1, 30), "month", date(2012, 2, 29), date(2012, 2, 29), date(2012, 3, 30)),
        (date(2026, 11, 1), "month", date(2026, 10, 31), date(2026, 10, 1), date(2026, 11, 1)),
        (date(2024, 2, 29), "year", date(2025, 3, 1), date(2025, 2, 28), date(2026, 2, 28)),
        (date(2024, 2, 29), "year", date(2028, 2, 29), date(2028, 2, 29), date(2029, 2, 28)),
    ],
)
def test_an_anchor_day_means_the_last_day_of_a_shorter_month_and_never_drifts(anchor, interval, day, first, end):
    assert periods.period_days(anchor, interval, day) == (first, end)


@given(DAYS, DAYS, st.sampled_from(["month", "year"]), st.sampled_from(ZONES))
def test_periods_leave_no_gap_and_hold_their_day(anchor, day, interval, zone):
    period = periods.period_on(anchor, interval, ZoneInfo(zone), day)
    following = periods.period_on(anchor, interval, ZoneInfo(zone), period.end_on)
    assert period.first_on <= day < period.end_on
    assert (following.first_on, following.start) == (period.end_on, period.end)
    assert period.start in period
    assert period.end not in period


@given(st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), st.sampled_from(ZONES))
def test_a_moment_lies_in_its_period_in_every_time_zone(moment, zone):
    assert moment in periods.period_at(date(2026, 1, 31), "month", ZoneInfo(zone), moment)


def test_a_period_across_a_clock_change_is_an_hour_shorter():
    period = periods.period_on(date(2026, 3, 1), "month", ZoneInfo("Europe/Berlin"), date(2026, 3, 15))
    assert period.end - period.start == timedelta(days=31, hours=-1)


@pytest.mark.parametrize(
    ("included", "carried", "used", "quantity", "parts"),
    [
        (1000, 0, 950, 100, Parts(50, 0, 50)),
        (1000, 30, 0, 50, Parts(20, 30, 0)),
        (1000, 30, 20, 50, Parts(40, 10, 0)),
        (1000, 30, 1025, 10, Parts(5, 0, 5)),
        (None, 0, 9000, 100, Parts(100, 0, 0)),
        (0, 0, 0, 10, Parts(0, 0, 10)),
        (10, 0, 50, 0, Parts(0, 0, 0)),
    ],
)
def test_a_straddling_record_is_split(included, carried, used, quantity, parts):
    assert split(quantity, used, carried, included) == parts


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=20),
    st.integers(0, 300),
    st.one_of(st.none(), st.integers(0, 2000)),
)
def test_parts_sum_to_the_whole_and_never_exceed_what_is_included(quantities_, carried, included):
    used, total = 0, Parts(0, 0, 0)
    for quantity in quantities_:
        parts = split(quantity, used, carried, included)
        assert sum(parts) == quantity
        assert min(parts) >= 0
        used += quantity
        total = Parts(*(a + b for a, b in zip(total, parts, strict=True)))
    assert total.from_carried == min(used, carried)
    if included is not None:
        assert total.from_allowance == min(included, used - total.from_carried)


@pytest.mark.parametrize(
    ("measured", "first", "step", "billed"),
    [(0, 60, 60, 0), (1, 1, 1, 1), (1, 60, 60, 60), (61, 60, 60, 120), (31, 30, 6, 36), (36, 30, 6, 36)],
)
def test_billing_steps(measured, first, step, billed):
    assert quantities.billed_quantity(measured, first, step) == billed


def test_a_negative_quantity_is_refused():
    with pytest.raises(ValueError, match="never negative"):
        quantities.billed_quantity(-1)


@pytest.mark.parametrize(
    ("text", "micros"), [("49.00", 49_000_000), ("0.02", 20_000), ("0", 0), ("12", 12_000_000), ("0.000001", 1)]
)
def test_decimal_amounts_become_micros(text, micros):
    assert money.parse_micros(text) == micros


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.0000001", "1,5", "NaN", "1.2.3", ".", "9" * 30])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=r"amount|decimal"):
        money.parse_micros(text)


@given(st.integers(0, money.MAX_MICROS))
def test_an_amount_survives_its_text(micros):
    assert money.parse_micros(money.format_micros(micros)) == micros

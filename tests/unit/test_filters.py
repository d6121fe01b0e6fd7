"""What people read: money, quantities, times, phone numbers and the words of a meter."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import pytest

from app.web.kit import charts, formats, meter_text, phones

NOW = datetime(2026, 11, 22, 13, 5, tzinfo=UTC)
BERLIN = "Europe/Berlin"


@dataclass(frozen=True)
class Meter:
    kind: str = "metered"
    included: int | None = 60_000
    used: int = 33_360
    on_hold: int = 1_920
    remaining: int | None = 24_720
    at_limit: str = "charge"
    state: str = "near"
    carried_in: int = 0
    overage_price_micros: int | None = 20_000
    currency: str = "EUR"
    unit_one: str = "minute"
    unit_many: str = "minutes"
    factor: int = 60


@pytest.mark.parametrize(
    ("micros", "currency", "shown"),
    [
        (49_000_000, "EUR", "€49.00"),
        (20_000, "EUR", "€0.02"),
        (21_500, "EUR", "€0.0215"),
        (1, "EUR", "€0.000001"),
        (0, "EUR", "€0.00"),
        (-214_800_000, "EUR", "-€214.80"),
        (1_234_567_890_000, "GBP", "£1,234,567.89"),
        (500_000_000, "JPY", "JP¥500"),
        (2_000_000, "KWD", "KWD\N{NO-BREAK SPACE}2.000"),
        (None, "EUR", "–"),
    ],
)
def test_money_is_exact_and_follows_the_currency(micros, currency, shown):
    assert formats.money(micros, currency) == shown


@pytest.mark.parametrize(
    ("value", "factor", "shown"),
    [
        (60_000, 60, "1,000"),
        (24_679, 60, "411:19"),
        (90_521, 60, "1,508:41"),
        (-90, 60, "-1:30"),
        (0, 60, "0"),
        (5_400, 3_600, "1:30:00"),
        (131, 1, "131"),
        (1_536, 1_024, "1.5"),
        (4, 3, "1 1/3"),
        (None, 60, "–"),
    ],
)
def test_a_quantity_is_never_rounded(value, factor, shown):
    assert formats.quantity(value, factor) == shown


def test_shown_minutes_sum_to_the_shown_total():
    parts = [61, 119, 3_599, 7]
    shown = [formats.quantity(part, 60) for part in parts]
    seconds = sum(int(m) * 60 + int(s or 0) for m, _, s in (text.partition(":") for text in shown))
    assert formats.quantity(seconds, 60) == formats.quantity(sum(parts), 60)


@pytest.mark.parametrize(
    ("value", "shown"), [(60, "1 minute"), (120, "2 minutes"), (90, "1:30 minutes"), (0, "0 minutes")]
)
def test_one_is_singular(value, shown):
    assert formats.with_unit(value, Meter()) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (252, "4:12"), (3_599, "59:59"), (3_725, "1:02:05")])
def test_talk_time(seconds, shown):
    assert formats.duration(seconds) == shown


@pytest.mark.parametrize(("part", "whole", "shown"), [(275, 490, "56 %"), (1, 8, "13 %"), (1, 0, "–"), (0, 5, "0 %")])
def test_percent_is_rounded_half_up_and_nothing_of_nothing_is_a_dash(part, whole, shown):
    assert formats.percent(part, whole) == shown


def test_times_are_shown_in_the_zone():
    at = datetime(2026, 11, 30, 23, 30, 9, tzinfo=UTC)
    assert formats.localtime(at, BERLIN) == "1 Dec 2026, 00:30"
    assert formats.localtime(at, BERLIN, True) == "1 Dec 2026, 00:30:09"
    assert formats.localdate(at, BERLIN) == "1 Dec 2026"
    assert formats.localdate(date(2026, 11, 30)) == "30 Nov 2026"


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="naive"):
        formats.localtime(datetime(2026, 11, 30), BERLIN)


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 11, 22, 13, 2, tzinfo=UTC), "Today 14:02"),
        (datetime(2026, 11, 21, 23, 30, tzinfo=UTC), "Today 00:30"),
        (datetime(2026, 11, 21, 22, 30, tzinfo=UTC), "Yesterday 23:30"),
        (datetime(2026, 11, 3, 9, 0, tzinfo=UTC), "3 Nov 10:00"),
        (datetime(2025, 11, 3, 9, 0, tzinfo=UTC), "3 Nov 2025 10:00"),
    ],
)
def test_today_and_yesterday_are_those_of_the_zone(at, shown):
    assert formats.when(at, BERLIN, NOW) == shown


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 11, 30, 23, tzinfo=UTC), "in 9 days, on 1 December"),
        (datetime(2026, 11, 22, 23, tzinfo=UTC), "tomorrow, 23 November"),
        (datetime(2026, 11, 22, 20, tzinfo=UTC), "today, 22 November"),
        (date(2026, 11, 21), "1 day ago, on 21 November"),
    ],
)
def test_days_are_counted_on_the_calendar_of_the_zone(at, shown):
    assert formats.in_days(at, BERLIN, NOW) == shown


@pytest.mark.parametrize(
    ("text", "country", "shown"),
    [
        ("+442079460958", None, "+44 20 7946 0958"),
        ("+14155550134", None, "+1 415 555 0134"),
        ("030901820", "DE", "+49 30 901820"),
        ("030901820", None, "030901820"),
        ("101", "DE", "101"),
        ("101 Reception", "DE", "101 Reception"),
        ("anonymous", None, "anonymous"),
        ("+", None, "+"),
        ("+999", None, "+999"),
        ("", None, "–"),
        (None, None, "–"),
    ],
)
def test_phone_numbers_are_grouped_and_names_left_alone(text, country, shown):
    assert phones.phone(text, country) == shown


@pytest.mark.parametrize(
    ("meter", "sentence"),
    [
        (Meter(), "then €0.02 a minute"),
        (Meter(at_limit="block"), "stops at the limit"),
        (Meter(at_limit="notify"), "continues free of charge, both sides are told"),
        (Meter(kind="allocated", at_limit="block"), "no more can be added"),
        (Meter(kind="concurrent", at_limit="block"), "the next call is refused"),
        (Meter(kind="allocated", overage_price_micros=1_500_000), "then €1.50 each"),
        (Meter(included=None, remaining=None), "no limit"),
    ],
)
def test_a_limit_says_what_it_does(meter, sentence):
    assert meter_text.limit_sentence(meter) == sentence


@pytest.mark.parametrize(
    ("kind", "at_limit", "state", "tone", "word"),
    [
        ("metered", "block", "fine", "", "fine"),
        ("metered", "block", "near", "near", "nearly used up"),
        ("metered", "block", "at_limit", "over", "used up"),
        ("metered", "charge", "at_limit", "near", "all used"),
        ("metered", "charge", "over", "near", "beyond what is included"),
        ("metered", "notify", "over", "near", "beyond what is included"),
        ("allocated", "block", "at_limit", "near", "full"),
        ("allocated", "block", "over", "over", "over the limit"),
        ("concurrent", "block", "near", "near", "nearly full"),
    ],
)
def test_a_soft_limit_never_looks_like_a_hard_one(kind, at_limit, state, tone, word):
    meter = Meter(kind=kind, at_limit=at_limit, state=state)
    assert (meter_text.meter_tone(meter), meter_text.meter_word(meter)) == (tone, word)


@pytest.mark.parametrize(
    ("meter", "used", "hold"),
    [
        (Meter(), "55.6", "3.2"),
        (Meter(used=70_000, on_hold=60), "100.0", "0"),
        (Meter(used=59_999, on_hold=60), "99.9", "0"),
        (Meter(included=0, used=1), "100", "0"),
        (Meter(included=0, used=0), "0", "0"),
        (Meter(included=None, used=5), "100", "0"),
        (Meter(included=30_000, carried_in=30_000, used=30_000, on_hold=0), "50.0", "0"),
    ],
)
def test_a_bar_is_never_longer_than_itself(meter, used, hold):
    parts = meter_text.bar_parts(meter)
    assert (parts.used, parts.hold) == (used, hold)
    assert float(parts.used) + float(parts.hold) <= 100


def test_the_bar_has_words():
    assert meter_text.meter_words(Meter()) == "556 minutes used, 32 held by calls in progress, 412 left"
    calls = Meter(kind="concurrent", included=10, used=3, on_hold=0)
    assert meter_text.meter_words(calls) == "3 of 10 calls in progress"
    assert meter_text.meter_words(replace(calls, included=None)) == "3 calls in progress"


def test_the_highest_day_fills_the_chart_and_an_empty_one_is_still_seen():
    bars = charts.day_bars([(date(2026, 11, 1), 0), (date(2026, 11, 2), 500), (date(2026, 11, 3), 250)], 100)
    assert [(bar.y, bar.height) for bar in bars] == [(98.5, 1.5), (6.0, 94.0), (53.0, 47.0)]
    assert bars[-1].x + bars[-1].width <= 100
    assert charts.day_bars([]) == []


@dataclass(frozen=True)
class Money:
    retail_micros: int
    wholesale_micros: int


def test_a_margin_bar_stands_on_its_cost():
    bars = charts.margin_bars([Money(100, 40), Money(50, 80), Money(0, 0), Money(-10, -5)], 106)
    assert [(bar.cost_height, bar.rest_height, bar.is_loss) for bar in bars] == [
        (40, 60, False), (50, 30, True), (0, 0, False), (0, 0, False),
    ]  # fmt: skip
    assert all(bar.rest_y + bar.rest_height == bar.cost_y for bar in bars)
    assert [bar.cost_y + bar.cost_height for bar in bars] == [106] * 4
    assert charts.margin_bars([]) == []

"""When what is left runs out: whole numbers, whatever the sizes."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from app.core.forecast import DAY_SECONDS, Forecast, forecast

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
QUANTITY = st.integers(1, 10**12)
DAYS = st.integers(1, 7)
AHEAD = st.integers(1, 366 * DAY_SECONDS)


@pytest.mark.parametrize(
    ("remaining", "used", "days", "ahead", "runs_out"),
    [
        (300, 700, 7, 9, timedelta(days=3)),
        (300, 300, 3, 9, timedelta(days=3)),
        (50, 700, 7, 9, timedelta(hours=12)),
        (1, 700, 7, 9, timedelta(seconds=864)),
        (900, 700, 7, 9, None),  # to the second: nothing is missing
        (899, 700, 7, 9, timedelta(days=8, hours=23, minutes=45, seconds=36)),
        (300, 0, 7, 9, None),
        (300, -20, 7, 9, None),  # more was taken back than used
    ],
)
def test_the_pace_goes_on(remaining, used, days, ahead, runs_out):
    found = forecast(remaining, used, days, now=NOW, end=NOW + timedelta(days=ahead))
    assert found == Forecast(max(0, used), days, None if runs_out is None else NOW + runs_out)


@pytest.mark.parametrize(("remaining", "days"), [(0, 7), (300, 0)])
def test_nothing_left_or_no_day_gone_is_no_forecast(remaining, days):
    assert forecast(remaining, 10, days, now=NOW, end=NOW + timedelta(days=9)) is None


@given(remaining=QUANTITY, used=QUANTITY, days=DAYS, ahead=AHEAD)
def test_it_runs_out_exactly_when_the_rest_of_the_period_would_take_more(remaining, used, days, ahead):
    found = forecast(remaining, used, days, now=NOW, end=NOW + timedelta(seconds=ahead))
    taken = Fraction(used, days) * Fraction(ahead, DAY_SECONDS)
    assert (found.runs_out_at is not None) == (taken > remaining)
    if found.runs_out_at:
        assert NOW <= found.runs_out_at < NOW + timedelta(seconds=ahead)


@given(remaining=QUANTITY, more=QUANTITY, used=QUANTITY, days=DAYS, ahead=AHEAD)
def test_more_left_never_runs_out_sooner_and_more_use_never_later(remaining, more, used, days, ahead):
    end = NOW + timedelta(seconds=ahead)

    def out(left, spent):
        return forecast(left, spent, days, now=NOW, end=end).runs_out_at or end

    assert out(remaining, used) <= out(remaining + more, used)
    assert out(remaining, used + more) <= out(remaining, used)

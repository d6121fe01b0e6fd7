"""What lives on from one period into the next. The table is that of app/domain/metering/README.md."""

import pytest
from hypothesis import given, strategies as st

from app.domain.metering.rollover import PastPeriod, Rule, carried_in

ONE, TWO, NONE = Rule(1), Rule(2), Rule(0)


@pytest.mark.parametrize(
    ("past", "rule", "expected"),
    [
        ([], ONE, 0),
        ([PastPeriod(ONE, 1000, 700)], ONE, 300),
        ([PastPeriod(ONE, 1000, 700)], NONE, 0),
        ([PastPeriod(ONE, 1000, 1200)], ONE, 0),
        ([PastPeriod(ONE, None, 700)], ONE, 0),  # unlimited leaves nothing over
        ([PastPeriod(ONE, 1000, 700)], Rule(1, 200), 200),
        # 300 carried in burn first, so 1000 are left; the 300 would have lapsed anyway
        ([PastPeriod(ONE, 1000, 700), PastPeriod(ONE, 1000, 300)], ONE, 1000),
        ([PastPeriod(ONE, 1000, 700), PastPeriod(ONE, 1000, 100)], ONE, 1000),
        ([PastPeriod(TWO, 1000, 700), PastPeriod(TWO, 1000, 100)], TWO, 1200),  # 200 of the first, 1000 of the second
        ([PastPeriod(TWO, 1000, 700), PastPeriod(TWO, 1000, 1250)], TWO, 50),  # oldest burnt first
        ([PastPeriod(TWO, 100, 0), PastPeriod(TWO, 100, 0), PastPeriod(TWO, 100, 0)], TWO, 200),
        ([PastPeriod(TWO, 100, 0), PastPeriod(Rule(2, 50), 100, 0)], TWO, 150),  # 50 came in, the oldest of it was lost
    ],
)
def test_what_is_carried_in(past, rule, expected):
    assert carried_in(past, rule) == expected


periods = st.lists(
    st.builds(
        PastPeriod,
        st.builds(Rule, st.integers(0, 4), st.none() | st.integers(0, 500)),
        st.none() | st.integers(0, 500),
        st.integers(0, 1500),
    ),
    max_size=8,
)


@given(periods, st.integers(0, 4), st.none() | st.integers(0, 500))
def test_nothing_is_carried_that_was_not_left(past, lives, cap):
    carried = carried_in(past, Rule(lives, cap))
    assert 0 <= carried <= sum(period.included or 0 for period in past[-lives:] if lives)
    assert cap is None or carried <= cap


@given(periods, st.integers(1, 4))
def test_using_more_never_carries_more(past, lives):
    more = [period._replace(used=period.used + 10) for period in past]
    assert carried_in(more, Rule(lives)) <= carried_in(past, Rule(lives))

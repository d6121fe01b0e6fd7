"""Which package fits: tables, and what holds for any figures."""

from dataclasses import replace
from datetime import UTC, date, datetime
from types import MappingProxyType

from hypothesis import given, strategies as st

from app.core.forecast import Forecast
from app.domain.insight.signs import Beyond, Facts, Full, Limit, Refused, RunsOut, Share, Sold, outgrown, oversized

EURO, MINUTE = 1_000_000, 60
MAY, APRIL, MARCH, FEBRUARY = (date(2026, month, 1) for month in (5, 4, 3, 2))


def sold(number, price, minutes, at_limit="block", *, overage=0, cost=0, interval="month", extensions=None):
    limits = {"voice_minutes": Limit(None if minutes is None else minutes * MINUTE, at_limit, overage, MINUTE)}
    if extensions is not None:
        limits["extensions"] = Limit(extensions, "block", 0, 1)
    return Sold(
        number, f"p{number}", f"P{number}", price * EURO, cost * EURO, "EUR", interval, MappingProxyType(limits)
    )


SMALL = sold(1, 29, 500, cost=13, extensions=5)
MEDIUM = sold(2, 49, 1_000, "charge", overage=20_000, cost=21, extensions=10)
LARGE = sold(3, 69, 2_000, "charge", overage=15_000, cost=33, extensions=20)
ON_SALE = [LARGE, SMALL, MEDIUM]


def shares(own, *minutes):
    total = own.limits["voice_minutes"].included
    days = (MAY, APRIL, MARCH, FEBRUARY)
    return {"voice_minutes": [Share(on, used * MINUTE, total) for on, used in zip(days, minutes, strict=False)]}


def facts(own, *minutes, **more):
    last = {"last_on": APRIL, "last": {"voice_minutes": minutes[1] * MINUTE}} if len(minutes) > 1 else {}
    return Facts(own, **{"shares": shares(own, *minutes), "is_settled": len(minutes) > 3, **last, **more})


def kinds(advice):
    return [sign.kind for sign in advice.signs]


def test_over_80_percent_in_two_of_three_periods():
    advice = outgrown(facts(SMALL, 401, 100, 450), ON_SALE)
    assert advice.signs == [Full("voice_minutes", [Share(MAY, 24_060, 30_000), Share(MARCH, 27_000, 30_000)])]
    assert (advice.fit, advice.pays_micros, advice.margin_micros) == (MEDIUM, 20 * EURO, 12 * EURO)
    assert outgrown(facts(SMALL, 400, 400, 450), ON_SALE) is None
    assert outgrown(facts(SMALL, 450, 100, 100, 450), ON_SALE) is None  # the fourth is long ago


def test_the_larger_package_leaves_a_fifth_free():
    tight = sold(4, 35, 550)
    assert outgrown(facts(SMALL, 450, 450, 450), [*ON_SALE, tight]).fit is MEDIUM


def test_overage_above_the_price_gap():
    # 1,500 beyond at 0.02 are 30.00; 20.00 more include 1,000 of them, and the other 500 are 7.50.
    advice = outgrown(facts(MEDIUM, 100, 2_500, charged_micros=30 * EURO), ON_SALE)
    assert advice.signs == [Beyond(APRIL, 30 * EURO, 20 * EURO, 7_500_000)]
    assert (advice.fit, advice.spared_micros) == (LARGE, 22_500_000)
    assert (advice.pays_micros, advice.margin_micros) == (-2_500_000, 8 * EURO - 22_500_000)
    assert outgrown(facts(MEDIUM, 100, 2_000, charged_micros=20 * EURO), ON_SALE) is None  # the same: no gain


def test_what_the_units_beyond_cost_the_provider_is_in_its_margin():
    def at_cost(package):
        limits = {code: replace(limit, cost_micros=10_000) for code, limit in package.limits.items()}
        return replace(package, limits=limits)

    # As above, and each minute costs 0.01: 15.00 that time, 5.00 with the larger package.
    known = facts(at_cost(MEDIUM), 100, 2_500, charged_micros=30 * EURO, charged_cost_micros=15 * EURO)
    advice = outgrown(known, [at_cost(each) for each in ON_SALE])
    assert (advice.fit.name, advice.spared_micros, advice.cost_spared_micros) == ("P3", 22_500_000, 10 * EURO)
    assert (advice.pays_micros, advice.margin_micros) == (-2_500_000, 8 * EURO - 22_500_000 + 10 * EURO)


def test_refused_attempts_ask_for_what_would_have_been_enough():
    advice = outgrown(facts(SMALL, 10, 10, refused={"extensions": (3, 11)}), ON_SALE)
    assert advice.signs == [Refused("extensions", 3, 11)]
    assert advice.fit is LARGE
    assert outgrown(facts(SMALL, 10, refused={"extensions": (3, 5)}), ON_SALE) is None  # by now it would be granted
    assert outgrown(facts(SMALL, 10, refused={"extensions": (3, 21)}), ON_SALE).fit is None


def test_what_runs_out_asks_for_what_the_pace_comes_to():
    soon = Forecast(7_000, 7, datetime(2026, 5, 20, tzinfo=UTC))
    found = facts(SMALL, 390, forecasts={"voice_minutes": soon}, projected={"voice_minutes": 1_001 * MINUTE})
    advice = outgrown(found, ON_SALE)
    assert (advice.signs, advice.fit) == ([RunsOut("voice_minutes", soon)], LARGE)
    lasting = {"voice_minutes": Forecast(7_000, 7, None)}
    assert outgrown(facts(SMALL, 390, forecasts=lasting), ON_SALE) is None


def test_a_package_that_would_refuse_what_is_held_does_not_fit():
    few = sold(5, 45, 5_000, extensions=4)
    assert outgrown(facts(SMALL, 450, 450, held={"extensions": 5}), [few, LARGE]).fit is LARGE


def test_who_keeps_below_80_percent_of_a_cheaper_package_should_move_down():
    advice = oversized(facts(MEDIUM, 100, 400, 300, 200, held={"extensions": 5}), ON_SALE)
    assert (advice.fit, advice.pays_micros, advice.margin_micros) == (SMALL, -20 * EURO, -12 * EURO)
    assert [(sign.resource, sign.most, sign.included, sign.now) for sign in advice.signs] == [
        ("voice_minutes", 24_000, 30_000, 60_000),
        ("extensions", 5, 5, 10),
    ]
    assert oversized(facts(MEDIUM, 100, 401, 300, 200), ON_SALE) is None
    assert oversized(facts(MEDIUM, 100, 100, 300), ON_SALE) is None  # too young to tell
    assert oversized(facts(MEDIUM, 100, 100, 300, 200, held={"extensions": 6}), ON_SALE) is None
    assert oversized(facts(MEDIUM, 1, 1, 1, 1, refused={"extensions": (1, 11)}), ON_SALE) is None
    assert oversized(facts(SMALL, 1, 1, 1, 1), ON_SALE) is None


def test_only_packages_of_the_same_interval_and_currency_are_compared():
    yearly = sold(6, 1, None, interval="year")
    assert oversized(facts(MEDIUM, 1, 1, 1, 1), [yearly]) is None
    assert outgrown(facts(SMALL, 450, 450), [yearly]).fit is None


PRICES, AMOUNTS = st.integers(0, 200), st.one_of(st.none(), st.integers(0, 5_000))
PACKAGES = st.lists(
    st.builds(
        lambda number, price, minutes, at_limit, cost: sold(
            number, price, minutes, at_limit, overage=20_000, cost=cost, extensions=10
        ),
        st.integers(10, 30), PRICES, AMOUNTS, st.sampled_from(["block", "charge", "notify"]), PRICES,
    ),
    max_size=6,
)  # fmt: skip
USED = st.lists(st.integers(0, 5_000), min_size=4, max_size=4)


@given(offers=PACKAGES, used=USED, held=st.integers(0, 20), charged=st.integers(0, 100))
def test_what_is_advised_is_alike_on_sale_and_worth_it(offers, used, held, charged):
    found = facts(MEDIUM, *used, held={"extensions": held}, charged_micros=charged * EURO)
    up, down = outgrown(found, offers), oversized(found, offers)
    for advice in (up, down):
        if advice and advice.fit:
            assert advice.fit in offers and advice.fit.id != MEDIUM.id
            change = advice.fit.cost_micros - MEDIUM.cost_micros
            assert advice.margin_micros == advice.pays_micros - change  # what one pays more the other has more
    if up and up.fit:
        assert up.fit.price_micros >= MEDIUM.price_micros
        assert kinds(up) != ["full"] or up.fit.limits["voice_minutes"].holds(max(used) * MINUTE, 80)
    if down:
        assert down.fit.price_micros < MEDIUM.price_micros
        assert not down.fit.stops(found.most())


@given(offers=PACKAGES, used=USED)
def test_more_on_sale_is_never_dearer(offers, used):
    found = facts(MEDIUM, *used)
    some, more = oversized(found, offers), oversized(found, [*offers, SMALL])
    if some:
        assert more.fit.price_micros <= some.fit.price_micros

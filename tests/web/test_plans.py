"""Plans on the tenant's side: compared, quoted, chosen; asked for where they are not the tenant's to take."""

import re
from datetime import timedelta

import pytest

from app.db import unit_of_work
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted
from app.domain.tenants.models import Tenant
from tests.factories import PASSWORD

EURO = 1_000_000
TWO = [Wanted("101"), Wanted("102")]


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme")
    small = make.package("small", {"voice_minutes": 6_000, "extensions": 5}, price_micros=30 * EURO)
    make.package("large", {"voice_minutes": 12_000, "extensions": 3}, price_micros=60 * EURO)
    make.package("fitted", {"voice_minutes": 60_000}, price_micros=90 * EURO, tenants_may="ask")
    make.package("shown", {}, price_micros=95 * EURO, tenants_may="see")
    make.package("hidden", {}, public=False)
    make.subscribe(tenant, small, started_at=now.replace(day=1, hour=0))
    return tenant


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme, "uma@acme.example"))


@pytest.fixture
def staff(make, login):
    return login(make.staff())


def chosen(office, package="large", when="now"):
    page = office.get(f"/portal/plans?package={package}&when={when}").text
    quote = re.search(r'name="quote" value="([^"]+)"', page)[1]
    return page, {"package": package, "when": when, "quote": quote}


def on(session, tenant):
    session.rollback()
    session.expire_all()
    return subscriptions.require_live(session, tenant).package.code


def test_packages_stand_side_by_side_with_what_changes(office):
    page = office.get("/portal/plans").text
    assert "You are on Small" in page and "€60.00" in page
    assert "package=large" in page and "package=hidden" not in page
    assert "more than today:" in page and "less than today:" in page
    assert "Ask for it" in page


def test_a_quote_says_what_it_costs_and_choosing_does_it_once(office, acme, session):
    page, form = chosen(office)
    assert "-€9.00" in page and "€18.00" in page and "9 of 30 days" in page and "€69.00" in page
    assert office.submit("/portal/plans", form).status_code == 303
    assert office.submit("/portal/plans", form).status_code == 303
    assert on(session, acme) == "large"
    assert "You are on Large" in office.get("/portal/plans").text


def test_htmx_swaps_the_quote_alone(office):
    fragment = office.fragment("/portal/plans?package=large&when=period_end", "quote").text
    assert fragment.lstrip().startswith('<div id="quote">') and "<html" not in fragment
    assert "Change to Large on" in fragment


def test_a_stale_quote_shows_the_fresh_one_with_what_changed(office, acme, staff, session):
    _, form = chosen(office)
    edit = {
        "base": "1",
        "name": "Large",
        "public": "y",
        "price": "120",
        "limit-voice_minutes-included": "200",
        "act": "save",
    }
    assert staff.publish("/provider/packages/large/edit", edit).status_code == 303
    answer = office.submit("/portal/plans", form)
    assert answer.status_code == 409
    assert re.search(r"€18\.00 → <b>€36\.00</b>", answer.text)
    assert on(session, acme) == "small"
    fresh = {**form, "quote": re.search(r'name="quote" value="([^"]+)"', answer.text)[1]}
    assert office.submit("/portal/plans", fresh).status_code == 303
    assert on(session, acme) == "large"


def test_a_change_at_the_periods_end_is_seen_and_cancelled(office, acme, session, staff):
    _, form = chosen(office, when="period_end")
    office.submit("/portal/plans", form)
    assert on(session, acme) == "small"
    assert "Large begins on" in office.get("/portal/plans").text
    assert "Large begins on" in staff.get("/provider/tenants/acme").text
    assert office.submit("/portal/plans/cancel").status_code == 303
    assert "Large begins on" not in office.get("/portal/plans").text


@pytest.mark.parametrize("package", ["fitted", "shown"])
def test_what_is_not_the_tenants_to_take_cannot_be_taken(office, acme, session, package, staff):
    page = office.get(f"/portal/plans?package={package}").text
    assert 'name="quote"' not in page
    theirs = staff.get(f"/provider/tenants/acme/plan?package={package}").text
    quote = re.search(r'name="quote" value="([^"]+)"', theirs)[1]
    answer = office.submit("/portal/plans", {"package": package, "quote": quote})
    assert answer.status_code == 409 and "cannot be chosen here" in answer.text
    assert on(session, acme) == "small"


def test_a_hidden_package_does_not_exist(office):
    assert office.get("/portal/plans?package=hidden").status_code == 404
    assert office.get("/portal/plans?package=none").status_code == 404


def test_a_request_is_approved_by_doing_it(office, acme, staff, session):
    asking = {"package": "fitted", "when": "now", "words": "For the new office"}
    assert office.submit("/portal/plans/ask", asking).status_code == 303
    assert office.submit("/portal/plans/ask", asking).status_code == 409
    assert "1 tenant asks for another package" in staff.get("/provider").text
    assert "For the new office" in staff.get("/provider/requests").text
    page = staff.get("/provider/tenants/acme/plan?package=fitted&when=now").text
    quote = re.search(r'name="quote" value="([^"]+)"', page)[1]
    staff.submit("/provider/tenants/acme/plan", {"package": "fitted", "quote": quote, "answer": "Welcome"})
    assert on(session, acme) == "fitted"
    page = office.get("/portal/plans").text
    assert "was approved" in page and "Welcome" in page
    assert "Nobody asks for anything" in staff.get("/provider/requests").text


def test_a_request_is_declined_with_words_once(office, acme, staff, session):
    office.submit("/portal/plans/ask", {"package": "fitted"})
    path = re.search(r'action="(/provider/requests/acme/\d+/decline)"', staff.get("/provider/requests").text)[1]
    assert staff.submit(path, {"answer": "Not yet"}).status_code == 303
    assert "Not yet" in office.get("/portal/plans").text
    answer = staff.submit(path, {"answer": "Twice"}, follow_redirects=True)
    assert "decided meanwhile" in answer.text
    assert on(session, acme) == "small"


def test_a_request_can_be_withdrawn(office, staff):
    office.submit("/portal/plans/ask", {"package": "fitted"})
    office.submit("/portal/plans/withdraw")
    assert "You withdrew" in office.get("/portal/plans").text
    assert "Nobody asks for anything" in staff.get("/provider/requests").text


@pytest.mark.parametrize("package", ["large", "shown"])
def test_only_what_may_be_asked_for_is(office, package):
    answer = office.submit("/portal/plans/ask", {"package": package})
    assert answer.status_code == 409 and "cannot be asked for" in answer.text


@pytest.mark.parametrize("quote", ["", "0", "x", "9" * 40, "١"])
def test_no_quote_is_no_change(office, acme, session, quote):
    assert office.submit("/portal/plans", {"package": "large", "quote": quote}).status_code == 404
    assert on(session, acme) == "small"


def test_another_tenants_quote_is_not_found(office, make, login, acme, session):
    _, form = chosen(office)
    stranger = login(make.user(make.tenant("Globex")))
    assert stranger.submit("/portal/plans", form).status_code == 404
    assert on(session, acme) == "small"


def test_an_expired_quote_says_that_the_amounts_are_the_same(office, clock):
    _, form = chosen(office)
    clock.shift(timedelta(minutes=16))
    office.submit("/account/confirm", {"password": PASSWORD})
    answer = office.submit("/portal/plans", form)
    assert answer.status_code == 409 and "The amounts are the same" in answer.text


def test_what_is_left_of_a_plan_lives_on_as_both_sides_read(make, office, staff):
    rolling = [LimitSpec("voice_minutes", 6_000, rollover_periods=2, rollover_cap=3_000)]
    make.package("rolling", rolling, price_micros=40 * EURO)
    words = "what is left lives on for 2 periods, at most 50 minutes"
    assert words in office.get("/portal/plans").text
    assert words in staff.get("/provider/packages/rolling").text


@pytest.fixture
def long_on(make, acme, now):
    """Acme since two periods before the running one: 110 minutes in the last of them, 90 in the one before."""
    tenant, source = make.tenant("Globex"), make.source()
    make.subscribe(tenant, catalog_package(make), started_at=now.replace(month=now.month - 2, day=1, hour=0))
    make.usage(tenant, 5_400, source=source, occurred_at=now.replace(month=now.month - 2, day=5))
    make.usage(tenant, 6_600, source=source, occurred_at=now.replace(month=now.month - 1, day=5))
    return tenant


def catalog_package(make):
    return make.package("charged", [LimitSpec("voice_minutes", 6_000, "charge", EURO)], price_micros=40 * EURO)


def cells(page, first):
    """The text of the row that begins with `first`."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.S)
    text = [[" ".join(re.sub(r"<[^>]+>", " ", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
            for row in rows]  # fmt: skip
    return [row for row in text if row and row[0].startswith(first)]


def test_the_last_periods_are_reckoned_on_each_package(make, long_on, login):
    page = login(make.user(long_on)).get("/portal/plans").text
    names = cells(page, "What")[0]
    earlier, later = cells(page, "Would have cost")
    both = cells(page, "Your last 2 periods together")[0]
    own, large, small = (names.index(name) for name in ("Charged", "Large", "Small"))
    assert (earlier[own], later[own], both[own]) == ("€40.00", "€50.00 €10.00 for usage", "€90.00")
    assert (later[large], both[large]) == ("€60.00", "€120.00 €30.00 more")
    assert (later[small], both[small]) == ("€30.00 without 10 minutes", "€60.00 €30.00 less")


def test_the_cheapest_that_would_have_done_is_marked_on_both_sides(make, long_on, login, staff):
    page = login(make.user(long_on)).get("/portal/plans").text
    badges = [cell.endswith("cheapest for this usage") for cell in cells(page, "Price")[0]]
    assert [name for name, has in zip(cells(page, "What")[0], badges, strict=True) if has] == [
        "Charged"
    ]  # Small stops calls
    # The provider sees what it sells by offer alone, too.
    rows = cells(staff.get("/provider/tenants/globex/plan").text, "")
    assert [row[0].split()[0] for row in rows if any("cheapest" in cell for cell in row)] == ["Hidden"]


def test_a_package_without_room_for_what_is_held_is_not_the_cheapest(make, long_on, login, now):
    make.package("bare", {"extensions": 1}, price_micros=EURO)
    user = login(make.user(long_on))
    assert cells(user.get("/portal/plans").text, "Price")[0][1] == "€1.00 a month cheapest for this usage"
    with unit_of_work() as session:
        telephony.add(session, session.get_one(Tenant, long_on.id), "extensions", TWO, actor="t", now=now)
    assert cells(user.get("/portal/plans").text, "Price")[0][1] == "€1.00 a month"


def test_the_provider_sees_the_same_sums(staff, long_on):
    page = staff.get("/provider/tenants/globex/plan").text
    assert "€120.00" in page and "€30.00 more" in page and "without 10 minutes" in page


def test_without_a_period_that_is_over_nothing_is_reckoned(office):
    assert "Would have cost" not in office.get("/portal/plans").text


def test_reckoning_costs_the_same_however_many_packages_there_are(make, long_on, login, count_statements):
    user = login(make.user(long_on))
    with count_statements() as few:
        user.get("/portal/plans")
    for number in range(5):
        make.package(f"more-{number}", {"voice_minutes": 600})
    with count_statements() as many:
        user.get("/portal/plans")
    assert len(many) == len(few)

"""The tenant's home: right, its own alone, in the states a package can bring it to, and at the same price whatever was used."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest

from app.core.clock import utc_now
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts.roles import Role
from app.domain.billing import payments, service as billing
from app.domain.billing.payments import Receipt
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from tests.bench.fill import fill
from tests.factories import close_before


@pytest.fixture
def acme(make):
    return make.tenant("Acme", timezone="Europe/Berlin")


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme))


@pytest.fixture
def gold(make, acme, now):
    """Acme on a package of which voice is charged beyond the limit, with a source that reports."""
    limits = (
        LimitSpec("voice_minutes", 60_000, "charge", 20_000),
        LimitSpec("fax_pages", 10),
        LimitSpec("extensions", 5),
    )
    make.subscribe(acme, make.package("gold", limits, name="Gold"), started_at=now - timedelta(days=40))
    return make.source("pbx1")


def heading(answer):
    return re.search(r"<h1>(.*?)</h1>", answer.text)[1]


def test_home_says_what_is_left_first(office, make, acme, gold):
    make.usage(acme, 600, source=gold)
    page = office.get("/portal")
    assert page.status_code == 200
    assert re.search(r"<h1>990 minutes left</h1>", page.text)
    assert 'data-meter="voice_minutes" data-remaining="59400" data-used="600"' in page.text
    assert 'data-meter="fax_pages" data-remaining="10" data-used="0"' in page.text
    assert "stops at the limit" in page.text
    assert "resets in" in page.text


def test_the_polled_fragment_is_the_same_and_follows_each_record(office, make, acme, gold):
    assert 'data-used="0"' in office.get("/portal/meters").text
    for number in (1, 2, 3):
        make.usage(acme, 60, source=gold)
        fragment = office.get("/portal/meters").text
        assert (
            f'data-meter="voice_minutes" data-remaining="{60_000 - 60 * number}" data-used="{60 * number}"' in fragment
        )
    assert "<html" not in fragment


def test_a_fragment_drawn_before_an_edit_is_not_served_after_it(office, gold):
    assert 'data-remaining="60000"' in office.get("/portal/meters").text
    with unit_of_work() as session:
        spec = PackageSpec("Gold", limits=(LimitSpec("voice_minutes", 120_000),))
        catalog.publish(session, catalog.by_code(session, "gold"), spec, actor="t", now=utc_now())
    assert 'data-remaining="120000"' in office.get("/portal/meters").text


@pytest.mark.databases("sqlite")
def test_nobody_else_gets_in(client, make, login, gold):
    staff = login(make.staff())
    for path in ("/portal", "/portal/meters", "/portal/meters/stream", "/portal/usage", "/portal/usage.csv"):
        assert client.get(path).status_code == 303
        assert staff.get(path).status_code == 404


def test_another_tenant_sees_nothing_of_it(make, login, acme, gold):
    make.usage(acme, 600, source=gold, caller="+4930555000111", callee="+442079460958")
    globex = make.tenant("Globex")
    other = login(make.user(globex))
    for path in ("/portal", "/portal/meters", "/portal/usage", "/portal/usage.csv"):
        text = other.get(path).text
        assert "Acme" not in text
        assert "555" not in text


@pytest.mark.databases("sqlite")
def test_a_tenant_without_a_package_reads_why_there_is_nothing(make, login):
    page = login(make.user(make.tenant("Bare"))).get("/portal")
    assert "has not put you on a package" in page.text


def test_without_a_limit_home_says_so(office, make, acme):
    make.subscribe(acme, make.package("open", name="Open"))
    make.usage(acme, 60, source=make.source())
    page = office.get("/portal")
    assert heading(page) == "No limit on minutes"
    assert "1 used" in page.text


def test_the_first_limited_resource_stands_in_the_heading(office, make, acme, now):
    limits = (LimitSpec("fax_pages", 100),)
    make.subscribe(acme, make.package("fax", limits), started_at=now - timedelta(days=3))
    make.usage(acme, 60, source=make.source())
    assert heading(office.get("/portal")) == "100 pages left"


def test_a_suspended_tenant_reads_it_above_its_meters(office, make, acme):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 600}))
    assert "suspended" not in office.get("/portal").text
    with unit_of_work() as session:
        tenants.set_suspended(session, tenants.by_slug(session, "acme"), True, actor="t", now=utc_now())
    page = office.get("/portal").text
    assert 0 < page.index("Your service is suspended.") < page.index('data-meter="voice_minutes"')


def test_what_is_used_leads_to_the_records_it_sums(office, make, acme, now):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000}), started_at=now - timedelta(days=40))
    source = make.source()
    make.usage(acme, 65, source=source)
    make.usage(acme, 600, source=source, occurred_at=now - timedelta(days=35))
    with unit_of_work() as session:
        close_before(session, acme.id, (now - timedelta(days=9)).date())
    make.usage(acme, 30, source=source, occurred_at=now - timedelta(days=34))  # late: it counts in the running period
    link = re.search(r'href="([^"]+)">1:35 used<', office.get("/portal").text)
    found = office.get(unescape(link[1])).text
    assert "13 November to 12 December 2026" in found
    assert "<b>1:35</b>" in found  # the meter itself; the two records are listed below it
    assert found.count('class="r talk"') == 2


def test_calls_in_progress_stand_on_the_bar_and_in_words(office, make, acme, now):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000, "concurrent_calls": 10}))
    source = make.source()
    for number in range(3):
        make.call(acme, source=source, seconds=3_030, call_id=f"c{number}")
    page = office.get("/portal").text
    assert heading(office.get("/portal")) == "848:30 minutes left"
    assert "151:30 held by calls in progress" in page and 'fill="url(#hatch)"' in page
    assert 'aria-label="0 minutes used, 151:30 held by calls in progress, 848:30 left"' in page
    assert '<b>3</b> <span class="muted">of 10 calls in progress</span>' in page


def test_the_next_invoice_stands_between_for_those_who_may_read_it(login, office, make, acme, now):
    gold = make.package("gold", (LimitSpec("voice_minutes", 60, "charge", 500_000),), price_micros=10_000_000)
    with unit_of_work() as session:
        tenant, package = session.get_one(Tenant, acme.id), session.get_one(Package, gold.id)
        subscriptions.subscribe(session, tenant, package, started_at=now, trial_days=14, actor="t", now=now)
    member = login(make.user(acme, role=Role.MEMBER))
    assert "Next invoice" not in member.get("/portal").text
    page = office.get("/portal").text
    assert "€10.00 <small>on 6 December, with usage so far</small>" in page
    assert page.index("1 minute left") < page.index("Next invoice") < page.index("Last 30 days")


def test_what_is_overdue_stands_first_until_it_is_paid(login, office, make, acme, now):
    make.subscribe(acme, make.package("gold", price_micros=10_000_000), started_at=now - timedelta(days=30))

    def issue(session):
        found, terms = subscriptions.live(session, acme.id), Terms(Issuer("Northline"))
        first = subscriptions.period_on_day(found, found.anchor_on)
        invoice = billing.draft(session, found, first, terms, now=now, reason="start")
        billing.finalise(session, invoice, terms, actor="t", now=now - timedelta(days=20))

    def pay(micros, key):
        receipt = Receipt(key, micros, "EUR", "bank", "", now.date())
        return lambda session: payments.receive(session, session.get_one(Tenant, acme.id), receipt, actor="t", now=now)

    run_in_transaction(issue)
    assert "€10.00 is overdue." in office.get("/portal").text
    assert "overdue" not in login(make.user(acme, role=Role.MEMBER)).get("/portal").text
    run_in_transaction(pay(4_000_000, "part"))
    assert "€6.00 is overdue." in office.get("/portal").text
    run_in_transaction(pay(6_000_000, "rest"))
    assert "overdue" not in office.get("/portal").text


def test_the_latest_five_records_stand_below_with_a_way_to_all(office, make, acme, now):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000}), started_at=now - timedelta(days=3))
    source = make.source()
    for number in range(7):
        make.usage(acme, 60, source=source, callee=f"#{number}", occurred_at=now - timedelta(minutes=number))
    page = office.get("/portal").text
    assert re.findall(r">#(\d)<", page) == ["0", "1", "2", "3", "4"]
    assert 'href="/portal/usage">All usage<' in page
    assert "7 minutes in 30 days" in page


def test_many_records_cost_what_a_few_do(office, make, acme, now, count_statements):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 600_000}), started_at=now - timedelta(days=3))
    make.source()
    seen = []
    for records in (100, 5_000):
        with db.engine.connect() as connection:
            fill(connection, records)
        with count_statements() as statements:
            assert office.get("/portal").status_code == 200
        seen.append(statements.texts)
    assert seen[0] == seen[1] and 3 < len(seen[1]) <= 19  # drawn anew, both times
    summed = [text for text in seen[1] if "sum(usage_record" in text]
    assert all("usage_record.late" in text for text in summed)  # what came late alone, which has its index


def test_home_shows_what_changed_since_it_was_drawn_last(office, make, acme, login):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000}))
    assert heading(office.get("/portal")) == "1,000 minutes left"
    make.usage(acme, 600, source=make.source(), callee="#new")
    page = office.get("/portal")
    assert heading(page) == "990 minutes left" and ">#new<" in page.text
    with unit_of_work() as session:
        tenant = tenants.by_slug(session, "acme")
        tenants.update(session, tenant, replace(tenants.profile_of(tenant), name="Ajax"), actor="t", now=utc_now())
    assert ">Ajax<" in office.get("/portal").text


def test_two_users_of_a_tenant_are_served_the_same_drawing_and_their_own_token(make, acme, login):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000}))
    pages = [login(make.user(acme)).get("/portal").text for _ in range(2)]
    tokens = [re.search(r'"X-CSRFToken": "([^"]+)"', page)[1] for page in pages]
    assert tokens[0] != tokens[1]
    assert pages[0].replace(tokens[0], "") == pages[1].replace(tokens[1], "")


def test_a_meter_says_when_it_runs_out_and_at_which_pace(office, make, acme, login, now):
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60_000}), started_at=now - timedelta(days=10))
    source = make.source()
    make.usage(acme, 4_200, source=source, occurred_at=now - timedelta(days=3))
    assert "Lasts until the reset at the pace of the last 7 days, 10 minutes a day." in office.get("/portal").text
    make.usage(acme, 42_000, source=source, occurred_at=now - timedelta(days=2))
    for page in (office.get("/portal").text, login(make.staff()).get("/provider/tenants/acme").text):
        assert '<span class="state near">runs out on 25 Nov</span>' in page
        assert "Foreseen at the pace of the last 7 days, 110 minutes a day." in page

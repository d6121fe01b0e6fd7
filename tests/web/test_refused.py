"""What was refused, as both sides read it."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest

from app.core.errors import Conflict
from app.db import run_in_transaction, unit_of_work
from app.domain.catalog.specs import LimitSpec
from app.domain.metering import refusals
from app.domain.metering.models import Refusal
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

LIMITS = (LimitSpec("voice_minutes", 6_000), LimitSpec("concurrent_calls", 2), LimitSpec("extensions", 1))


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin", country="DE")
    make.subscribe(tenant, make.package("gold", LIMITS, price_micros=10), started_at=now - timedelta(days=3))
    return tenant


@pytest.fixture
def source(make):
    return make.source("pbx1", name="Main PBX")


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme))


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def add(acme, now):
    """`add(names…)`: extensions that the limit refuses."""

    def refused(*names):
        wanted = [Wanted(name) for name in names]

        def act(session):
            return telephony.add(session, session.get_one(Tenant, acme.id), "extensions", wanted, actor="t", now=now)

        with pytest.raises(Conflict), telephony.refusals_kept(acme.id, wanted, now=now):
            run_in_transaction(act)

    return refused


def rows(answer):
    """The cells of each row as text."""
    body = re.search(r"<tbody>(.*?)</tbody>", answer.text, re.S)
    found = re.findall(r"<tr>(.*?)</tr>", body[1], re.S) if body else []
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)
        ]
        for row in found
    ]


def test_a_refused_call_says_what_it_met_and_which_package_would_have_allowed_it(office, make, acme, source):
    make.package("large", {"voice_minutes": 6_001}, name="Large", price_micros=30_000_000)
    make.package("small", {"voice_minutes": 6_000}, price_micros=20)
    make.usage(acme, 4_200, source=source)
    assert make.call(acme, source=source, seconds=3_000).seconds == 1_800
    refused = make.call(acme, source=source, caller="101", callee="+442079460958", direction="outbound")
    assert refused.reason == "quota_exhausted"
    expected = [
        "Today 22:00",
        "101 → to +44 20 7946 0958 call, outbound",
        "No minutes left",
        "70 of 100 minutes 30 held by calls in progress",
        "Large €30.00 a month",
    ]
    assert rows(office.get("/portal/refused")) == [expected]


def test_each_reason_has_words_and_is_a_filter(office, make, acme, source, add, session):
    for number in range(3):
        make.call(acme, source=source, call_id=f"c{number}")
    add("101", "102", "103")
    with unit_of_work() as act:
        tenants.set_suspended(act, act.get_one(Tenant, acme.id), True, actor="t", now=make.now)
    make.call(acme, source=source, at=make.now + timedelta(seconds=1))
    with unit_of_work() as act:
        tenant = act.get_one(Tenant, acme.id)
        tenants.set_suspended(act, tenant, False, actor="t", now=make.now)
        tenants.update(
            act, tenant, replace(tenants.profile_of(tenant), blocked_prefixes="1900"), actor="t", now=make.now
        )
    make.call(acme, source=source, at=make.now + timedelta(seconds=2), callee="+1900555")
    blocked, *shown = rows(office.get("/portal/refused"))
    assert blocked[2:] == ["Calls to this destination are blocked", "–", "–"]
    assert [row[2] for row in shown] == [
        "The service was suspended",
        "No room for 3 more",
        "All calls at once were taken",
    ]
    assert shown[0][3:] == ["–", "–"]
    assert shown[1][1:4] == ["101, 102, 103 Extensions", "No room for 3 more", "0 of 1 extension"]
    assert shown[2][3] == "2 of 2 calls"
    for reason, words in (
        ("tenant_suspended", "suspended"),
        ("limit_reached", "No room"),
        ("destination_blocked", "destination"),
        ("concurrency_reached", "once"),
    ):
        (row,) = rows(office.get(f"/portal/refused?reason={reason}"))
        assert words in row[2]
    assert "Nothing fits" in office.get("/portal/refused?reason=no_subscription").text
    assert "Nothing fits" in office.get("/portal/refused?reason=%00nonsense'").text


def test_a_tenant_without_a_package_is_refused_with_words(make, login, source):
    tenant = make.tenant("Bare")
    make.call(tenant, source=source)
    assert rows(login(make.user(tenant)).get("/portal/refused"))[0][2:] == ["There was no package", "–", "–"]


def test_what_was_carried_in_is_part_of_what_there_was(office, make, acme, source, session):
    with unit_of_work() as act:
        act.add(
            Refusal(
                tenant_id=acme.id, id=1, refused_at=make.now, reason="quota_exhausted", resource_code="voice_minutes",
                included=6_000, carried_in=600, used=6_600, wanted=60, source_id=source.id, call_id="c1",
            )
        )  # fmt: skip
    (row,) = refusals.find(session, refusals.RefusalQuery(tenant_id=acme.id)).rows
    assert row.enough == 6_060  # what is carried stays with the tenant
    (shown,) = rows(office.get("/portal/refused"))
    assert shown[3] == "110 of 110 minutes 10 carried in"


def test_a_package_that_allows_it_by_now_is_named_as_such(office, make, acme, add):
    add("101", "102")
    make.subscribe(acme, make.package("silver", {"extensions": 2}, name="Silver", public=False))
    assert rows(office.get("/portal/refused"))[0][4] == "Silver as it is now"


def test_home_counts_what_the_running_period_refused(office, staff, make, acme, source, clock, now):
    assert "refused in this period" not in office.get("/portal").text
    make.call(acme, source=source, at=now - timedelta(days=4), call_id="before")
    with unit_of_work() as session:
        session.add(Refusal(tenant_id=acme.id, id=1, refused_at=now - timedelta(days=5), reason="no_subscription"))
    for number in range(4):
        make.call(acme, source=source, call_id=f"c{number}")
    page = office.get("/portal").text
    number = int(re.search(r"(\d+) attempts? (?:was|were) refused in this period", page)[1])
    link = re.search(r'href="([^"]+)">See why', page)[1]
    assert len(rows(office.get(unescape(link)))) == number
    assert number < len(rows(office.get("/portal/refused")))
    assert f"{number} attempt" in staff.get("/provider/tenants/acme").text
    assert len(rows(staff.get("/provider/tenants/acme/refused?when=period"))) == number


def test_the_provider_sees_all_tenants_and_who_is_refused_most(staff, make, acme, source, now):
    globex = make.tenant("Globex", domain="globex.example")
    for number in range(3):
        make.call(globex, source=source, call_id=f"g{number}")
    make.call(globex, source=source, at=now - timedelta(hours=25))
    for number in range(3):
        make.call(acme, source=source, call_id=f"a{number}")
    home = staff.get("/provider").text
    assert re.search(r"Refused in 24 hours</dt><dd><b><a href=\"/provider/refused\?when=day\">4<", home)
    assert re.findall(r'href="/provider/tenants/(\w+)/refused\?when=day">\w+</a>: (\d) attempts?', home) == [
        ("globex", "3"),
        ("acme", "1"),
    ]
    assert len(rows(staff.get("/provider/refused"))) == 5
    assert len(rows(staff.get("/provider/refused?when=day"))) == 4
    assert [row[1] for row in rows(staff.get("/provider/refused?text=globex.ex"))] == ["Globex"] * 4
    assert rows(staff.get("/provider/tenants/acme/refused"))[0][0].endswith("Main PBX")
    assert "Nothing fits" in staff.get("/provider/refused?text=%25").text


def test_the_provider_is_led_to_the_package(staff, make, acme, add):
    make.package("large", {"extensions": 5}, name="Large")
    add("101", "102")
    assert 'href="/provider/tenants/acme/plan?package=large">Large</a>' in staff.get("/provider/refused").text


def test_the_tenant_is_led_to_the_plan(office, make, acme, add):
    make.package("large", {"extensions": 5}, name="Large", price_micros=30_000_000)
    add("101", "102")
    page = office.get("/portal/refused").text
    assert '<a href="/portal/plans?package=large">Large</a>' in page
    assert "Change to Large now" in office.get("/portal/plans?package=large").text


def test_a_tenant_sees_its_own_alone_and_outsiders_nothing(office, staff, make, login, client, source):
    make.call(make.tenant("Globex"), source=source, caller="secret")
    assert "secret" not in office.get("/portal/refused").text
    assert "secret" not in office.get("/portal/refused?text=globex").text
    assert staff.get("/portal/refused").status_code == 404
    assert staff.get("/provider/tenants/nobody/refused").status_code == 404
    for path in ("/provider/refused", "/provider/tenants/globex/refused", "/provider/calls"):
        assert office.get(path).status_code == 404
        assert client.get(path).status_code == 303


def test_a_long_list_is_paged_both_ways_as_a_fragment_and_costs_the_same(office, staff, make, acme, source, add, count_statements):  # fmt: skip
    make.package("large", {"extensions": 5, "concurrent_calls": 5})
    make.call(acme, source=source, call_id="first")
    make.call(acme, source=source, call_id="second")
    costs = {}
    for wanted in (3, refusals.PAGE_SIZE + 1):
        for number in range(wanted):
            make.call(acme, source=source, call_id=f"{wanted}-{number}", caller=f"#{wanted}-{number}")
        add("101", "102")
        for client, path in ((office, "/portal/refused"), (staff, "/provider/refused")):
            with count_statements() as seen:
                page = client.fragment(path, "section#refused_rows")
            costs.setdefault(path, []).append(seen.texts)
    assert all(few == many for few, many in costs.values())
    assert page.text.lstrip().startswith('<section class="card" id="refused_rows"')
    assert len(rows(page)) == refusals.PAGE_SIZE
    older = unescape(re.search(r'href="([^"]+)" rel="next"', page.text)[1])
    second = staff.get(older)
    assert len(rows(second)) == 6 and 'rel="next"' not in second.text
    newer = unescape(re.search(r'href="([^"]+)" rel="prev"', second.text)[1])
    assert rows(staff.get(newer)) == rows(page)
    assert rows(staff.get("/provider/refused?after=nonsense")) == rows(page)

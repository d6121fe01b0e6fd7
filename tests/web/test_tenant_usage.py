"""The usage page's filters: swapped, refused, exported, and safe against odd addresses."""

import re
from datetime import timedelta
from html import unescape

import pytest

from app.db import unit_of_work
from app.domain.catalog.models import Resource
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import service as subscriptions


@pytest.fixture
def source(make):
    return make.source("pbx1")


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    package = make.package("gold", (LimitSpec("voice_minutes", 60, "charge", 20_000),))
    make.subscribe(tenant, package, started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme))


def export_link(answer):
    return unescape(re.search(r'href="([^"]*usage\.csv[^"]*)"', answer.text)[1])


def test_a_filter_swaps_the_rows_and_the_export_that_belongs_to_them(office, make, acme, source):
    make.usage(acme, 30, source=source, callee="#1")
    make.usage(acme, 2, "fax_pages", source=source, callee="#2")
    page = office.get("/portal/usage").text
    form = re.search(r'<form[^>]*id="filters"[^>]*>', page)[0]
    assert 'hx-target="#usage_rows"' in form
    fragment = office.fragment("/portal/usage?resource=fax_pages&number=", "div#usage_rows")
    assert "<form" not in fragment.text
    assert fragment.text.count('id="usage_rows"') == 1
    assert re.findall(r">#(\d)<", fragment.text) == ["2"]
    assert export_link(fragment) == "/portal/usage.csv?resource=fax_pages"


@pytest.mark.parametrize("path", ["/portal/usage", "/portal/usage.csv"])
@pytest.mark.databases("sqlite")
def test_an_unreadable_day_shows_and_exports_nothing(office, make, acme, source, path):
    make.usage(acme, 30, source=source, callee="#1")
    answer = office.get(f"{path}?from=yesterday&number=1")
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert 'value="yesterday"' in answer.text
    assert ">#1<" not in answer.text


@pytest.mark.databases("sqlite")
def test_a_fragment_brings_the_refusal_along(office):
    fragment = office.fragment("/portal/usage?from=2026-11-20&to=2026-11-01", "div#usage_rows")
    assert fragment.status_code == 422
    assert "The last day lies before the first." in fragment.text


def test_a_number_is_found_as_the_page_writes_it(office, make, acme, source):
    make.usage(acme, 30, source=source, callee="+442079460958")
    written = re.search(r">(\+44 [\d ]+)<", office.get("/portal/usage").text)[1]
    found = office.get("/portal/usage", query_string={"number": written})
    assert found.text.count(f">{written}<") == 1
    assert "Nothing fits" in office.get("/portal/usage", query_string={"number": "+44 30"}).text


@pytest.mark.parametrize("odd", ["endpoint=x", "_method=POST", "_scheme=javascript&_external=1", "_anchor=x"])
@pytest.mark.databases("sqlite")
def test_odd_arguments_do_not_reach_the_links(office, make, acme, source, now, odd):
    for number in range(51):
        make.usage(acme, 1, source=source, external_id=str(number), occurred_at=now)
    answer = office.get(f"/portal/usage?{odd}")
    assert answer.status_code == 200
    assert export_link(answer) == "/portal/usage.csv"
    older = re.search(r'href="([^"]*after=[^"]*)"', answer.text)[1]
    assert older.startswith("/portal/usage?after=")


@pytest.mark.databases("sqlite")
def test_what_was_covered_in_part_and_what_not_at_all_read_apart(office, make, acme, source, now):
    make.usage(acme, 90, source=source, occurred_at=now - timedelta(minutes=5))
    make.usage(acme, 200, source=source, occurred_at=now)
    text = " ".join(office.get("/portal/usage").text.split())
    assert "3:20 beyond, at €0.02 a minute" in text
    assert "1 from your allowance, 0:30 at €0.02 a minute" in text


@pytest.mark.databases("sqlite")
def test_the_chart_says_its_days_and_that_it_counts_every_direction(office, make, acme, source):
    make.usage(acme, 30, source=source, direction="outbound")
    assert "24 Oct 2026 – 22 Nov 2026<" in office.get("/portal/usage").text
    assert "all directions and numbers" in office.get("/portal/usage?direction=outbound").text
    assert "1 Nov 2026 – 22 Nov 2026<" in office.get("/portal/usage?from=2026-11-01").text


@pytest.mark.databases("sqlite")
def test_a_late_record_says_so(office, make, acme, source, now):
    with unit_of_work() as session:
        running = subscriptions.period_of(subscriptions.require_live(session, acme), now)
        subscriptions.close_before(session, acme.id, running.first_on)
    make.usage(acme, 30, source=source, occurred_at=now - timedelta(days=35))
    assert '<span class="state plain">late</span>' in office.get("/portal/usage").text


@pytest.mark.parametrize("bad", ["resource=extensions", "resource=nothing", "direction=sideways", "period=soon"])
@pytest.mark.parametrize("path", ["/portal/usage", "/portal/usage.csv"])
@pytest.mark.databases("sqlite")
def test_a_choice_that_is_not_on_the_list_is_refused(office, make, acme, source, path, bad):
    make.usage(acme, 30, source=source, callee="#1")
    answer = office.get(f"{path}?{bad}")
    assert answer.status_code == 422
    assert ">#1<" not in answer.text


@pytest.mark.parametrize(
    ("number", "found"), [("+49 30 901820", 3), ("+4930901820", 3), ("9018", 3), ("030901820", 1), ("+49", 1)]
)
def test_a_number_is_found_however_the_pbx_wrote_it(office, make, acme, source, number, found):
    for callee in ("+4930901820", "0114430901820", "030901820", "+442079460958"):
        make.usage(acme, 30, source=source, callee=callee)
    lines = office.get("/portal/usage.csv", query_string={"number": number}).text.splitlines()
    assert len(lines) - 1 == found


@pytest.mark.parametrize(
    ("arguments", "totals"),
    [
        ("", [("62", "4"), ("3", "1")]),
        ("resource=fax_pages", [("3", "1")]),
        ("from=2026-11-21", [("2", "3"), ("3", "1")]),
        ("to=2026-11-20", [("60", "1")]),
        ("direction=outbound", []),
        ("direction=outbound&to=2026-11-21", []),
        ("number=49", []),
    ],
)
def test_totals_are_exact_and_there_is_none_where_records_would_have_to_be_summed(
    office, make, acme, source, now, arguments, totals
):
    for number, seconds in enumerate((61, 59, 3_600)):
        make.usage(acme, seconds, source=source, direction="outbound", occurred_at=now - timedelta(days=number))
    make.usage(acme, 600, source=source, direction="inbound", metered=False)
    make.usage(acme, 3, "fax_pages", source=source)
    text = " ".join(office.get(f"/portal/usage?{arguments}").text.split())
    assert re.findall(r"<b>([\d:,]+)</b> <span class=\"muted\">in ([\d,]+) record", text) == totals


def test_every_page_shows_the_total_of_all(office, make, acme, source, now):
    for number in range(51):
        make.usage(acme, 1, source=source, external_id=str(number), occurred_at=now)
    page = office.get("/portal/usage").text
    older = unescape(re.search(r'href="([^"]*after=[^"]*)"', page)[1])
    for text in (page, office.get(older).text):
        assert "<b>0:51</b>" in text and "in 51 records" in text


@pytest.mark.databases("sqlite")
def test_what_a_billing_step_adds_is_said(office, make, acme, source):
    with unit_of_work() as unit:
        unit.get_one(Resource, "voice_minutes").first_step = 30
    make.usage(acme, 10, source=source)
    text = " ".join(office.get("/portal/usage").text.split())
    assert "0:10" in text and "0:30 from your allowance" in text


def test_a_search_through_many_records_says_how_far_it_went_and_goes_on(office, make, acme, login, source, now, monkeypatch):  # fmt: skip
    monkeypatch.setattr("app.web.tenant.usage.MOST_READ", 2)
    monkeypatch.setattr("app.web.provider.tenant_usage.MOST_READ", 1)
    for days, direction in ((0, "outbound"), (0, "outbound"), (1, "outbound"), (2, "inbound")):
        at = now - timedelta(days=days)
        make.usage(acme, 60, source=source, occurred_at=at, direction=direction, caller=f"+4930{days}")
    page = office.get("/portal/usage?direction=inbound").text
    assert "Nothing found so far" in page and "Searched back to 22 Nov 2026." in page
    found = office.get(unescape(re.search(r'href="([^"]+)" rel="next"[^>]*>Search further back', page)[1])).text
    assert "inbound" in found and "Searched back" not in found and 'rel="next"' not in found
    newest = office.get("/portal/usage?direction=outbound").text
    assert "Searched back" in newest and newest.count("<tr>") > 1
    staff = login(make.staff())
    counted = staff.get("/provider/tenants/acme/usage?period=2026-11-20").text
    assert "Searched back to 22 Nov 2026." in counted

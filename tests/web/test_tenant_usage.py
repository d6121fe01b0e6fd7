"""The usage page: what it lists, its totals, pages and export; its filters: swapped, refused, safe against odd addresses."""

import csv
import io
import re
from datetime import timedelta
from html import unescape

import pytest

from app.core.usage import UsageEvent
from app.db import run_in_transaction, unit_of_work
from app.domain.catalog.models import Resource
from app.domain.catalog.specs import LimitSpec
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from tests.factories import close_before


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


@pytest.fixture
def many(acme, source, now):
    """`many(number)`: so many calls of a second each at one moment, to #000, #001 …"""
    source_id = source.id

    def report(number):
        events = [
            UsageEvent(f"m{each:03}", "acme", "voice_minutes", 1, now, callee=f"#{each:03}") for each in range(number)
        ]
        run_in_transaction(lambda act: ingest(act, source_id, [Report(event, "") for event in events], now=now))

    return report


def rel(page, which):
    """The address of the page before or after."""
    link = re.search(rf'href="([^"]*)" rel="{which}"', page.text)
    return link and unescape(link[1])


def export_link(answer):
    return unescape(re.search(r'href="([^"]*usage\.csv[^"]*)"', answer.text)[1])


def test_a_filter_swaps_the_rows_and_the_export_that_belongs_to_them(office, make, acme, source):
    make.usage(acme, 65, source=source, direction="outbound", callee="+442079460958")
    make.usage(acme, 2, "fax_pages", source=source, callee="#2")
    page = office.get("/portal/usage").text
    form = re.search(r'<form[^>]*id="filters"[^>]*>', page)[0]
    assert 'hx-target="#usage_rows"' in form
    whole = office.fragment("/portal/usage", "usage_rows")
    assert whole.text.lstrip().startswith("<section") and "HX-Target" in whole.headers["Vary"]
    assert "+44 20 7946 0958" in whole.text and "1:05" in whole.text
    fragment = office.fragment("/portal/usage?resource=fax_pages&number=", "div#usage_rows")
    assert "<form" not in fragment.text
    assert fragment.text.count('id="usage_rows"') == 1
    assert re.findall(r">#(\d)<", fragment.text) == ["2"]
    assert export_link(fragment) == "/portal/usage.csv?resource=fax_pages"


@pytest.mark.databases("sqlite")
def test_a_filter_that_cannot_be_read_is_a_422_that_keeps_the_input_and_shows_and_exports_nothing(
    office, make, acme, source
):
    make.usage(acme, 30, source=source, callee="#123")
    for bad in (
        "from=yesterday", "to=2026-13-01", "from=2026-11-20&to=2026-11-01", "from=0001-01-01", "resource=extensions",
        "resource=nothing", "direction=sideways", "period=soon",
    ):  # fmt: skip
        for path in ("/portal/usage", "/portal/usage.csv"):
            answer = office.get(f"{path}?{bad}&number=123")
            assert (answer.status_code, answer.mimetype) == (422, "text/html"), (path, bad)
            assert "error-summary" in answer.text and 'value="123"' in answer.text and ">#123<" not in answer.text
    assert 'value="yesterday"' in office.get("/portal/usage?from=yesterday").text
    fragment = office.fragment("/portal/usage?from=2026-11-20&to=2026-11-01", "div#usage_rows")
    assert fragment.status_code == 422 and "The last day lies before the first." in fragment.text


def test_a_number_is_found_as_the_page_writes_it(office, make, acme, source):
    make.usage(acme, 30, source=source, callee="+442079460958")
    written = re.search(r">(\+44 [\d ]+)<", office.get("/portal/usage").text)[1]
    found = office.get("/portal/usage", query_string={"number": written})
    assert found.text.count(f">{written}<") == 1
    assert "Nothing fits" in office.get("/portal/usage", query_string={"number": "+44 30"}).text


@pytest.mark.databases("sqlite")
def test_odd_arguments_do_not_reach_the_links(office, many):
    many(51)
    for odd in ("endpoint=x", "_method=POST", "_scheme=javascript&_external=1", "_anchor=x"):
        answer = office.get(f"/portal/usage?{odd}")
        assert answer.status_code == 200
        assert export_link(answer) == "/portal/usage.csv"
        assert rel(answer, "next").startswith("/portal/usage?after=")


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
        close_before(session, acme.id, running.first_on)
    make.usage(acme, 30, source=source, occurred_at=now - timedelta(days=35))
    assert '<span class="state plain">late</span>' in office.get("/portal/usage").text


def test_a_number_is_found_however_the_pbx_wrote_it(office, make, acme, source):
    for callee in ("+4930901820", "0114430901820", "030901820", "+442079460958"):
        make.usage(acme, 30, source=source, callee=callee)
    for number, found in (("+49 30 901820", 3), ("+4930901820", 3), ("9018", 3), ("030901820", 1), ("+49", 1)):
        lines = office.get("/portal/usage.csv", query_string={"number": number}).text.splitlines()
        assert len(lines) - 1 == found, number


def test_totals_are_exact_and_there_is_none_where_records_would_have_to_be_summed(office, make, acme, source, now):
    for number, seconds in enumerate((61, 59, 3_600)):
        make.usage(acme, seconds, source=source, direction="outbound", occurred_at=now - timedelta(days=number))
    make.usage(acme, 600, source=source, direction="inbound", metered=False)
    make.usage(acme, 3, "fax_pages", source=source)
    for arguments, totals in (
        ("", [("62", "4"), ("3", "1")]),
        ("resource=fax_pages", [("3", "1")]),
        ("from=2026-11-21", [("2", "3"), ("3", "1")]),
        ("to=2026-11-20", [("60", "1")]),
        ("direction=outbound", []),
        ("direction=outbound&to=2026-11-21", []),
        ("number=49", []),
    ):
        text = " ".join(office.get(f"/portal/usage?{arguments}").text.split())
        found = re.findall(r"<b>([\d:,]+)</b> <span class=\"muted\">in ([\d,]+) record", text)
        assert found == totals, arguments


def test_pages_leave_no_gap_in_either_direction_and_show_the_total_of_all(office, many):
    many(120)
    seen, path = [], "/portal/usage"
    while path:
        page = office.get(path)
        assert "<b>2</b>" in page.text and "in 120 records" in page.text
        seen += re.findall(r">#(\d{3})<", page.text)
        path = rel(page, "next")
    assert len(seen) == len(set(seen)) == 120
    assert re.findall(r">#(\d{3})<", office.get(rel(page, "prev")).text) == seen[50:100]


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


def test_filters_find_what_they_say(office, make, acme, source, now):
    make.usage(acme, 60, source=source, direction="outbound", callee="+442079460958")
    make.usage(acme, 60, source=source, direction="inbound", caller="+15550001", metered=False)
    make.usage(acme, 2, "fax_pages", source=source, occurred_at=now - timedelta(days=5))
    for arguments, count in (
        ("", 3), ("resource=fax_pages", 1), ("direction=inbound", 1), ("number=9460958", 1), ("number=%25", 3),
        ("from=2026-11-22", 2), ("to=2026-11-20", 1), ("from=2026-11-18&to=2026-11-19", 0),
    ):  # fmt: skip
        lines = office.get(f"/portal/usage.csv?{arguments}").text.splitlines()
        assert len(lines) - 1 == count, arguments
    assert "not counted" in office.get("/portal/usage?direction=inbound").text


def test_the_export_is_harmless_and_in_the_tenants_time(office, make, acme, source, now):
    make.usage(acme, 60, source=source, caller="=HYPERLINK(1)", callee="+4420", occurred_at=now)
    answer = office.get("/portal/usage.csv")
    assert answer.mimetype == "text/csv"
    row = next(iter(csv.DictReader(io.StringIO(answer.text))))
    assert row["time"] == "2026-11-22T22:00:00+01:00"
    assert row["from"] == "'=HYPERLINK(1)"
    assert row["to"] == "'+4420"
    assert row["counted"] == "60"


def figures(page):
    """What the strip over the records says, in its order."""
    strip = re.search(r'<dl class="counts sum num">.*?</dl>', page.text, re.DOTALL)
    return strip and re.findall(r"<dt>([^<]*)</dt><dd><b>([^<]*)</b>", strip[0])


def test_the_records_of_a_meter_say_why_so_much_is_left(office, make, source, login, now):
    tenant = make.tenant("Globex", timezone="Europe/Berlin")
    limits = (LimitSpec("voice_minutes", 3_600, "charge", 20_000), LimitSpec("concurrent_calls", 5))
    make.subscribe(tenant, make.package("silver", limits), started_at=now - timedelta(days=3))
    browser = login(make.user(tenant))
    make.usage(tenant, 600, source=source)
    make.call(tenant, source=source, seconds=60)
    path = re.search(r'href="([^"]+)">10 used<', browser.get("/portal").text)[1]
    found = figures(browser.get(unescape(path)))
    assert [label for label, _ in found] == ["Included", "− used", "− held by calls in progress", "= left"]
    included, used, held, left = (amount(text) for _, text in found)
    assert (included, used) == (3_600, 600) and held > 0 and left == included - used - held
    make.usage(tenant, 3_600, source=source)
    assert figures(browser.get(unescape(path)))[-1][0] == "= beyond what is included"
    assert figures(browser.get(unescape(path) + "&direction=outbound")) is None
    assert figures(browser.get("/portal/usage?resource=voice_minutes")) is None


def amount(text):
    """Seconds in `1,000` or `8:30` minutes."""
    minutes, _, seconds = text.replace(",", "").partition(":")
    return int(minutes) * 60 + int(seconds or 0)

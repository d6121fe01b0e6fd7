"""The tenant's home and its usage: right, its own alone, and at the same price however much was used."""

import csv
import io
import re
from datetime import timedelta

import pytest

from app.domain.catalog.specs import LimitSpec

LIMITS = (LimitSpec("voice_minutes", 60_000, "charge", 20_000), LimitSpec("fax_pages", 10), LimitSpec("extensions", 5))


@pytest.fixture
def source(make):
    return make.source("pbx1")


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", LIMITS, name="Gold"), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme))


def test_home_says_what_is_left_first(office, make, acme, source):
    make.usage(acme, 600, source=source)
    page = office.get("/portal")
    assert page.status_code == 200
    assert re.search(r"<h1>990 minutes left</h1>", page.text)
    assert 'data-meter="voice_minutes" data-remaining="59400" data-used="600"' in page.text
    assert 'data-meter="fax_pages" data-remaining="10" data-used="0"' in page.text
    assert "stops at the limit" in page.text
    assert "resets in" in page.text


def test_the_polled_fragment_is_the_same_and_follows_each_record(office, make, acme, source):
    assert 'data-used="0"' in office.get("/portal/meters").text
    for number in (1, 2, 3):
        make.usage(acme, 60, source=source)
        fragment = office.get("/portal/meters").text
        assert (
            f'data-meter="voice_minutes" data-remaining="{60_000 - 60 * number}" data-used="{60 * number}"' in fragment
        )
    assert "<html" not in fragment


def test_a_fragment_drawn_before_an_edit_is_not_served_after_it(office, make, acme, clock):
    from app.core.clock import utc_now
    from app.db import unit_of_work
    from app.domain.catalog import service as catalog
    from app.domain.catalog.specs import PackageSpec

    assert 'data-remaining="60000"' in office.get("/portal/meters").text
    with unit_of_work() as session:
        spec = PackageSpec("Gold", limits=(LimitSpec("voice_minutes", 120_000),))
        catalog.publish(session, catalog.by_code(session, "gold"), spec, actor="t", now=utc_now())
    assert 'data-remaining="120000"' in office.get("/portal/meters").text


@pytest.mark.parametrize(
    "path", ["/portal", "/portal/meters", "/portal/meters/stream", "/portal/usage", "/portal/usage.csv"]
)
def test_nobody_else_gets_in(client, make, login, acme, path):
    assert client.get(path).status_code == 303
    assert login(make.staff()).get(path).status_code == 404


def test_another_tenant_sees_nothing_of_it(make, login, acme, source):
    make.usage(acme, 600, source=source, caller="+4930555000111", callee="+442079460958")
    globex = make.tenant("Globex")
    other = login(make.user(globex))
    for path in ("/portal", "/portal/meters", "/portal/usage", "/portal/usage.csv"):
        text = other.get(path).text
        assert "Acme" not in text
        assert "555" not in text


def test_a_tenant_without_a_package_reads_why_there_is_nothing(make, login):
    page = login(make.user(make.tenant("Bare"))).get("/portal")
    assert "has not put you on a package" in page.text


def test_home_costs_the_same_statements_whatever_was_used(office, make, acme, source, count_statements):
    make.usage(acme, 1, source=source)
    with count_statements() as few:
        office.get("/portal")
    for number in range(300):
        make.usage(acme, 1, source=source, external_id=f"many-{number}")
    with count_statements() as many:
        office.get("/portal")
    assert len(many) == len(few) <= 10


def test_usage_swaps_only_the_rows_for_htmx(office, make, acme, source):
    make.usage(acme, 65, source=source, direction="outbound", callee="+442079460958")
    fragment = office.fragment("/portal/usage", "usage_rows")
    assert fragment.text.lstrip().startswith("<section")
    assert "+44 20 7946 0958" in fragment.text
    assert "1:05" in fragment.text
    assert "HX-Target" in fragment.headers["Vary"]


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


def test_what_was_beyond_says_at_what_price(office, make, acme, source):
    make.usage(acme, 60_090, source=source)
    assert "1:30 at €0.02 a minute" in " ".join(office.get("/portal/usage").text.split())


@pytest.mark.parametrize("bad", ["from=yesterday", "to=2026-13-01", "from=2026-11-20&to=2026-11-01", "from=0001-01-01"])
def test_a_day_that_is_none_is_a_422_with_the_input_kept(office, bad):
    page = office.get(f"/portal/usage?{bad}&number=123")
    assert page.status_code == 422
    assert "error-summary" in page.text
    assert 'value="123"' in page.text


def test_pages_leave_no_gap_in_either_direction(office, make, acme, source, now):
    for number in range(120):
        make.usage(acme, 1, source=source, external_id=f"n{number:03}", callee=f"#{number:03}", occurred_at=now)
    seen, path, back = [], "/portal/usage", ""
    while path:
        text = office.get(path).text
        seen += re.findall(r">#(\d{3})<", text)
        older = re.search(r'href="([^"]*after=[^"]*)"', text)
        back = re.search(r'href="([^"]*before=[^"]*)"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 120
    assert re.findall(r">#(\d{3})<", office.get(back[1].replace("&amp;", "&")).text) == seen[50:100]


def test_the_export_is_harmless_and_in_the_tenants_time(office, make, acme, source, now):
    make.usage(acme, 60, source=source, caller="=HYPERLINK(1)", callee="+4420", occurred_at=now)
    answer = office.get("/portal/usage.csv")
    assert answer.mimetype == "text/csv"
    row = next(iter(csv.DictReader(io.StringIO(answer.text))))
    assert row["time"] == "2026-11-22T22:00:00+01:00"
    assert row["from"] == "'=HYPERLINK(1)"
    assert row["to"] == "'+4420"
    assert row["counted"] == "60"

"""Lines & numbers on both sides: held of how many, added, released, imported, exported."""

import re
from io import BytesIO

import pytest

from app.db import unit_of_work
from app.domain.metering.models import Refusal
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant


@pytest.fixture
def acme(make):
    tenant = make.tenant("Acme", country="DE", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", {"extensions": 3, "dids": 5}, price_micros=49_000_000))
    return tenant


@pytest.fixture
def hold(now):
    def act(tenant, resource, *names):
        with unit_of_work() as session:
            tenant = session.get_one(Tenant, tenant.id)
            wanted = [Wanted(name) for name in names]
            return telephony.add(session, tenant, resource, wanted, actor="t", now=now)

    return act


@pytest.fixture(params=["tenant", "provider"])
def side(request, make, login, acme):
    """A signed-in browser, and where the pages about Acme begin for it."""
    if request.param == "tenant":
        return login(make.user(acme)), "/portal/lines"
    return login(make.staff()), "/provider/tenants/acme/lines"


def listed(answer):
    return re.findall(r'<tr><th scope="row">([^<]+)</th>', answer.text)


def words(answer):
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def test_the_overview_says_what_is_held_of_how_many(side, acme, hold):
    browser, url = side
    hold(acme, "extensions", "101", "102", "103")
    hold(acme, "devices", "Desk phone")
    page = browser.get(url)
    assert page.status_code == 200
    assert 'data-meter="extensions" data-remaining="0" data-used="3"' in page.text
    assert "3 of 3" in words(page) and "0 of 5" in words(page) and "1 no limit" in words(page)
    for code in ("extensions", "dids", "devices", "ring_groups"):
        assert f'href="{url}/{code}"' in page.text
    assert f'href="{url}/voice_minutes"' not in page.text


def test_one_is_added_by_the_form_and_shown(side, session):
    browser, url = side
    answer = browser.submit(f"{url}/dids", {"name": "030 901820", "note": "Main"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{url}/dids")
    page = browser.get(f"{url}/dids")
    assert listed(page) == ["+49 30 901820"] and "Main" in page.text
    assert "1 of 5 held · 4 left" in words(page) and "+49 30 901820 is added." in page.text


def test_for_htmx_the_answer_is_the_fragment_with_what_to_say(side):
    browser, url = side
    headers = {"HX-Request": "true", "HX-Target": "div#line_page"}
    answer = browser.submit(f"{url}/extensions", {"name": "101"}, headers=headers)
    assert answer.status_code == 200 and answer.text.lstrip().startswith('<div id="line_page">')
    assert listed(answer) == ["101"] and "101 is added." in answer.text
    assert 'value="101"' not in answer.text
    rows = browser.fragment(f"{url}/extensions?text=9", "line_rows")
    assert rows.text.lstrip().startswith('<section class="card" id="line_rows"') and "Nothing fits" in rows.text


@pytest.mark.parametrize(
    ("code", "name", "status", "message"),
    [
        ("extensions", "1", 422, "An extension is 2 to 10 digits."),
        ("extensions", "", 422, "Say which one."),
        ("extensions", "101", 409, "“101” is held already."),
        ("dids", "12", 422, "Enter a phone number"),
        ("dids", "+49 30 900000", 409, "+4930900000 is in use already."),
        ("devices", "a\0b", 422, "At most 255 characters"),
    ],
)
def test_a_bad_name_comes_back_with_its_message(side, make, acme, hold, code, name, status, message):
    browser, url = side
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("other"))
    hold(globex, "dids", "+4930900000")
    hold(acme, "extensions", "101")
    answer = browser.submit(f"{url}/{code}", {"name": name, "note": "kept"})
    assert answer.status_code == status
    assert '<p class="error" id="name-error">' in answer.text and message in answer.text
    assert "<title>Error:" in answer.text and 'value="kept"' in answer.text
    assert "Globex" not in answer.text


def test_at_the_limit_the_page_names_the_package_that_allows_more(side, make, acme, hold, session):
    browser, url = side
    make.package("large", {"extensions": 50}, name="Large", price_micros=90_000_000)
    make.package("medium", {"extensions": 4}, name="Medium", price_micros=60_000_000)
    hold(acme, "extensions", "101", "102", "103")
    page = browser.get(f"{url}/extensions")
    assert "All 3 are held. For 4 you need Medium, €60.00 a month." in words(page)
    refused = browser.submit(f"{url}/extensions", {"name": "104"})
    assert refused.status_code == 409
    assert "3 of 3 extensions are held; there is no room for another one." in refused.text
    assert "For 4 you need Medium" in refused.text
    assert listed(refused) == ["101", "102", "103"]
    assert [(row.reason, row.callee) for row in session.query(Refusal)] == [("limit_reached", "104")]


def test_over_the_limit_the_page_says_that_all_keeps_working(side, make, acme, hold, now):
    browser, url = side
    hold(acme, "extensions", "101", "102", "103")
    small = make.package("small", {"extensions": 1})
    with unit_of_work() as session:
        tenant, package = session.get_one(Tenant, acme.id), session.merge(small)
        subscriptions.subscribe(session, tenant, package, actor="t", now=now)
    page = words(browser.get(f"{url}/extensions"))
    assert "3 held, 1 included. All of them keep working. Nothing can be added until fewer than 1 are held." in page
    assert "over the limit" in words(browser.get(url))


def test_without_a_package_or_suspended_there_is_no_form(side, acme, hold, now):
    browser, url = side
    hold(acme, "extensions", "101")
    with unit_of_work() as session:
        tenants.set_suspended(session, session.get_one(Tenant, acme.id), True, actor="t", now=now)
    page = browser.get(f"{url}/extensions")
    assert "The service is suspended." in page.text and 'name="note"' not in page.text
    assert listed(page) == ["101"]
    assert "suspended" in browser.submit(f"{url}/extensions", {"name": "102"}).text


def test_a_release_can_be_undone(side, acme, hold):
    browser, url = side
    made, _ = hold(acme, "extensions", "101", "102")
    answer = browser.submit(f"{url}/extensions/{made.id}/release", {"text": "10"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{url}/extensions?text=10")
    page = browser.get(f"{url}/extensions")
    assert listed(page) == ["102"] and "101 is released." in page.text
    assert f'action="{url}/extensions/{made.id}/again"' in page.text
    assert browser.submit(f"{url}/extensions/{made.id}/release").status_code == 404
    assert browser.submit(f"{url}/extensions/{made.id}/again").status_code == 303
    assert listed(browser.get(f"{url}/extensions")) == ["101", "102"]
    browser.submit(f"{url}/extensions/{made.id}/again")
    assert "“101” is held already." in browser.get(f"{url}/extensions").text


def test_a_file_adds_all_its_lines(side, acme):
    browser, url = side
    sent = {"file": (BytesIO("\ufeffname;note\n030 901820;Main\n+49 30 901821;\n".encode()), "numbers.csv")}
    answer = browser.submit(f"{url}/dids/import", sent, content_type="multipart/form-data")
    assert answer.status_code == 303
    page = browser.get(f"{url}/dids")
    assert listed(page) == ["+49 30 901820", "+49 30 901821"] and "2 lines are added." in page.text
    export = browser.get(f"{url}/dids/export.csv")
    assert export.mimetype == "text/csv"
    lines = export.text.splitlines()
    assert lines[0] == "name,note,since" and lines[1].startswith("'+4930901820,Main,20")


def test_a_file_with_bad_lines_adds_nothing_and_names_each(side, acme, hold):
    browser, url = side
    hold(acme, "extensions", "101")
    answer = browser.submit(f"{url}/extensions/import", {"text": "name\n102\n1\n101\n102"})
    assert answer.status_code == 422
    shown = words(answer)
    assert "Line 3: An extension is 2 to 10 digits." in shown
    assert "Line 4: “101” is held already." in shown
    assert "Line 5: “102” stands on line 2 already." in shown
    assert "name\n102\n1\n101\n102</textarea>" in answer.text
    assert listed(browser.get(f"{url}/extensions")) == ["101"]


def test_a_file_beyond_the_limit_adds_nothing(side, acme, session):
    browser, url = side
    answer = browser.submit(f"{url}/extensions/import", {"text": "101\n102\n103\n104"})
    assert answer.status_code == 409
    assert "0 of 3 extensions are held; 4 more do not fit." in answer.text
    assert listed(browser.get(f"{url}/extensions")) == []
    assert [row.callee for row in session.query(Refusal)] == ["101, 102, 103, 104"]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        ({}, "There is no line with a name."),
        ({"file": (BytesIO(b"\xff\xfe1"), "x.csv")}, "Save the file as CSV in UTF-8."),
        ({"text": "1,2,3"}, "Line 1 cannot be read"),
    ],
)
@pytest.mark.databases("sqlite")
def test_a_file_that_cannot_be_read_is_refused(make, login, acme, sent, message):
    answer = login(make.user(acme)).submit("/portal/lines/extensions/import", sent, content_type="multipart/form-data")
    assert answer.status_code == 422 and message in answer.text


def test_what_is_no_allocated_resource_has_no_page(side):
    browser, url = side
    for code in ("voice_minutes", "nothing", "a%00b"):
        assert browser.get(f"{url}/{code}").status_code == 404
    assert browser.submit(f"{url}/extensions/1/release").status_code == 404
    assert browser.submit(f"{url}/extensions/{2**70}/release").status_code == 404


def test_nobody_reaches_what_another_tenant_holds(make, login, acme, hold):
    (made,) = hold(acme, "extensions", "101")
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("other"))
    outsider = login(make.user(globex))
    assert listed(outsider.get("/portal/lines/extensions")) == []
    assert outsider.submit(f"/portal/lines/extensions/{made.id}/release").status_code == 404
    assert outsider.submit(f"/portal/lines/extensions/{made.id}/again").status_code == 404
    assert outsider.get("/provider/tenants/acme/lines").status_code == 404
    assert "101" not in outsider.get("/portal/lines/extensions/export.csv").text


def test_the_meters_lead_to_what_they_count(make, login, acme):
    assert 'href="/portal/lines/extensions"' in login(make.user(acme)).get("/portal").text
    staff = login(make.staff())
    assert 'href="/provider/tenants/acme/lines/extensions"' in staff.get("/provider/tenants/acme").text


def test_the_trail_names_what_was_added(make, login, acme, hold):
    hold(acme, "devices", *(f"phone {number}" for number in range(5)))
    assert "phone 0, phone 1, phone 2 and 2 more added" in login(make.staff()).get("/provider/tenants/acme").text

"""A tenant's records on the provider's side, and taking one back."""

import re
from datetime import timedelta

import pytest

from app.db import unit_of_work
from app.domain.catalog.specs import LimitSpec
from tests.factories import close_before

USAGE = "/provider/tenants/acme/usage"


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin", country="DE")
    limits = (LimitSpec("voice_minutes", 60_000, "charge", 20_000),)
    make.subscribe(tenant, make.package("gold", limits), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def call(make, acme):
    source = make.source("pbx1")
    return lambda seconds, **more: make.usage(acme, seconds, source=source, **more)


@pytest.fixture
def staff(make, login):
    return login(make.staff("nora@northline.example"))


def reverse_url(page):
    found = re.search(rf'href="({USAGE}/\d+/reverse)"', page.get_data(as_text=True))
    return found and found[1]


def test_a_record_is_taken_back_with_a_reason(staff, call, make, acme, login):
    call(200, external_id="a")
    url = reverse_url(staff.get(USAGE))
    asked = staff.get(url).get_data(as_text=True)
    assert "Reverse this record?" in asked and "3:20 minutes go back to the meter" in asked
    assert staff.submit(url, {"reason": "a test call"}).status_code == 303
    page = staff.get(USAGE).get_data(as_text=True)
    assert "-3:20" in page and "a test call" in page and ">reversed<" in page
    assert reverse_url(staff.get(USAGE)) is None  # neither the reversal nor what is reversed
    tenant = login(make.user(acme))
    seen = tenant.get("/portal/usage").get_data(as_text=True)
    assert "-3:20" in seen and "a test call" in seen and ">reversed<" in seen
    assert "reversal: a test call" in tenant.get("/portal/statements/current").get_data(as_text=True)
    assert tenant.get("/portal/statements/current.pdf").status_code == 200
    csv = tenant.get("/portal/usage.csv").get_data(as_text=True).splitlines()
    assert [line.rsplit(",", 1)[1] for line in csv[1:]] == ["a test call", "reversed"]
    assert "Record reversed (a test call)" in staff.get("/provider/tenants/acme").get_data(as_text=True)


def test_a_reason_is_needed(staff, call):
    call(200)
    url = reverse_url(staff.get(USAGE))
    answer = staff.submit(url, {"reason": " "})
    assert answer.status_code == 422
    assert "Say why the record is reversed." in answer.get_data(as_text=True)


def test_what_cannot_be_reversed_says_why(staff, call, acme, now):
    call(200, external_id="a")
    url = reverse_url(staff.get(USAGE))
    assert staff.submit(url, {"reason": "x"}).status_code == 303
    again = staff.submit(url, {"reason": "x"})
    assert again.status_code == 409 and "reversed already" in again.get_data(as_text=True)
    call(100, external_id="old", occurred_at=now - timedelta(days=30))
    old = reverse_url(staff.get(USAGE))
    with unit_of_work() as session:
        close_before(session, acme.id, (now - timedelta(days=9)).date())
    closed = staff.submit(old, {"reason": "x"})
    assert closed.status_code == 409 and "credit it on an invoice" in closed.get_data(as_text=True)


def test_outsiders_reverse_nothing(staff, call, make, acme, login):
    call(200)
    url = reverse_url(staff.get(USAGE))
    globex = make.tenant("Globex")
    assert staff.get(url.replace("acme", "globex")).status_code == 404
    for tenant in (acme, globex):
        assert login(make.user(tenant)).get(url).status_code == 404


def test_a_page_of_records_is_the_same_statements_however_many_are_reversed(staff, call, count_statements):
    for number in range(12):
        call(60, external_id=f"r{number}")
    staff.get(USAGE)
    with count_statements() as before:
        staff.get(USAGE)
    for _ in range(5):
        staff.submit(reverse_url(staff.get(USAGE)), {"reason": "x"})
    with count_statements() as after:
        staff.get(USAGE)
    assert len(after) == len(before)

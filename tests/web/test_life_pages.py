"""A subscription's life on the pages: a trial begun, an end said and withdrawn, a suspension."""

import pytest

from app.core.clock import utc_now
from app.db import run_in_transaction, unit_of_work
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import life, service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000


@pytest.fixture
def gold(make):
    return make.package("gold", [LimitSpec("voice_minutes", 6_000, "charge", 20_000)], price_micros=30 * EURO)


@pytest.fixture
def acme(make):
    return make.tenant("Acme")


@pytest.fixture
def on_gold(make, acme, gold, now):
    make.subscribe(acme, gold, started_at=now.replace(day=1, hour=0))
    return acme


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme, "uma@acme.example"))


def status(session, tenant):
    session.rollback()
    session.expire_all()
    found = subscriptions.live(session, tenant.id)
    return found.status if found else ""


def test_a_trial_is_begun_and_shown_on_both_sides(staff, office, session, acme, gold):
    assert "plan/trial?package=gold" in staff.get("/provider/tenants/acme/plan").text
    page = staff.get("/provider/tenants/acme/plan/trial?package=gold").text
    assert "Let Acme try Gold" in page and "Nothing is charged in a trial" in page
    wrong = staff.submit("/provider/tenants/acme/plan/trial", {"package": "gold", "days": "0"})
    assert wrong.status_code == 422 and "From 1 to 366 days." in wrong.text
    done = staff.submit("/provider/tenants/acme/plan/trial", {"package": "gold", "days": "14"})
    assert done.status_code == 303 and status(session, acme) == "trial"
    page = staff.get("/provider/tenants/acme").text
    assert '<span class="state accent">trial</span>' in page and "On trial until" in page
    assert "plan/trial" not in staff.get("/provider/tenants/acme/plan").text
    again = staff.submit("/provider/tenants/acme/plan/trial", {"package": "gold", "days": "14"})
    assert again.status_code == 422 and "has no package yet" in again.text
    assert "You are trying it until" in office.get("/portal/plans").text
    assert "stops at the limit" in office.get("/portal/").text


def test_a_trial_of_nothing_is_not_found(staff, office, acme, gold):
    assert staff.get("/provider/tenants/acme/plan/trial?package=none").status_code == 404
    assert staff.get("/provider/tenants/nobody/plan/trial?package=gold").status_code == 404
    assert office.get("/provider/tenants/acme/plan/trial?package=gold").status_code == 404


def test_staff_see_what_the_end_gives_back_and_end_it(staff, session, on_gold):
    page = staff.get("/provider/tenants/acme/plan/end?when=now").text
    assert "End Gold of Acme" in page and "-€9.00" in page and "9 of 30 days" in page and "End Gold now" in page
    fragment = staff.fragment("/provider/tenants/acme/plan/end", "ending").text
    assert "<html" not in fragment and "Nothing is left to be charged" in fragment
    assert staff.submit("/provider/tenants/acme/plan/end", {"when": "now"}).status_code == 303
    assert status(session, on_gold) == ""
    page = staff.get("/provider/tenants/acme").text
    assert "ended" in page and "cancelled" in page and "without a package" in page
    assert staff.get("/provider/tenants/acme/plan/end").status_code == 404


def test_a_tenant_ends_its_package_with_the_period_and_withdraws_that(office, staff, session, on_gold):
    page = office.get("/portal/plans/end?when=now").text
    assert "End Gold on" in page and "End Gold now" not in page
    assert office.submit("/portal/plans/end", {"when": "now"}).status_code == 303
    assert status(session, on_gold) == "active"
    for browser, url in (
        (office, "/portal/plans"),
        (staff, "/provider/tenants/acme"),
        (staff, "/provider/tenants/acme/plan"),
    ):
        assert "Gold ends on" in browser.get(url).text
    assert office.submit("/portal/plans/cancel", {}).status_code == 303
    assert "Gold ends on" not in office.get("/portal/plans").text


def test_a_tenant_that_may_not_change_may_not_end_either(make, login, acme, now):
    make.subscribe(acme, make.package("fitted", {}, tenants_may="ask"))
    office = login(make.user(acme))
    assert "/portal/plans/end" not in office.get("/portal/plans").text
    assert office.get("/portal/plans/end").status_code == 404
    assert office.submit("/portal/plans/end", {}).status_code == 404


@pytest.mark.parametrize(("tenants_may", "status"), [("ask", 409), ("change", 303)])
def test_what_the_provider_decided_is_the_tenants_to_drop_only_where_it_may_choose_the_package(
    make, login, staff, acme, tenants_may, status
):
    make.subscribe(acme, make.package("fitted", {}, tenants_may=tenants_may))
    office = login(make.user(acme))
    assert staff.submit("/provider/tenants/acme/plan/end", {}).status_code == 303
    page = office.get("/portal/plans").text
    assert "Fitted ends on" in page and ("Do not end it" in page) is (status == 303)
    assert office.submit("/portal/plans/cancel", {}).status_code == status
    assert ("Fitted ends on" in staff.get("/provider/tenants/acme").text) is (status == 409)
    assert staff.submit("/provider/tenants/acme/plan/cancel", {}).status_code == (303 if status == 409 else 404)


def test_a_suspended_tenant_still_reads(staff, office, session, on_gold):
    staff.submit("/provider/tenants/acme/suspend", {})
    assert status(session, on_gold) == "suspended"
    for url in ("/portal/", "/portal/plans", "/portal/invoices", "/portal/usage"):
        assert office.get(url).status_code == 200
    assert "The service is suspended." in office.get("/portal/plans").text
    staff.submit("/provider/tenants/acme/resume", {})
    assert status(session, on_gold) == "active"
    assert "by hand" in staff.get("/provider/tenants/acme").text


def test_past_due_is_shown_on_both_sides(staff, office, on_gold):
    def act(session):
        found = subscriptions.require_live(session, session.get_one(Tenant, on_gold.id))
        life.turn(session, found, "past_due", "overdue", actor="t", now=utc_now())

    run_in_transaction(act)
    assert "An invoice is overdue." in office.get("/portal/plans").text
    assert "Acme" in staff.get("/provider/tenants?state=past_due").text
    assert "No tenant fits" in staff.get("/provider/tenants?state=trial").text
    assert '<span class="state near">past due</span>' in staff.get("/provider/tenants/acme").text
    with unit_of_work() as unit:
        assert subscriptions.live(unit, on_gold.id).status == "past_due"

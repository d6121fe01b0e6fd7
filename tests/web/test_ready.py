"""Ready for more: the list, the offer, and what the tenant makes of it."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from app import jobs as work
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.changes.models import Offer
from app.domain.jobs.models import Job
from app.domain.subscriptions import service as subscriptions

EURO = 1_000_000


@pytest.fixture
def acme(make, now):
    """Used 55 of 60 minutes in this period and 50 in the one before."""
    tenant = make.tenant("Acme")
    limits = {"voice_minutes": 3_600, "extensions": 5}
    small = make.package("small", limits, price_micros=30 * EURO, cost_micros=10 * EURO)
    make.package("large", {"voice_minutes": 6_000}, price_micros=60 * EURO, cost_micros=15 * EURO, tenants_may="see")
    make.subscribe(tenant, small, started_at=now - timedelta(days=40))
    source = make.source()
    for days, minutes in ((9, 55), (32, 50)):
        make.usage(tenant, minutes * 60, source=source, occurred_at=now - timedelta(days=days))
    return tenant


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme, "uma@acme.example"))


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def offered(staff, acme):
    answer = staff.submit("/provider/ready/acme/offer", {"package": "large"})
    assert answer.status_code == 303
    return answer


def status(session):
    session.rollback()
    return session.scalars(select(Offer).execution_options(populate_existing=True)).one().status


def test_the_list_says_who_why_what_and_how_much(staff, acme):
    page = staff.get("/provider/ready").text
    assert "Should move up (1)" in page and "Should move down (0)" in page
    assert "over 80 % in 2 of three periods: 55 of 60 from 13 Nov 2026; 50 of 60 from 13 Oct 2026" in page
    assert ">Large<" in page and "+€30.00" in page
    assert "+€25.00" in page and "margin €45.00 instead of €20.00" in page
    assert "Nobody pays for too much" in staff.get("/provider/ready?show=down").text
    assert "Ready for more" in staff.get("/provider").text


def test_nobody_to_list_is_said_so(staff):
    assert "Everybody fits" in staff.get("/provider/ready?after=nonsense").text


def test_one_click_offers_it_and_the_tenant_takes_it(staff, acme, offered, office, session):
    assert "Large is offered to Acme." in staff.get("/provider/ready").text
    assert "offered</span>" in staff.get("/provider/ready").text
    assert "Large is offered since" in staff.get("/provider/tenants/acme").text
    for path in ("/portal", "/portal/plans"):
        assert "Your provider suggests Large" in office.get(path).text
    page = office.get("/portal/plans?package=large").text  # it could only be seen; offered, it can be taken
    quote = re.search(r'name="quote" value="([^"]+)"', page)[1]
    assert office.submit("/portal/plans", {"package": "large", "quote": quote}).status_code == 303
    assert status(session) == "taken"
    assert subscriptions.require_live(session, acme).package.code == "large"
    assert "suggests" not in office.get("/portal").text
    assert "Offer taken:" in staff.get("/provider").text


@pytest.mark.parametrize(("moved_to", "becomes"), [("large", "taken"), ("other", "withdrawn")])
def test_a_move_by_a_machine_ends_the_offer(app, make, offered, office, session, moved_to, becomes):
    make.package("other", {"voice_minutes": 60})
    key = {"Authorization": f"Bearer {make.source('pbx9').key}"}
    answer = app.test_client().put("/api/v1/tenants/acme/subscription", json={"package": moved_to}, headers=key)
    assert answer.status_code == 200
    assert status(session) == becomes
    assert "suggests" not in office.get("/portal").text


def test_the_tenant_declines(offered, office, session):
    assert office.submit("/portal/plans/decline").status_code == 303
    assert status(session) == "declined"
    assert "suggests" not in office.get("/portal").text
    assert office.submit("/portal/plans/decline").status_code == 303  # twice is once
    assert status(session) == "declined"


@pytest.mark.parametrize("place", [{}, {"from": "tenant"}, {"show": "down"}])
def test_staff_withdraws_it(offered, staff, office, session, place):
    answer = staff.submit("/provider/ready/acme/withdraw", place)
    assert answer.headers["Location"].startswith("/provider/tenants/acme" if "from" in place else "/provider/ready")
    assert status(session) == "withdrawn"
    assert "suggests" not in office.get("/portal").text
    page = office.get("/portal/plans?package=large").text
    assert 'name="quote"' not in page
    again = staff.submit("/provider/ready/acme/withdraw", follow_redirects=True).text
    assert "no open offer" in again


def test_one_offer_at_a_time(offered, staff, make):
    make.package("larger", {}, price_micros=90 * EURO)
    answer = staff.submit("/provider/ready/acme/offer", {"package": "larger"}, follow_redirects=True)
    assert "has an offer already" in answer.text


@pytest.mark.parametrize(("package", "says"), [("small", "has Small already"), ("old", "only a published package")])
def test_what_cannot_be_had_is_not_offered(staff, make, acme, session, package, says):
    make.package("old", {}, status="draft")
    answer = staff.submit("/provider/ready/acme/offer", {"package": package}, follow_redirects=True)
    assert says in answer.text
    assert session.scalar(select(Offer)) is None


@pytest.mark.parametrize(("slug", "package"), [("nobody", "large"), ("acme", "nothing")])
def test_an_unknown_name_is_not_found(staff, acme, slug, package):
    assert staff.submit(f"/provider/ready/{slug}/offer", {"package": package}).status_code == 404


def test_moving_elsewhere_ends_the_offer(offered, staff, make, session):
    make.package("other", {}, price_micros=40 * EURO)
    page = staff.get("/provider/tenants/acme/plan?package=other").text
    quote = re.search(r'name="quote" value="([^"]+)"', page)[1]
    staff.submit("/provider/tenants/acme/plan", {"package": "other", "quote": quote})
    assert status(session) == "withdrawn"


def test_a_private_package_that_is_offered_can_be_seen_and_taken(staff, office, make, session, acme):
    make.package("special", {}, price_micros=20 * EURO, public=False)
    assert office.get("/portal/plans?package=special").status_code == 404
    staff.submit("/provider/ready/acme/offer", {"package": "special"})
    assert 'name="quote"' in office.get("/portal/plans?package=special").text


def test_its_people_who_get_notices_are_told_once(make, acme, staff, session, now):
    make.user(acme, "quiet@acme.example")
    for account in (make.user(acme, "loud@acme.example"), make.staff("loud@northline.example")):
        with unit_of_work() as unit:
            accounts.set_threshold_mail(unit, account.id, True, actor="t", now=now)
    staff.submit("/provider/ready/acme/offer", {"package": "large"})
    told = 0
    while (job := work.claim_next(timedelta(minutes=1))) is not None:
        told += job.kind == "offer_mail"
        assert work.perform(job) == ""
    session.rollback()
    mails = [job.payload for job in session.scalars(select(Job).where(Job.kind == "mail"))]
    found = [mail for mail in mails if "suggests Large" in mail["subject"]]
    assert (told, [mail["to"] for mail in found]) == (1, ["loud@acme.example"])
    assert "Large, €60.00 a month" in found[0]["body"] and "/portal/plans?package=large" in found[0]["body"]


def test_a_withdrawn_offer_is_no_news(make, acme, staff, session, now):
    with unit_of_work() as unit:
        accounts.set_threshold_mail(unit, make.user(acme).id, True, actor="t", now=now)
    staff.submit("/provider/ready/acme/offer", {"package": "large"})
    staff.submit("/provider/ready/acme/withdraw")
    while (job := work.claim_next(timedelta(minutes=1))) is not None:
        assert work.perform(job) == ""
    session.rollback()
    payloads = [job.payload for job in session.scalars(select(Job).where(Job.kind == "mail"))]
    assert not [payload for payload in payloads if "suggests" in payload["subject"]]


def test_nobody_else_sees_an_offer(offered, make, login):
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("bare", {}))
    assert "suggests" not in login(make.user(globex)).get("/portal").text

"""Thresholds as people see, choose and change them."""

import pytest
from sqlalchemy import select

from app.db import unit_of_work
from app.domain.accounts.models import Account
from app.domain.audit.models import AuditEntry
from app.domain.tenants.models import Tenant


@pytest.fixture
def acme(make):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000}))
    return tenant


@pytest.fixture
def uma(make, acme):
    return make.user(acme, "uma@acme.example")


def chosen(session, account):
    session.expire_all()
    return session.scalar(select(Account.wants_threshold_mail).where(Account.id == account.id))


def percents(session):
    session.expire_all()
    return session.scalar(select(Tenant.thresholds))


def test_a_user_chooses_for_itself_and_the_tenant_has_its_own_thresholds(make, login, acme, uma, session):
    other, browser = make.user(acme), login(uma)
    assert "50, 75, 90, 100" in browser.get("/portal/notifications").get_data(as_text=True)
    answer = browser.submit("/portal/notifications", {"wanted": "y", "thresholds": "90 %, 60 %;60"})
    assert answer.status_code == 303
    assert (chosen(session, uma), chosen(session, other), percents(session)) == (True, False, [60, 90])
    browser.submit("/portal/notifications", {"thresholds": "60, 90"})
    assert chosen(session, uma) is False
    acts = session.scalars(
        select(AuditEntry.act).where(AuditEntry.actor == uma.email, AuditEntry.act != "account.sign_in")
    ).all()
    assert sorted(acts) == ["account.notifications", "account.notifications", "tenant.update"]


@pytest.mark.parametrize("typed", ["fifty", "0", "201", "50.5", "-5", "1 2 3 4 5 6 7 8 9", "99999"])
def test_what_cannot_be_a_threshold_is_said_beside_the_field(login, uma, session, typed):
    answer = login(uma).submit("/portal/notifications", {"wanted": "y", "thresholds": typed})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422 and 'id="thresholds-error"' in page and f'value="{typed}"' in page
    assert (percents(session), chosen(session, uma)) == ([50, 75, 90, 100], False)


def test_staff_chooses_for_itself_and_changes_a_tenants_thresholds(make, login, acme, session):
    nora = make.staff()
    staff = login(nora)
    staff.submit("/provider/notifications", {"wanted": "y"})
    assert chosen(session, nora) is True
    page = staff.submit("/provider/tenants/acme/thresholds", {"thresholds": "80"}, follow_redirects=True)
    assert "The thresholds of Acme are changed." in page.get_data(as_text=True)
    assert percents(session) == [80]
    assert staff.submit("/provider/tenants/acme/thresholds", {"thresholds": "300"}).status_code == 422
    assert staff.get("/provider/tenants/nobody/thresholds").status_code == 404


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("path", ["/provider/notifications", "/provider/jobs", "/provider/tenants/acme/thresholds"])
def test_the_providers_pages_do_not_exist_for_a_tenant(login, uma, path):
    assert login(uma).get(path).status_code == 404


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("path", ["/provider/jobs/1/retry", "/provider/jobs/retry"])
def test_a_tenant_cannot_try_a_job_again(login, uma, path):
    assert login(uma).submit(path).status_code == 404


@pytest.mark.databases("sqlite")
def test_staff_has_no_tenants_page(make, login):
    assert login(make.staff()).get("/portal/notifications").status_code == 404


def test_what_was_reached_stands_on_the_homes_and_on_the_tenants_page(make, login, acme, uma):
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("silver", {"voice_minutes": 60_000}))
    make.usage(acme, 46_000, source=make.source())
    staff = login(make.staff())
    for browser, path in ((login(uma), "/portal"), (staff, "/provider"), (staff, "/provider/tenants/acme")):
        assert "75 % of voice minutes used" in browser.get(path).get_data(as_text=True), path
    for browser, path in ((login(make.user(globex)), "/portal"), (staff, "/provider/tenants/globex")):
        assert "of voice minutes used" not in browser.get(path).get_data(as_text=True), path


def test_a_tenant_without_thresholds_is_told_nothing(make, login, acme, uma):
    with unit_of_work() as session:
        session.get_one(Tenant, acme.id).thresholds = []
    make.usage(acme, 60_000, source=make.source())
    assert "of voice minutes used" not in login(uma).get("/portal").get_data(as_text=True)

"""Staff view the portal as a tenant: to read, for a reason, for half an hour, and in the tenant's own log."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from app.core.clock import utc_now
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.web.guards import still_signed_in
from tests.web.test_canary import crawl

VIEW = "/provider/tenants/acme/view"
WHY = {"reason": "Ticket 4711", "role": "admin"}


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)  # a stream would not end


@pytest.fixture
def acme(make):
    tenant = make.tenant("Acme")
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000, "extensions": 5}))
    return tenant


@pytest.fixture
def support(make, acme, login):
    make.tenant("Globex")
    return login(make.staff("sue@northline.example", role=Role.SUPPORT))


@pytest.fixture
def viewer(support):
    assert support.submit(VIEW, WHY).location == "/portal"
    return support


def entries(session):
    session.rollback()
    return list(session.scalars(select(AuditEntry).where(AuditEntry.act.startswith("tenant.view")).order_by("id")))


@pytest.mark.parametrize(
    "sent", [{"role": "admin"}, {"reason": " ", "role": "admin"}, {"reason": "x", "role": "owner"}]
)
def test_without_a_reason_or_with_a_role_of_staff_nothing_is_shown(support, session, sent):
    assert support.submit(VIEW, sent).status_code == 422
    assert support.get("/portal").status_code == 404 and entries(session) == []


@pytest.mark.parametrize("role", [Role.BILLING, Role.READ_ONLY])
def test_who_lacks_the_permission_cannot_view(make, acme, login, role):
    assert login(make.staff(role=role)).submit(VIEW, WHY).status_code == 403


def test_the_tenants_own_pages_are_shown_with_a_banner_that_ends_it(viewer):
    for page in ("/portal", "/portal/usage", "/portal/plans", "/portal/invoices", "/portal/people"):
        answer = viewer.get(page)
        assert answer.status_code == 200 and "You view the portal as Acme" in answer.text, page
        assert 'action="/viewing/end"' in answer.text
    assert viewer.get("/portal/meters").status_code == 200
    answer = viewer.submit("/viewing/end")
    assert answer.location == "/provider/tenants/acme"
    assert viewer.get("/portal").status_code == 404
    assert "You view the portal" not in viewer.get("/provider").text


def test_a_member_is_shown_what_members_see(support):
    support.submit(VIEW, {**WHY, "role": "member"})
    assert support.get("/portal/usage").status_code == 200
    assert support.get("/portal/invoices").status_code == 403


@pytest.mark.databases("sqlite")
def test_nothing_can_be_changed_while_viewing(app, viewer):
    adapter, tried = app.url_map.bind("localhost"), 0
    for rule in app.url_map.iter_rules():
        side = rule.endpoint.partition(".")[0]
        if side not in ("tenant", "provider", "account") or rule.endpoint == "auth.logout":
            continue
        values = dict.fromkeys(rule.arguments, "1") | {
            name: min(kind.items) for name, kind in rule._converters.items() if hasattr(kind, "items")
        }
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            answer = viewer.open(
                adapter.build(rule.endpoint, values), method=method, data={"csrf_token": viewer.csrf_token}
            )
            tried += 1
            assert answer.status_code == 403 and "You view the portal as Acme" in answer.text, (method, rule)
    assert tried > 80
    for page in ("/account", "/account/password", "/portal/notifications", "/provider", "/provider/tenants/globex"):
        assert viewer.get(page).status_code in (403, 404, 308), page


def test_a_look_leaves_no_trace_in_any_table(acme, viewer, make):
    make.package("large", {"voice_minutes": 120_000}, public=True)
    before = _rows()
    looked_at = crawl(viewer, "/portal")
    page = viewer.get("/portal/plans?package=large")
    assert page.status_code == 200 and "Change to" in page.text
    assert len(looked_at) > 20 and _rows() == before


def _rows():
    db.session.rollback()
    tables = [table for table in db.metadata.sorted_tables if table.name != "sign_in"]  # when they were seen
    return {table.name: sorted(map(str, db.session.execute(table.select()))) for table in tables}


def test_it_ends_by_itself_after_half_an_hour(viewer, clock):
    clock.shift(29 * 60)
    assert viewer.get("/portal").status_code == 200
    clock.shift(61)
    assert viewer.get("/portal").status_code == 404
    assert viewer.get("/provider").status_code == 200


def test_it_belongs_to_one_browser_and_ends_with_the_right_to_it(viewer, login, make, session):
    sue = session.scalar(select(Account).where(Account.email == "sue@northline.example"))
    assert login(sue).get("/portal").status_code == 404
    owner = login(make.staff())
    owner.submit(f"/provider/people/{sue.id}/role", {"role": "billing"})
    assert viewer.get("/portal").status_code == 404


def test_its_streams_end_with_the_right_to_it(app, viewer, make, session):
    with viewer.session_transaction() as cookie:
        token = cookie["_user_id"]
    view = accounts.find_session(token, now=utc_now(), idle=app.permanent_session_lifetime).view
    with app.test_request_context():
        assert view and still_signed_in(token, view)
    sue = session.scalar(select(Account).where(Account.email == "sue@northline.example"))
    with unit_of_work() as unit:
        accounts.change_role(unit, unit.merge(sue), Role.BILLING, actor="test", now=utc_now())
    with app.test_request_context():
        assert not still_signed_in(token, view)


def test_it_stands_in_the_tenants_own_log(viewer, acme, session):
    viewer.submit("/viewing/end")
    viewer.submit("/viewing/end")
    begun, ended = entries(session)
    assert (begun.act, begun.actor, begun.tenant_id) == ("tenant.view", "sue@northline.example", acme.id)
    assert begun.details["reason"] == "Ticket 4711" and begun.details["role"] == "admin"
    assert (ended.act, ended.tenant_id) == ("tenant.view_end", acme.id)

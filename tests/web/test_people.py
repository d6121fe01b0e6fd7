"""People and their roles: seen, changed, closed; on either side only one's own."""

from html import unescape

import pytest
from sqlalchemy import select

from app.domain.accounts.models import Account
from app.domain.accounts.roles import TABLE, Role


@pytest.fixture
def owner(make, login):
    return login(make.staff("ann@northline.example", "Ann"))


def role_of(session, account):
    session.rollback()
    return session.scalar(select(Account.role).where(Account.id == account.id))


def test_staff_are_listed_with_role_and_when_they_were_seen(make, owner):
    make.staff("bob@northline.example", "Bob", role=Role.READ_ONLY)
    make.user(make.tenant(), "uma@acme.example")
    page = owner.get("/provider/people").text
    assert "Bob" in page and "bob@northline.example" in page and "never" in page and "Today" in page
    assert "uma@acme.example" not in page, "a tenant's people stand on its page"


def test_a_role_is_changed_and_acts_on_the_next_request(make, owner, login, session):
    bob = make.staff(name="Bob", role=Role.OWNER)
    browser = login(bob)
    assert browser.get("/provider/packages/new").status_code == 200
    answer = owner.submit(f"/provider/people/{bob.id}/role", {"role": "support"}, follow_redirects=True)
    assert f"{bob.email} is Support now." in answer.text
    assert role_of(session, bob) == "support"
    assert browser.get("/provider/packages/new").status_code == 403


@pytest.mark.parametrize("role", ["admin", "emperor", ""])
def test_a_role_of_the_other_side_is_none(make, owner, session, role):
    bob = make.staff(role=Role.SUPPORT)
    assert owner.submit(f"/provider/people/{bob.id}/role", {"role": role}).status_code == 422
    assert role_of(session, bob) == "support"


def test_nobody_changes_their_own_account_here(make, owner, session):
    ann = session.scalar(select(Account).where(Account.email == "ann@northline.example"))
    make.staff(role=Role.OWNER)
    for act in ("role", "close"):
        answer = owner.submit(f"/provider/people/{ann.id}/{act}", {"role": "support"}, follow_redirects=True)
        assert "Somebody else has to do that" in answer.text
    assert role_of(session, ann) == "owner"


def test_who_is_closed_is_out_at_once_and_may_be_let_in_again(make, owner, login, client):
    bob = make.staff("bob@northline.example", role=Role.OWNER)
    browser = login(bob)
    page = owner.submit(f"/provider/people/{bob.id}/close", follow_redirects=True).text
    assert "can no longer sign in" in page and f"/provider/people/{bob.id}/open" in page
    assert browser.get("/provider").status_code == 303
    owner.submit(f"/provider/people/{bob.id}/open")
    assert client.sign_in("bob@northline.example").status_code == 303


def test_a_tenants_admin_looks_after_its_own_people_alone(make, login, session):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    admin, member = login(make.user(acme, "uma@acme.example")), make.user(acme, "mia@acme.example", role=Role.MEMBER)
    stranger, staff = make.user(globex, "gus@globex.example"), make.staff()
    page = admin.get("/portal/people").text
    assert "mia@acme.example" in page and "globex" not in page and "northline" not in page
    assert admin.submit(f"/portal/people/{member.id}/role", {"role": "billing"}).status_code == 303
    assert role_of(session, member) == "billing"
    for other in (stranger, staff):
        assert admin.submit(f"/portal/people/{other.id}/role", {"role": "member"}).status_code == 404
        assert admin.submit(f"/portal/people/{other.id}/close").status_code == 404
    assert role_of(session, stranger) == "admin"


def test_support_looks_after_a_tenants_people_and_not_after_colleagues(make, login, session):
    acme, colleague = make.tenant("Acme"), make.staff(role=Role.READ_ONLY)
    uma, support = make.user(acme), login(make.staff(role=Role.SUPPORT))
    assert support.submit(f"/provider/tenants/acme/people/{uma.id}/close").status_code == 303
    session.rollback()
    assert session.scalar(select(Account.disabled_at).where(Account.id == uma.id))
    assert support.submit(f"/provider/people/{colleague.id}/role", {"role": "owner"}).status_code == 403
    assert support.submit(f"/provider/tenants/acme/people/{colleague.id}/close").status_code == 404
    assert role_of(session, colleague) == "read_only"


def test_support_gives_nobody_a_role_over_money(make, login, session):
    """Else it would invite an address of its own as a tenant's admin, and change the package as that."""
    acme = make.tenant("Acme")
    admin, mia = make.user(acme), make.user(acme, role=Role.MEMBER)
    support, people = login(make.staff(role=Role.SUPPORT)), "/provider/tenants/acme/people"
    for role in ("admin", "billing"):
        sent = support.submit(f"{people}/invite", {"email": f"{role}@northline.example", "role": role})
        assert sent.status_code == 422
        assert support.submit(f"{people}/{mia.id}/role", {"role": role}).status_code == 422
    answer = support.submit(f"{people}/{admin.id}/role", {"role": "member"}, follow_redirects=True)
    assert "Only who may change a package" in unescape(answer.text)
    assert (role_of(session, mia), role_of(session, admin)) == ("member", "admin")
    page = support.get(people).text
    assert f"{mia.id}/role" in page and f"{admin.id}/role" not in page
    assert support.submit(f"{people}/invite", {"email": "m@acme.example", "role": "member"}).status_code == 303
    owner = login(make.staff())
    assert owner.submit(f"{people}/invite", {"email": "a@acme.example", "role": "admin"}).status_code == 303


@pytest.mark.databases("sqlite")
def test_the_matrix_is_drawn_from_the_table(make, owner, login):
    staff_sees = owner.get("/provider/people/rights").text
    granted = sum(len(grant.staff) + len(grant.tenant) for grant in TABLE.values())
    assert staff_sees.count("✓") == granted and staff_sees.count("<tr>") == len(TABLE) + 2
    tenant_sees = login(make.user(make.tenant())).get("/portal/people/rights").text
    assert tenant_sees.count("✓") == sum(len(grant.tenant) for grant in TABLE.values())
    assert "Owner" not in tenant_sees


def test_a_person_is_deleted_after_a_page_that_says_what_stays(make, login, session):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    admins = {name: login(make.user(each)) for name, each in (("acme", acme), ("globex", globex))}
    for name, tenant in (("acme", acme), ("globex", globex)):  # numbers are one's own across tenants
        person = make.user(tenant, f"ann@{name}.example", name="Ann")
        asked, url = admins[name].get("/portal/people").text, f"/portal/people/{person.id}/delete"
        assert url in asked
        page = admins[name].get(url).text
        assert "entries keep the address" in page and "This cannot be undone." in page
        assert admins[name].submit(url, {}).status_code == 303
        assert "ann@" not in admins[name].get("/portal/people").text
        assert admins[name].get(url).status_code == 404
    session.rollback()
    gone = session.scalars(select(Account.name).where(Account.deleted_at.is_not(None)).order_by(Account.name)).all()
    assert gone == ["Deleted person 1", "Deleted person 2"]

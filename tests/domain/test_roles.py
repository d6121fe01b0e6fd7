"""Who may do what, and that somebody can always do everything."""

import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app.core.errors import Conflict, Invalid
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import SENSITIVE, STAFF_ROLES, TABLE, TENANT_ROLES, Permission, Role, fits, who_may
from app.domain.audit.models import AuditEntry


def change_role(account: Account, role: Role, now) -> None:
    with unit_of_work() as session:
        accounts.change_role(session, session.get_one(Account, account.id), role, actor="test", now=now)


def disable(account: Account, now) -> None:
    with unit_of_work() as session:
        accounts.disable_account(session, session.get_one(Account, account.id), actor="test", now=now)


def owners() -> set[str]:
    db.session.rollback()
    found = select(Account.name).where(Account.role == Role.OWNER, Account.disabled_at.is_(None))
    return set(db.session.scalars(found))


def test_the_table_knows_every_permission_and_grants_each_to_roles_of_the_right_side():
    assert set(TABLE) == set(Permission)
    for grant in TABLE.values():
        assert grant.staff <= set(STAFF_ROLES)
        assert grant.tenant <= set(TENANT_ROLES)
        assert grant.staff | grant.tenant


def test_what_was_promised_of_the_roles():
    reads = {permission for permission in Permission if permission.startswith("read_")}
    money = {Permission.CHANGE_BILLING, Permission.CHANGE_CATALOG, Permission.CHANGE_PLANS, Permission.CHANGE_USAGE}

    def of(role: Role, *, is_staff: bool) -> set[Permission]:
        return {permission for permission in Permission if role in who_may(permission, is_staff=is_staff)}

    own = {Permission.USE_OWN_ACCOUNT, Permission.CHANGE_SECOND_FACTOR}
    staff = [of(role, is_staff=True) for role in STAFF_ROLES]
    assert staff[0] == set(Permission) - {Permission.PAY_INVOICES}, "the owner may do all but a tenant's part"
    assert all(reads <= each for each in staff)
    assert not money & of(Role.SUPPORT, is_staff=True)
    assert of(Role.READ_ONLY, is_staff=True) == reads | own
    assert of(Role.MEMBER, is_staff=False) <= reads | own
    assert {Permission.CHANGE_BILLING, Permission.CHANGE_PEOPLE, Permission.CHANGE_KEYS} <= SENSITIVE


def test_each_side_has_its_own_roles(make, now):
    acme = make.tenant()
    with pytest.raises(Invalid):
        make.staff(role=Role.MEMBER)
    with pytest.raises(Invalid):
        make.user(acme, role=Role.OWNER)
    with pytest.raises(Invalid):
        change_role(make.user(acme), Role.SUPPORT, now)
    assert fits(Role.BILLING, is_staff=True) and fits(Role.BILLING, is_staff=False)


def test_the_database_refuses_a_role_of_the_other_side(make):
    make.user(make.tenant())
    with pytest.raises(IntegrityError, match="role_of_its_side"), unit_of_work() as session:
        session.execute(text("UPDATE account SET role = 'owner'"))


def test_another_role_is_audited_and_the_same_is_nothing(make, now):
    user = make.user(make.tenant())
    change_role(user, Role.MEMBER, now)
    change_role(user, Role.MEMBER, now)
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "account.role")).one()
    assert (entry.subject, entry.tenant_id) == (f"account:{user.email}", user.tenant_id)
    assert entry.details == {"changed": {"role": ["admin", "member"]}}


def test_the_last_owner_stays_one(make, now):
    ann, bob = make.staff(name="Ann"), make.staff(name="Bob")
    make.staff(name="Sue", role=Role.SUPPORT)
    change_role(bob, Role.BILLING, now)
    for act in (lambda: change_role(ann, Role.SUPPORT, now), lambda: disable(ann, now)):
        with pytest.raises(Conflict) as refusal:
            act()
        assert refusal.value.code == "last_owner"
    change_role(ann, Role.OWNER, now)
    change_role(bob, Role.OWNER, now)
    disable(ann, now)
    assert owners() == {"Bob"}
    with pytest.raises(Conflict):  # a disabled owner does not count
        change_role(bob, Role.SUPPORT, now)


def test_two_owners_who_demote_each_other_at_once_leave_one(app, make, now):
    people, gate, refused = [make.staff(name=name) for name in ("Ann", "Bob")], threading.Barrier(2), []

    def demote(account: Account) -> None:
        with app.app_context():
            gate.wait(10)
            try:
                run_in_transaction(
                    lambda session: accounts.change_role(
                        session, session.get_one(Account, account.id), Role.SUPPORT, actor="test", now=now
                    )
                )
            except Conflict as error:
                refused.append(error.code)

    for _ in range(10):
        with unit_of_work() as session:
            for account in people:
                session.get_one(Account, account.id).role = Role.OWNER
        threads = [threading.Thread(target=demote, args=(account,)) for account in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused.pop() == "last_owner" and not refused
        assert len(owners()) == 1


def test_a_demotion_that_waits_for_another_sees_what_that_left(app, make, now):
    """The second begins while the first has not committed yet."""
    ann, bob = make.staff(name="Ann"), make.staff(name="Bob")
    answers, begun = [], threading.Event()

    def demote_bob() -> None:
        with app.app_context():
            begun.set()
            try:
                change_role(bob, Role.BILLING, now)
                answers.append("done")
            except Conflict as error:
                answers.append(error.code)

    second = threading.Thread(target=demote_bob)
    with unit_of_work() as session:
        accounts.change_role(session, session.get_one(Account, ann.id), Role.BILLING, actor="test", now=now)
        second.start()
        assert begun.wait(10)
        second.join(0.3)  # it waits for this transaction
        assert answers == []
    second.join(30)
    assert answers == ["last_owner"]
    assert owners() == {"Bob"}

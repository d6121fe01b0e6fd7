"""A person that is deleted: nothing in the database names them any more but the evidence, and the books stand."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import String, Text, cast, func, select, update

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db import Base, db, run_in_transaction, snapshot, unit_of_work
from app.domain.accounts import invitations, links, people, service as accounts
from app.domain.accounts.links import Purpose
from app.domain.accounts.models import Account, SignIn, SignInAttempt, StaffIdentity
from app.domain.accounts.roles import Role
from app.domain.audit import chain
from app.domain.audit.models import AuditEntry
from app.domain.factors.models import Passkey
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.privacy import erasure
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted

ANN, NAME = "ann@acme.example", "Ann Oldname"


@pytest.fixture
def acme(make, now):
    """Acme with two admins; Ann did, was asked and was told what a person does and is."""
    acme = make.tenant("Acme")
    make.subscribe(acme, make.package("gold", {"extensions": 9}))
    make.user(acme, "bob@acme.example", name="Bob")
    ann = make.user(acme, ANN, name=NAME)
    with unit_of_work() as act:
        telephony.add(act, act.merge(acme), "extensions", [Wanted("101")], actor=ANN, now=now)
        invitations.invite(act, acme.id, "new@acme.example", Role.MEMBER, actor=ANN, now=now)
        links.make(act, Purpose.RESET, ANN, account=act.merge(ann), asked_by=ANN, now=now)
        accounts.open_session(act, act.merge(ann), address="192.0.2.7", user_agent="Firefox of Ann", now=now)
        act.add(SignInAttempt(id=new_id(), email=ANN, address="192.0.2.7", at=now, succeeded=False))
        act.add(StaffIdentity(issuer="https://id.example", subject="ann", account_id=ann.id, bound_at=now))
        act.add(Passkey(id=new_id(), account_id=ann.id, credential_id="c", public_key=b"", sign_count=0, transports=[],
                        name="Laptop", created_at=now))  # fmt: skip
        for number, to in enumerate((ANN, "jo" + ANN)):
            jobs.enqueue(act, "mail", f"mail {number}", {"to": to, "subject": "s", "body": "b"}, now=now)
        act.execute(update(Job).where(Job.key == "mail 0").values(dead_at=now, last_error=f"no such address {ANN}"))
    return acme


def erase(account, now, actor="bob@acme.example"):
    return run_in_transaction(
        lambda act: erasure.erase(act, act.get_one(Account, account.id, populate_existing=True), actor=actor, now=now)
    )


def by(email):
    return run_in_transaction(lambda act: accounts.by_email(act, email))


def naming(session, text):
    """The columns in which the text still stands, anywhere in the database."""
    session.rollback()
    return {
        f"{table.name}.{column.name}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if session.scalar(select(func.count()).select_from(table).where(cast(column, Text).contains(text)))
    }


def test_nothing_but_the_trail_names_the_person(acme, session, now):
    account = by(ANN)
    assert {"account.email", "allocation.created_by", "mailed_link.email", "job.payload"} <= naming(session, ANN)
    assert erase(account, now) == "Deleted person 1"
    with unit_of_work() as act:  # what is another person's stays
        assert act.scalars(select(Job.key).where(Job.key.startswith("mail "))).all() == ["mail 1"]
        act.execute(update(Job).values(payload={}))
    assert naming(session, ANN) == {"audit_entry.actor", "audit_entry.subject"}
    for trace in (NAME, "192.0.2.7", "Firefox of Ann", "id.example"):
        assert naming(session, trace) <= {"audit_entry.details"}, trace
    found = session.get_one(Account, account.id)
    assert (found.name, found.email, found.password_hash) == ("Deleted person 1", "deleted person 1", "")
    assert session.scalar(select(func.count()).select_from(Passkey)) == 0
    assert session.scalar(select(func.count()).select_from(SignIn).where(SignIn.ended_at.is_(None))) == 0
    entry = session.scalars(select(AuditEntry).where(AuditEntry.act == "account.erase")).one()
    assert (entry.subject, entry.actor) == ("account:deleted person 1", "bob@acme.example")
    with snapshot() as act:
        assert chain.first_break(act) is None


def test_every_column_that_says_who_did_it_is_known():
    found = {f"{column.table.name}.{column.name}" for column in erasure.actor_columns()}
    assert {"allocation.created_by", "payment.made_by", "subscription_event.actor", "quote.made_by"} <= found
    assert all(isinstance(column.type, String) for column in erasure.actor_columns())


def test_who_is_deleted_is_on_no_list_and_comes_back_as_somebody_new(acme, session, now):
    account = by(ANN)
    erase(account, now)
    assert [each.account.name for each in people.of(session, acme.id)] == ["Bob"]
    assert [each.name for each in accounts.users_of(session, acme.id)] == ["Bob"]
    with pytest.raises(NotFound):
        people.get(session, acme.id, account.id)
    with unit_of_work() as act:
        accounts.enable_account(act, act.get_one(Account, account.id), actor="test", now=now)
        assert act.get_one(Account, account.id).disabled_at == now
        assert invitations.invite(act, acme.id, ANN, Role.ADMIN, actor="test", now=now).email == ANN


def test_numbers_count_on(acme, make, now):
    assert [erase(make.user(acme), now) for _ in range(2)] == ["Deleted person 1", "Deleted person 2"]


def test_the_last_admin_and_the_last_owner_stay(acme, make, session, now):
    erase(by(ANN), now)
    make.user(acme, role=Role.MEMBER)
    with pytest.raises(Conflict, match="stay admin"):
        erase(by("bob@acme.example"), now)
    owner = make.staff(role=Role.OWNER)
    with pytest.raises(Conflict, match="stay owner"):
        erase(owner, now)
    assert by("bob@acme.example").disabled_at is None
    make.staff(role=Role.OWNER)
    erase(owner, now)


def test_two_admins_who_delete_each_other_leave_one(acme, app, session, now):
    refused = []

    def act(account):
        with app.app_context():
            try:
                erase(account, now + timedelta(seconds=1))
            except Conflict as error:
                refused.append(error.code)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=act, args=(by(email),)) for email in (ANN, "bob@acme.example")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["last_admin"]

"""What changes while somebody signs in, or at the same moment elsewhere, counts."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import select

from app.core.errors import Invalid
from app.db import db, unit_of_work
from app.domain.accounts import passwords, recovery, service as accounts, sign_in
from app.domain.accounts.models import Account, MailedLink, SignIn
from app.domain.factors import service as factors
from app.domain.factors.models import Passkey, Totp
from tests.domain.test_factors import register, set_up_app
from tests.factories import PASSWORD

NEW = "a quiet new password"


@pytest.fixture
def elsewhere(app):
    """`elsewhere(act)`: begins `act` in another thread and returns it, on a connection of its own."""
    begun: list[threading.Thread] = []

    def begin(act: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            with app.app_context():
                act()

        thread = threading.Thread(target=run)
        begun.append(thread)
        thread.start()
        return thread

    yield begin
    for thread in begun:
        thread.join(30)


def choose(account_id: int, new: str, now) -> None:
    with unit_of_work() as session:
        accounts.reset_password(session, session.get_one(Account, account_id), new, actor="test", now=now)


@pytest.mark.parametrize("is_stronger", [False, True])
def test_a_password_that_is_replaced_while_it_is_looked_at_opens_nothing(
    make, elsewhere, monkeypatch, now, is_stronger
):
    ann, verify = make.staff("ann@northline.example"), passwords.verify

    def verify_slowly(password: str, known_hash: str | None):
        fits, _ = verify(password, known_hash)
        elsewhere(partial(choose, ann.id, NEW, now)).join(30)
        return fits, known_hash if is_stronger else None

    monkeypatch.setattr(passwords, "verify", verify_slowly)
    with pytest.raises(Invalid, match="not right"):
        accounts.authenticate(db.session(), ann.email, PASSWORD, address="192.0.2.1", now=now)
    monkeypatch.undo()
    assert accounts.authenticate(db.session(), ann.email, NEW, address="192.0.2.1", now=now).id == ann.id


@pytest.mark.parametrize(
    "act",
    [
        partial(sign_in.change_password, new="of an intruder", keep=""),
        partial(recovery.ask_new_email, new="intruder@elsewhere.example"),
    ],
    ids=["password", "email"],
)
def test_a_password_that_is_replaced_as_it_is_said_again_changes_nothing(
    make, elsewhere, monkeypatch, session, now, act
):
    ann, authenticate = make.staff("ann@northline.example"), sign_in.authenticate

    def authenticate_slowly(*arguments, **edge):
        found = authenticate(*arguments, **edge)
        elsewhere(partial(choose, ann.id, NEW, now)).join(30)
        return found

    monkeypatch.setattr(sign_in, "authenticate", authenticate_slowly)
    edge = {"address": "192.0.2.1", "now": now}
    with pytest.raises(Invalid) as refused:
        act(db.session(), ann.email, PASSWORD, **edge)
    assert (refused.value.code, refused.value.details["field"]) == ("wrong_password", "current")
    assert session.scalars(select(MailedLink)).all() == []
    assert authenticate(session, ann.email, NEW, **edge).id == ann.id


def test_who_signs_in_while_the_password_is_changed_is_not_left_signed_in(app, make, elsewhere, session, now):
    ann, statuses = make.staff("ann@northline.example"), []
    ann_id, email, new_hash = ann.id, ann.email, passwords.make_hash(NEW, ann.email)

    def enter() -> None:
        statuses.append(app.test_client().sign_in(email).status_code)

    with unit_of_work() as unit:
        accounts.set_password(unit, ann_id, new_hash, actor="test", now=now)
        thread = elsewhere(enter)
        thread.join(1)  # it waits for this transaction, or was quicker
    thread.join(30)
    session.rollback()
    assert statuses == [422]
    assert session.scalars(select(SignIn).where(SignIn.account_id == ann_id, SignIn.ended_at.is_(None))).all() == []


def test_of_two_factors_removed_at_once_none_is_asked_for(make, elsewhere, session, now):
    ann = make.staff("ann@northline.example")
    set_up_app(ann, now)
    register(ann, now)
    ann_id, passkey_id = ann.id, session.scalars(select(Passkey.id)).one()

    def remove_passkey() -> None:
        with unit_of_work() as unit:
            factors.remove_passkey(unit, ann_id, passkey_id, actor="test", now=now)

    with unit_of_work() as unit:
        factors.remove_totp(unit, ann_id, actor="test", now=now)
        thread = elsewhere(remove_passkey)
        thread.join(1)
    thread.join(30)
    assert not as_it_stands(ann_id).has_second_factor
    assert not factors.factors_of(session, ann_id).any and session.scalars(select(Totp)).all() == []


def as_it_stands(account_id: int) -> Account:
    """As it stands now."""
    db.session.rollback()
    return db.session.get_one(Account, account_id)

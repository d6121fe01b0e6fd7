"""Accounts, the throttle and the sign-ins on the server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.core.errors import Conflict, DomainError, Invalid, Throttled
from app.core.ids import new_id
from app.db import db, unit_of_work
from app.domain.accounts import passwords, service as accounts, throttle
from app.domain.accounts.models import Account, ApiKey, SignIn, SignInAttempt
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.domain.tenants import service as tenants
from app.domain.tenants.service import TenantProfile

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
PASSWORD = "correct horse battery"
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"
IDLE = timedelta(days=14)


@pytest.fixture(autouse=True)
def in_context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


@pytest.fixture
def ann() -> Account:
    with unit_of_work() as session:
        return accounts.create_staff(
            session, " Ann@Example.com", "Ann", PASSWORD, role=Role.SUPPORT, actor="test", now=NOW
        )


def authenticate(password: str = PASSWORD, address: str = HOME, now: datetime = NOW, email: str = "ann@example.com"):
    return accounts.authenticate(db.session(), email, password, address=address, now=now)


def fail(times: int, *, address: str = ELSEWHERE, email: str = "ann@example.com", now: datetime = NOW) -> None:
    """Failed attempts as authenticate() leaves them, without the work of Argon2."""
    with unit_of_work() as session:
        session.add_all(
            SignInAttempt(id=new_id(), email=email, address=address, at=now, succeeded=False) for _ in range(times)
        )


def open_session(account: Account, address: str = HOME, now: datetime = NOW) -> str:
    with unit_of_work() as session:
        return accounts.open_session(session, account, address=address, user_agent="a browser", now=now)


def find(token: str, now: datetime = NOW):
    return accounts.find_session(token, now=now, idle=IDLE)


def test_an_address_is_kept_in_lower_case_and_taken_once(ann: Account) -> None:
    assert ann.email == "ann@example.com"
    assert ann.is_staff
    with pytest.raises(Conflict) as refusal, unit_of_work() as session:
        accounts.create_staff(session, "ANN@example.COM", "Other", PASSWORD, actor="test", now=NOW)
    assert refusal.value.code == "email_taken"


@pytest.mark.parametrize(
    ("email", "password", "code"),
    [
        ("nobody", PASSWORD, "invalid_email"),
        ("a b@example.com", PASSWORD, "invalid_email"),
        ("a@example.com", "eleven chrs", "password_too_short"),
        ("a@example.com", "x" * 1025, "password_too_long"),
        ("someone@example.com", "Someone@Example.com", "password_is_email"),
    ],
)
def test_a_bad_address_or_password_is_refused(email: str, password: str, code: str) -> None:
    with pytest.raises(Invalid) as refusal, unit_of_work() as session:
        accounts.create_staff(session, email, "", password, actor="test", now=NOW)
    assert refusal.value.code == code


def test_a_password_is_kept_as_argon2id_and_read_however_it_was_composed(ann: Account) -> None:
    assert ann.password_hash.startswith("$argon2id$")
    composed = passwords.make_hash("Grüße aus München")
    assert passwords.verify("Gru\u0308ße aus Mu\u0308nchen", composed)[0]


def test_the_right_password_signs_in_and_a_wrong_unknown_or_disabled_account_looks_the_same(ann: Account) -> None:
    assert authenticate(email=" ANN@example.com").id == ann.id
    refusals = []
    for email, password in (("ann@example.com", "wrong password"), ("nobody@example.com", PASSWORD)):
        with pytest.raises(Invalid) as refusal:
            authenticate(password, email=email)
        refusals.append((refusal.value.code, refusal.value.message))
    with unit_of_work() as session:
        accounts.disable_account(session, accounts.by_email(session, "ann@example.com"), actor="test", now=NOW)
    with pytest.raises(Invalid) as refusal:
        authenticate()
    refusals.append((refusal.value.code, refusal.value.message))
    assert refusals[0][0] == "wrong_credentials"
    assert len(set(refusals)) == 1


def test_an_unknown_address_costs_a_verification_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = passwords._hasher.verify_and_update
    monkeypatch.setattr(
        passwords._hasher, "verify_and_update", lambda given, known: asked.append(known) or real(given, known)
    )
    with pytest.raises(Invalid):
        authenticate(email="nobody@example.com")
    assert len(asked) == 1
    assert asked[0].startswith("$argon2id$")


def test_the_attempt_stays_noted_when_the_sign_in_fails(ann: Account) -> None:
    with pytest.raises(Invalid):
        authenticate("wrong password")
    db.session.rollback()
    assert db.session.scalars(select(SignInAttempt.succeeded)).all() == [False]
    authenticate()
    assert sorted(db.session.scalars(select(SignInAttempt.succeeded)).all()) == [False, True]


def test_after_five_wrong_guesses_even_the_right_one_waits_out_the_window(ann: Account) -> None:
    for minute in range(5):
        with pytest.raises(Invalid):
            authenticate("wrong password", now=NOW + timedelta(minutes=minute))
    with pytest.raises(Throttled) as refusal:
        authenticate(now=NOW + timedelta(minutes=5))
    assert refusal.value.details["retry_after"] == 10 * 60  # the first guess leaves the window then
    assert authenticate(now=NOW + timedelta(minutes=15)).id == ann.id


def test_a_refused_attempt_does_not_prolong_the_wait(ann: Account) -> None:
    fail(5, address=HOME)
    for minute in range(1, 15):
        with pytest.raises(Throttled):
            authenticate(now=NOW + timedelta(minutes=minute))
    assert authenticate(now=NOW + timedelta(minutes=15)).id == ann.id


def test_guesses_made_elsewhere_do_not_stop_the_owner(ann: Account) -> None:
    fail(5)
    with pytest.raises(Throttled):
        authenticate(address=ELSEWHERE)
    assert authenticate(address=HOME).id == ann.id


def test_guesses_from_everywhere_do_not_lock_the_owner_out_of_the_usual_place(ann: Account) -> None:
    open_session(ann, address=HOME, now=NOW - timedelta(days=40))
    for number in range(50):
        fail(1, address=f"203.0.113.{number}")
    with pytest.raises(Throttled):
        authenticate(address=ELSEWHERE)
    assert authenticate(address=HOME).id == ann.id


def test_one_address_may_not_try_many_accounts(ann: Account) -> None:
    for number in range(20):
        fail(1, email=f"user{number}@example.com")
    with pytest.raises(Throttled):
        authenticate(address=ELSEWHERE)
    assert authenticate(address=HOME).id == ann.id


def test_a_customers_whole_ipv6_network_counts_as_one_address(ann: Account) -> None:
    fail(5, address=throttle.network_of("2001:db8:1:2::1"))
    with pytest.raises(Throttled):
        authenticate(address="2001:db8:1:2:ffff::9")
    assert authenticate(address="2001:db8:1:3::1").id == ann.id


def test_parallel_guesses_cannot_slip_through_together(app: Flask, ann: Account) -> None:
    outcomes: list[str] = []
    start = Barrier(12)

    def guess() -> None:
        with app.app_context():
            start.wait()
            try:
                authenticate("wrong password")
            except DomainError as error:
                outcomes.append(error.code)

    threads = [Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 12
    assert outcomes.count("wrong_credentials") <= throttle.PER_ACCOUNT_AND_ADDRESS


def test_old_attempts_are_cleared_away_at_a_sign_in(ann: Account) -> None:
    fail(3, now=NOW - timedelta(days=2))
    authenticate()
    assert db.session.scalar(select(func.count()).select_from(SignInAttempt)) == 1


def test_a_sign_in_is_found_by_its_token_of_which_only_a_hash_is_kept(ann: Account) -> None:
    token = open_session(ann)
    found = find(token)
    assert found is not None
    assert found.email == ann.email
    kept = db.session.scalars(select(SignIn)).one()
    assert token not in (kept.token_hash, kept.address, kept.user_agent)
    assert find("another") is None


def test_a_sign_in_ends_by_sign_out_or_disuse(ann: Account) -> None:
    one, other = open_session(ann), open_session(ann)
    with unit_of_work() as session:
        accounts.end_session(session, one, now=NOW)
    assert find(one) is None
    assert find(other) is not None
    assert find(other, now=NOW + IDLE) is None


def test_using_a_sign_in_keeps_it_but_writes_at_most_every_five_minutes(ann: Account) -> None:
    token = open_session(ann)
    found = find(token)
    assert found is not None
    assert not accounts.is_due(found, NOW + timedelta(minutes=4))
    later = NOW + timedelta(days=13)
    assert accounts.is_due(found, later)
    with unit_of_work() as session:
        accounts.touch(session, token, now=later)
        accounts.touch(session, token, now=later + timedelta(minutes=1))
    db.session.expire_all()
    again = find(token, now=NOW + timedelta(days=20))
    assert again is not None
    assert again.seen_at == later


def test_disabling_ends_every_sign_in_at_once_and_enabling_does_not_bring_them_back(ann: Account) -> None:
    token = open_session(ann)
    with unit_of_work() as session:
        accounts.disable_account(session, ann, actor="test", now=NOW)
    assert find(token) is None
    with unit_of_work() as session:
        accounts.enable_account(session, ann, actor="test", now=NOW)
    assert find(token) is None
    assert authenticate().id == ann.id


def test_a_new_password_ends_the_other_sign_ins_alone(ann: Account) -> None:
    here, there = open_session(ann), open_session(ann)
    change = {"address": HOME, "keep": here, "now": NOW}
    with pytest.raises(Invalid) as refusal:
        accounts.change_password(db.session(), ann.email, "wrong password", "a new long password", **change)
    assert refusal.value.details["field"] == "current"
    accounts.change_password(db.session(), ann.email, PASSWORD, "a new long password", **change)
    assert find(here) is not None
    assert find(there) is None
    assert authenticate("a new long password").id == ann.id
    with pytest.raises(Invalid):
        authenticate(PASSWORD)


def test_guesses_of_the_current_password_count_as_attempts(ann: Account) -> None:
    fail(5, address=HOME)
    with pytest.raises(Throttled):
        accounts.change_password(
            db.session(), ann.email, PASSWORD, "a new long password", address=HOME, keep="", now=NOW
        )


def test_a_user_belongs_to_one_tenant() -> None:
    with unit_of_work() as session:
        tenant = tenants.create(session, TenantProfile("acme", "Acme"), actor="test", now=NOW)
        user = accounts.create_user(session, tenant, "office@acme.example", "", PASSWORD, actor="test", now=NOW)
    assert user.tenant_id == tenant.id
    assert not user.is_staff
    assert user.name == "office@acme.example"
    assert [account.email for account in accounts.users_of(db.session(), tenant.id)] == ["office@acme.example"]


def test_every_change_is_audited_and_no_entry_holds_a_secret(ann: Account) -> None:
    with unit_of_work() as session:
        source = accounts.create_source(session, "pbx1", actor="test", now=NOW)
        key = accounts.issue_key(session, source, ["all"], actor="test", now=NOW)
        accounts.revoke_key(session, accounts.find_key(session, key.split("_")[1]), actor="test", now=NOW)
        accounts.reset_password(session, ann, "a new long password", actor="test", now=NOW)
        accounts.disable_account(session, ann, actor="test", now=NOW)
        accounts.enable_account(session, ann, actor="test", now=NOW)
    entries = db.session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [entry.act for entry in entries] == [
        "account.create", "source.create", "key.issue", "key.revoke", "account.password", "account.disable",
        "account.enable",
    ]  # fmt: skip
    written = " ".join(f"{entry.details} {entry.subject}" for entry in entries)
    secret_hash = db.session.scalar(select(ApiKey.secret_hash))
    for secret in (key.split("_")[2], secret_hash, PASSWORD, "a new long password", "$argon2id$"):
        assert secret not in written

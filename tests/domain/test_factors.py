"""Second factors: each proof works once, also for two at once, and nothing kept opens anything."""

from datetime import timedelta
from functools import partial
from threading import Barrier, Thread

import pyotp
import pytest
from sqlalchemy import select

from app.core.errors import Conflict, DomainError, Invalid, NotFound, Throttled
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import demand, service as accounts
from app.domain.accounts.models import Account, SignIn
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.domain.factors import challenges, passkeys, recovery, service as factors, totp
from app.domain.factors.models import Passkey, RecoveryCode, SpentChallenge, Totp
from app.domain.factors.passkeys import Ceremony
from app.domain.factors.sealing import seal, unseal
from tests.authenticator import PRESENT, Authenticator, text

KEY = "of a test"
HERE = Ceremony(KEY, "localhost", "Ringplan", ("http://localhost",), "a browser")
STEP = timedelta(seconds=30)


@pytest.fixture
def ann(make) -> Account:
    return make.staff("ann@northline.example")


def acts(account: Account) -> list[str]:
    found = db.session.scalars(select(AuditEntry).where(AuditEntry.subject == f"account:{account.email}"))
    return sorted(entry.act for entry in found)


def set_up_app(account: Account, now) -> tuple[pyotp.TOTP, list[str]]:
    """An app that is confirmed by its code of `now`, and the recovery codes that came with it."""
    with unit_of_work() as session:
        secret = totp.draft(session, account.id, secret_key=KEY, now=now)
    app = pyotp.TOTP(secret)
    with unit_of_work() as session:
        codes = factors.add_totp(session, account.id, app.at(now), secret_key=KEY, actor=account.email, now=now)
    return app, codes or []


def register(account: Account, now, *, name="Laptop", device: Authenticator | None = None) -> Authenticator:
    device = device or Authenticator()
    options = passkeys.creation_options(db.session(), HERE, account.id, account.email, account.name, now)
    with unit_of_work() as session:
        factors.add_passkey(session, HERE, account.id, device.create(options), name, actor=account.email, now=now)
    return device


def spend_code(account: Account, code: str, now) -> None:
    with unit_of_work() as session:
        totp.spend(session, account.id, code, secret_key=KEY, now=now)


def spend_passkey(account: Account | None, answer: str, now, where: Ceremony = HERE) -> int:
    with unit_of_work() as session:
        return passkeys.spend(session, where, account.id if account else None, answer, now=now)


def has_factor(account: Account) -> bool:
    return bool(db.session.scalar(select(Account.has_second_factor).where(Account.id == account.id)))


def together(times: int, act) -> list[object]:
    """What `act` returns or raises for so many at once."""
    app, start, seen = db.session.get_bind(), Barrier(times), []
    from flask import current_app

    flask_app = current_app._get_current_object()
    assert app is not None

    def run() -> None:
        with flask_app.app_context():
            start.wait()
            try:
                seen.append(act())
            except DomainError as error:
                seen.append(error.code)

    threads = [Thread(target=run) for _ in range(times)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return seen


def test_an_app_counts_once_a_code_of_it_was_shown(ann, now):
    with unit_of_work() as session:
        secret = totp.draft(session, ann.id, secret_key=KEY, now=now)
    assert totp.drafted(db.session(), ann.id, secret_key=KEY) == secret
    code = pyotp.TOTP(secret).at(now)
    assert not has_factor(ann)
    with pytest.raises(Invalid, match="not right"):
        spend_code(ann, code, now)  # a draft opens nothing
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    with pytest.raises(Invalid), unit_of_work() as session:
        factors.add_totp(session, ann.id, wrong, secret_key=KEY, actor=ann.email, now=now + 40 * STEP)
    app, codes = set_up_app(ann, now)
    assert app.secret != secret  # a new draft takes the place of the first
    assert len(codes) == len(set(codes)) == 10
    assert has_factor(ann)
    assert totp.drafted(db.session(), ann.id, secret_key=KEY) is None
    with pytest.raises(Conflict, match="already"), unit_of_work() as session:
        totp.draft(session, ann.id, secret_key=KEY, now=now)


def test_a_code_works_once_and_within_one_step(ann, now):
    app, _ = set_up_app(ann, now)
    with pytest.raises(Invalid):
        spend_code(ann, app.at(now), now)  # it confirmed the app
    later = now + 10 * STEP
    for offset in (-2, 2):
        with pytest.raises(Invalid):
            spend_code(ann, app.at(later + offset * STEP), later)
    spend_code(ann, app.at(later - STEP), later)
    typed = app.at(later + STEP)
    spend_code(ann, f" {typed[:3]} {typed[3:]} ", later)
    for offset in (-1, 0, 1):  # all of a step that was used or lies before it
        with pytest.raises(Invalid):
            spend_code(ann, app.at(later + offset * STEP), later)


@pytest.mark.parametrize("code", ["", "000", "abcdef", "١٢٣٤٥٦", "12345678901234567890", "\0", "-12345", "1e5"])
def test_what_is_no_code_is_refused(ann, now, code):
    set_up_app(ann, now)
    with pytest.raises(Invalid):
        spend_code(ann, code, now + 10 * STEP)


def test_of_two_who_send_a_code_together_one_gets_in(ann, now):
    app, codes = set_up_app(ann, now)
    later, account_id = now + 10 * STEP, ann.id
    db.session.rollback()
    for spend in (
        partial(totp.spend, account_id=account_id, code=app.at(later), secret_key=KEY, now=later),
        partial(recovery.spend, account_id=account_id, code=codes[0], now=later),
    ):
        assert sorted(map(str, together(4, partial(run_in_transaction, spend)))) == [
            "None", "wrong_code", "wrong_code", "wrong_code",
        ]  # fmt: skip


def test_the_secret_is_kept_sealed_for_its_account(ann, make, now):
    app, _ = set_up_app(ann, now)
    kept = db.session.get_one(Totp, ann.id).sealed_secret
    assert app.secret not in kept
    bob, later = make.staff("bob@northline.example"), now + 10 * STEP
    with unit_of_work() as session:  # a row copied by who can write the database alone
        row = {"sealed_secret": kept, "last_step": 0, "created_at": now, "confirmed_at": now}
        session.add(Totp(account_id=bob.id, **row))
    with pytest.raises(Invalid):
        spend_code(bob, app.at(later), later)
    with pytest.raises(Invalid), unit_of_work() as session:
        totp.spend(session, ann.id, app.at(later), secret_key="another", now=later)
    assert unseal(KEY, "a", seal(KEY, "a", "text")) == "text"
    assert unseal(KEY, "b", seal(KEY, "a", "text")) is None


def test_a_recovery_code_works_once_however_it_is_typed(ann, now):
    _, codes = set_up_app(ann, now)
    kept = db.session.scalars(select(RecoveryCode.code_hash)).all()
    assert not set(kept) & {*codes, *(code.replace("-", "") for code in codes)}
    with unit_of_work() as session:
        assert factors.spend_recovery_code(session, ann.id, codes[0].upper().replace("-", " "), now=now) == 9
    for code in (codes[0], "", "aaaa-aaaa-aaaa-aaaa"):
        with pytest.raises(Invalid), unit_of_work() as session:
            factors.spend_recovery_code(session, ann.id, code, now=now)
    with unit_of_work() as session:
        fresh = factors.new_recovery_codes(session, ann.id, actor=ann.email, now=now)
    with pytest.raises(Invalid), unit_of_work() as session:
        factors.spend_recovery_code(session, ann.id, codes[1], now=now)
    assert factors.factors_of(db.session(), ann.id).codes_left == len(set(fresh)) == 10


def test_another_accounts_code_is_refused(ann, make, now):
    _, codes = set_up_app(ann, now)
    bob = make.staff("bob@northline.example")
    with pytest.raises(Invalid), unit_of_work() as session:
        factors.spend_recovery_code(session, bob.id, codes[0], now=now)
    with pytest.raises(Conflict), unit_of_work() as session:
        factors.new_recovery_codes(session, bob.id, actor=bob.email, now=now)


def test_with_the_last_factor_its_recovery_codes_go(ann, now):
    set_up_app(ann, now)
    register(ann, now)
    passkey = factors.factors_of(db.session(), ann.id).passkeys[0]
    with unit_of_work() as session:
        factors.remove_totp(session, ann.id, actor=ann.email, now=now)
        factors.remove_totp(session, ann.id, actor=ann.email, now=now)
    assert has_factor(ann)
    assert factors.factors_of(db.session(), ann.id).codes_left == 10
    with unit_of_work() as session:
        assert factors.remove_passkey(session, ann.id, passkey.id, actor=ann.email, now=now) == "Laptop"
    assert not has_factor(ann)
    assert factors.factors_of(db.session(), ann.id).codes_left == 0
    with pytest.raises(NotFound), unit_of_work() as session:
        factors.remove_passkey(session, ann.id, passkey.id, actor=ann.email, now=now)
    assert acts(ann) == [
        "account.create", "account.passkey_add", "account.passkey_remove", "account.totp_add", "account.totp_remove",
    ]  # fmt: skip


def test_nobody_takes_away_anothers_passkey(ann, make, now):
    register(ann, now)
    passkey, bob = factors.factors_of(db.session(), ann.id).passkeys[0], make.staff("bob@northline.example")
    with pytest.raises(NotFound), unit_of_work() as session:
        factors.remove_passkey(session, bob.id, passkey.id, actor=bob.email, now=now)
    assert has_factor(ann)


def test_a_passkey_proves_its_account_once_per_challenge(ann, make, now):
    device = register(ann, now)
    device.count = 2
    answer = device.get(passkeys.request_options(db.session(), HERE, ann.id, now))
    assert spend_passkey(ann, answer, now) == ann.id
    with pytest.raises(Invalid):
        spend_passkey(ann, answer, now)  # again
    device.count = 3
    answer = device.get(passkeys.request_options(db.session(), HERE, ann.id, now))
    with pytest.raises(Invalid):
        spend_passkey(make.staff("bob@northline.example"), answer, now)
    assert spend_passkey(None, answer, now) == ann.id  # without a password: the device verified its holder
    kept = db.session.scalars(select(Passkey)).one()
    assert (kept.sign_count, kept.used_at) == (3, now)


def test_a_device_that_does_not_count_is_still_asked_a_new_challenge_each_time(ann, now):
    device = register(ann, now, device=Authenticator(count=0))
    answer = device.get(passkeys.request_options(db.session(), HERE, ann.id, now))
    assert spend_passkey(ann, answer, now) == ann.id
    with pytest.raises(Invalid) as refusal:
        spend_passkey(ann, answer, now)
    assert refusal.value.code == "challenge_over"


@pytest.mark.parametrize(
    ("bend", "code"),
    [
        ({"count": 1}, "passkey_refused"),  # a copy of the key lags behind
        ({"origin": "http://localhost.evil.example"}, "passkey_refused"),
        ({"flags": 0}, "passkey_refused"),
        ({"key": Authenticator().key}, "passkey_refused"),
        ({"credential_id": b"unknown"}, "passkey_refused"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(ann, now, bend, code):
    device = register(ann, now)
    device.count = 2
    for name, value in bend.items():
        setattr(device, name, value)
    answer = device.get(passkeys.request_options(db.session(), HERE, ann.id, now))
    with pytest.raises(Invalid) as refusal:
        spend_passkey(ann, answer, now)
    assert refusal.value.code == code


def test_without_a_password_the_device_must_have_verified_its_holder(ann, now):
    device = register(ann, now)
    device.count, device.flags = 2, PRESENT
    options = passkeys.request_options(db.session(), HERE, None, now)
    assert '"userVerification": "required"' in options
    with pytest.raises(Invalid):
        spend_passkey(None, device.get(options), now)
    assert spend_passkey(ann, device.get(passkeys.request_options(db.session(), HERE, ann.id, now)), now)


def test_a_challenge_belongs_to_its_browser_its_purpose_and_ten_minutes(ann, now):
    device = register(ann, now)
    device.count = 2
    answer = device.get(passkeys.request_options(db.session(), HERE, ann.id, now))
    elsewhere = Ceremony(KEY, "localhost", "Ringplan", HERE.origins, "another browser")
    with pytest.raises(Invalid):
        spend_passkey(ann, answer, now, elsewhere)
    for moment in (now - timedelta(minutes=1), now + challenges.VALID_FOR + timedelta(seconds=1)):
        with pytest.raises(Invalid):
            spend_passkey(ann, answer, moment)
    assert spend_passkey(ann, answer, now + timedelta(minutes=4))
    made = challenges.make(KEY, "a browser", now=now)
    for broken in (b"", made[:-1], made + b"\0", bytes(56), b"\xff" * 56):
        with pytest.raises(Invalid), unit_of_work() as session:
            challenges.spend(session, KEY, "a browser", broken, now=now)
    with unit_of_work() as session:  # those of long ago are forgotten
        challenges.spend(
            session, KEY, "a browser", challenges.make(KEY, "a browser", now=now + STEP * 99), now=now + STEP * 99
        )
    assert len(db.session.scalars(select(SpentChallenge)).all()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "{",
        '{"id": "\\u0000", "response": {"clientDataJSON": "eyJ0eXBlIjoiIiwiY2hhbGxlbmdlIjoiIiwib3JpZ2luIjoiIn0"}}',
        "[]",
        "null",
        '{"response": 1}',
        '{"response": {"clientDataJSON": "e30"}}',
        "[" * 9999,
        "x" * 30_000,
    ],
)
def test_what_is_no_answer_of_a_passkey_is_refused(ann, now, answer):
    for act in (
        lambda session: passkeys.spend(session, HERE, None, answer, now=now),
        lambda session: passkeys.register(session, HERE, ann.id, answer, "Laptop", now=now),
    ):
        with pytest.raises(Invalid), unit_of_work() as session:
            act(session)


def test_a_passkey_is_registered_once_and_not_without_end(ann, make, now, monkeypatch):
    device = register(ann, now)
    options = passkeys.creation_options(db.session(), HERE, ann.id, ann.email, ann.name, now)
    assert text(device.credential_id) in options
    with pytest.raises(Invalid):
        register(make.staff("bob@northline.example"), now, device=device)
    monkeypatch.setattr(passkeys, "MOST", 2)
    register(ann, now, name="Phone")
    with pytest.raises(Conflict):
        register(ann, now, name="One more")
    assert [each.name for each in factors.factors_of(db.session(), ann.id).passkeys] == ["Laptop", "Phone"]


def test_guesses_are_throttled_wherever_they_come_from(ann, now):
    app, _ = set_up_app(ann, now)
    later = now + 10 * STEP
    spend = lambda code: lambda session: totp.spend(session, ann.id, code, secret_key=KEY, now=later)  # noqa: E731
    for number in range(5):
        with pytest.raises(Invalid):
            factors.prove(ann.id, spend(f"00000{number}"), address="192.0.2.7", now=later)
    with pytest.raises(Throttled):
        factors.prove(ann.id, spend(app.at(later)), address="192.0.2.7", now=later)
    factors.prove(ann.id, spend(app.at(later)), address="192.0.2.8", now=later)
    for number in range(5):
        with pytest.raises(Invalid):
            factors.prove(ann.id, spend("000000"), address=f"198.51.100.{number}", now=later)
    with pytest.raises(Throttled):
        factors.prove(ann.id, spend(app.at(later + STEP)), address="192.0.2.9", now=later)
    # nobody is kept from signing in to another account, and waiting helps
    assert accounts.authenticate(db.session(), ann.email, "correct horse battery", address="192.0.2.7", now=later)
    waited = later + timedelta(minutes=16)
    factors.prove(
        ann.id, lambda session: totp.spend(session, ann.id, app.at(waited), secret_key=KEY, now=waited),
        address="192.0.2.9", now=waited,
    )  # fmt: skip


def test_a_reset_takes_everything_and_signs_out_everywhere(ann, now):
    set_up_app(ann, now)
    register(ann, now)
    with unit_of_work() as session:
        accounts.open_session(session, ann, address="192.0.2.7", user_agent="a browser", now=now)
    with unit_of_work() as session:
        factors.reset(session, session.get_one(Account, ann.id), actor="owner@northline.example", now=now)
    assert not has_factor(ann)
    for table in (Totp, Passkey, RecoveryCode):
        assert db.session.scalars(select(table)).all() == []
    assert db.session.scalars(select(SignIn)).one().ended_at == now
    assert "account.factor_reset" in acts(ann)


def test_no_entry_of_the_audit_holds_a_secret(ann, now):
    app, codes = set_up_app(ann, now)
    device = register(ann, now)
    with unit_of_work() as session:
        factors.spend_recovery_code(session, ann.id, codes[0], now=now)
    written = " ".join(
        f"{entry.act} {entry.subject} {entry.details}" for entry in db.session.scalars(select(AuditEntry))
    )
    assert "account.recovery_use" in written
    for secret in (app.secret, *codes, device.credential_id.hex()):
        assert secret not in written


def test_a_demand_holds_for_its_side_and_role_until_there_is_a_factor(ann, make, now):
    acme = make.tenant("Acme")
    people = [ann, make.staff(role="billing"), make.user(acme, role="billing"), make.user(acme, role="member")]

    def lacking() -> list[bool]:
        with unit_of_work() as session:
            where = {"address": "192.0.2.7", "user_agent": "", "now": now}
            tokens = [accounts.open_session(session, session.get_one(Account, each.id), **where) for each in people]
        found = [accounts.find_session(token, now=now, idle=timedelta(days=1)) for token in tokens]
        return [each is not None and each.lacks_second_factor for each in found]

    def wanted(*roles: Role, of_staff: bool) -> None:
        with unit_of_work() as session:
            demand.demand(session, frozenset(roles), of_staff=of_staff, actor=ann.email, now=now)

    assert lacking() == [False] * 4
    wanted(Role.BILLING, of_staff=False)
    assert lacking() == [False, False, True, False]
    wanted(Role.OWNER, Role.BILLING, of_staff=True)
    wanted(Role.OWNER, Role.BILLING, of_staff=True)
    assert lacking() == [True, True, True, False]
    register(ann, now)
    assert lacking() == [False, True, True, False]
    assert demand.coverage(db.session(), of_staff=True) == {Role.OWNER: (1, 1), Role.BILLING: (1, 0)}
    assert demand.coverage(db.session(), of_staff=False) == {Role.BILLING: (1, 0), Role.MEMBER: (1, 0)}
    wanted(of_staff=True)
    assert lacking() == [False, False, True, False]
    with pytest.raises(Invalid):
        wanted(Role.OWNER, of_staff=False)
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "second_factor.demand")).all()
    assert [entry.subject for entry in sorted(entries, key=lambda entry: entry.id)] == [
        "second_factor:tenants", "second_factor:staff", "second_factor:staff",
    ]  # fmt: skip

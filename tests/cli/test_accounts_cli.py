"""flask accounts and flask sources."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import Connection, select

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.factors import service as factors, totp
from app.domain.tenants import service as tenants
from app.domain.tenants.service import TenantProfile

PASSWORD = "correct horse battery"


def run(app: Flask, *words: str, typed: str = PASSWORD + "\n") -> Result:
    return app.test_cli_runner().invoke(args=list(words), input=typed)


def may_sign_in(app: Flask, email: str, password: str = PASSWORD) -> bool:
    with app.app_context():
        try:
            accounts.authenticate(db.session(), email, password, address="192.0.2.7", now=utc_now())
        except DomainError:
            return False
        return True


def test_staff_are_made_disabled_and_enabled(app: Flask) -> None:
    assert run(app, "accounts", "create-staff", "Ann@Example.com", "--name", "Ann").exit_code == 0
    assert may_sign_in(app, "ann@example.com")
    refused = run(app, "accounts", "disable", "ann@example.com")
    assert refused.exit_code == 1 and "Somebody has to stay owner" in refused.output
    assert run(app, "accounts", "create-staff", "bob@example.com", "--role", "owner").exit_code == 0
    assert run(app, "accounts", "set-role", "ann@example.com", "read_only").exit_code == 0
    assert run(app, "accounts", "set-role", "ann@example.com", "member").exit_code == 1
    assert run(app, "accounts", "disable", "ann@example.com").exit_code == 0
    assert not may_sign_in(app, "ann@example.com")
    assert run(app, "accounts", "enable", "ann@example.com").exit_code == 0
    assert may_sign_in(app, "ann@example.com")


def test_a_user_is_made_for_the_tenant_of_any_of_its_names(app: Flask) -> None:
    with app.app_context(), unit_of_work() as session:
        profile = TenantProfile("acme", "Acme", domain="acme.example")
        tenant_id = tenants.create(session, profile, actor="test", now=datetime.now(UTC)).id
    assert run(app, "accounts", "create-user", "office@acme.example", "--tenant", "ACME.example").exit_code == 0
    with app.app_context():
        assert accounts.by_email(db.session(), "office@acme.example").tenant_id == tenant_id


def test_a_lost_password_is_replaced(app: Flask) -> None:
    run(app, "accounts", "create-staff", "ann@example.com")
    assert run(app, "accounts", "set-password", "ann@example.com", typed="another long password\n").exit_code == 0
    assert not may_sign_in(app, "ann@example.com")
    assert may_sign_in(app, "ann@example.com", "another long password")


def test_a_source_prints_its_key_alone(app: Flask) -> None:
    result = run(app, "sources", "create", "pbx1", "--name", "PBX", "--scopes", "usage, calls")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    with app.app_context():
        key = accounts.verify_key(db.session(), result.stdout.strip(), utc_now())
        assert key is not None
        assert key.scopes == ("usage", "calls")
        assert key.source.code == "pbx1"


def test_a_key_has_a_label_and_an_end(app: Flask) -> None:
    plain = run(app, "sources", "create", "pbx1", "--label", "Trial", "--days", "30").stdout.strip()
    further = run(app, "sources", "issue-key", "pbx1", "--days", "1").stdout.strip()
    with app.app_context():
        key = accounts.find_key(db.session(), plain.split("_")[1])
        assert key.label == "Trial" and key.expires_at
        for days, first, second in ((0, True, True), (2, True, False), (31, False, False)):
            now = utc_now() + timedelta(days=days)
            assert (accounts.verify_key(db.session(), plain, now) is not None) is first
            assert (accounts.verify_key(db.session(), further, now) is not None) is second


def test_a_key_is_exchanged_without_a_gap(app: Flask) -> None:
    old = run(app, "sources", "create", "pbx1").stdout.strip()
    fresh = run(app, "sources", "issue-key", "pbx1", "--scopes", "all").stdout.strip()
    assert run(app, "sources", "revoke-key", "pbx1", old.split("_")[1]).exit_code == 0
    with app.app_context():
        assert accounts.verify_key(db.session(), old, utc_now()) is None
        assert accounts.verify_key(db.session(), fresh, utc_now()) is not None


@pytest.mark.parametrize(
    ("words", "typed", "says"),
    [
        (("accounts", "create-staff", "ann@example.com"), "short\n", "Use at least 12 characters."),
        (("accounts", "create-staff", "ann@example.com"), "", "Use at least 12 characters."),
        (("accounts", "create-staff", "nonsense"), PASSWORD, "not an e-mail address"),
        (("accounts", "create-user", "a@b.example", "--tenant", "nobody"), PASSWORD, "No tenant is known as"),
        (("accounts", "disable", "nobody@example.com"), "", "Nobody signs in as"),
        (("sources", "create", "PBX 1"), "", "Use small letters"),
        (("sources", "create", "pbx1", "--scopes", "everything"), "", "There is no scope"),
        (("sources", "create", "pbx1", "--scopes", ""), "", "Choose at least one scope."),
        (("sources", "issue-key", "pbx1"), "", "There is no source"),
    ],
)
def test_a_refusal_is_one_line_and_a_failure(app: Flask, words: tuple[str, ...], typed: str, says: str) -> None:
    result = run(app, *words, typed=typed)
    assert result.exit_code != 0
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_database_without_tables_is_said_in_one_line(app: Flask, owner: Connection) -> None:
    db.metadata.drop_all(owner)
    owner.commit()
    result = run(app, "accounts", "create-staff", "ann@example.com")
    assert result.exit_code != 0
    assert "the database refuses" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_lost_second_factor_is_reset(app: Flask) -> None:
    run(app, "accounts", "create-staff", "ann@example.com")
    with app.app_context():
        with unit_of_work() as session:
            account = accounts.by_email(session, "ann@example.com")
            now = utc_now()
            secret = totp.draft(session, account.id, secret_key="of a test", now=now)
            code = pyotp.TOTP(secret).at(now)
            factors.add_totp(session, account.id, code, secret_key="of a test", actor="test", now=now)
            token = accounts.open_session(session, account, address="192.0.2.7", user_agent="a browser", now=now)
        assert db.session.scalar(select(Account.has_second_factor))
    assert run(app, "accounts", "reset-factor", "ann@example.com").exit_code == 0
    with app.app_context():
        assert not db.session.scalar(select(Account.has_second_factor))
        assert accounts.find_session(token, now=utc_now(), idle=timedelta(days=1)) is None
    assert run(app, "accounts", "reset-factor", "nobody@example.com").exit_code == 1

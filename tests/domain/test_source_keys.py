"""Sources and their API keys."""

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app.core.errors import DomainError, Invalid, NotFound
from app.core.usage import SourceSettings
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import ApiKey
from app.domain.audit.models import AuditEntry

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


@pytest.fixture(autouse=True)
def in_context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


def new_key(scopes: tuple[str, ...] = ("all",), code: str = "pbx1") -> str:
    with unit_of_work() as session:
        source = accounts.create_source(session, code, "PBX", actor="test", now=NOW)
        return accounts.issue_key(session, source, scopes, actor="test", now=NOW)


def verify(key: str, now: datetime = NOW) -> accounts.KnownKey | None:
    return accounts.verify_key(db.session(), key, now)


def test_a_key_has_three_parts_and_is_found_again() -> None:
    plain = new_key(("usage", "read"))
    start, prefix, secret = plain.split("_")
    assert start == "rp"
    assert len(prefix) == 10
    assert len(secret) >= 32
    found = verify(plain)
    assert found is not None
    assert found.source.code == "pbx1"
    assert found.scopes == ("usage", "read")
    stored = db.session.scalars(select(ApiKey)).one()
    assert stored.prefix == prefix
    assert secret not in stored.secret_hash


@pytest.mark.parametrize(
    "damage",
    [
        lambda key: "",
        lambda key: "rp__",
        lambda key: key[:-1],
        lambda key: key + "x",
        lambda key: key.replace("rp_", "sk_"),
        lambda key: "rp_0000000000_" + key.split("_")[2],
        lambda key: "rp_\0_" + key.split("_")[2],
        lambda key: key + "\udcff",
        lambda key: key.upper(),
    ],
)
def test_a_damaged_key_is_nobodys(damage: Callable[[str], str]) -> None:
    assert verify(damage(new_key())) is None


def test_keys_overlap_until_one_is_revoked() -> None:
    old = new_key()
    with unit_of_work() as session:
        source = accounts.source_by_code(session, "pbx1")
        fresh = accounts.issue_key(session, source, ["usage"], actor="test", now=NOW)
    assert verify(old)
    assert verify(fresh)
    with unit_of_work() as session:
        source = accounts.source_by_code(session, "pbx1")
        accounts.revoke_key(session, accounts.find_key(session, old.split("_")[1]), actor="test", now=NOW)
    assert verify(old) is None
    assert verify(fresh) is not None


def test_basic_needs_the_code_of_the_keys_own_source() -> None:
    key, other = new_key(), new_key(code="pbx2")
    assert accounts.verify_basic(db.session(), "pbx1", key, NOW) is not None
    assert accounts.verify_basic(db.session(), "pbx1", other, NOW) is None
    assert accounts.verify_basic(db.session(), "pbx1 ünknown", key, NOW) is None


def test_the_use_of_a_key_is_noted_at_most_once_a_minute() -> None:
    key = new_key()

    def used_at(now: datetime) -> datetime | None:
        verify(key, now)
        db.session.rollback()
        return db.session.scalar(select(ApiKey.used_at))

    assert used_at(NOW) == NOW
    assert used_at(NOW + timedelta(seconds=59)) == NOW
    assert used_at(NOW + timedelta(seconds=60)) == NOW + timedelta(seconds=60)


def test_verifying_inside_a_unit_of_work_does_not_wait_for_itself() -> None:
    key = new_key()
    with unit_of_work() as session:
        assert accounts.verify_key(session, key, NOW) is not None


@pytest.mark.parametrize(("scopes", "code"), [((), "missing_scope"), (("usage", "everything"), "unknown_scope")])
def test_only_known_scopes_are_given(scopes: tuple[str, ...], code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        new_key(scopes)
    assert refusal.value.code == code


def test_a_sources_settings_are_kept_and_read_back() -> None:
    settings = SourceSettings(("outbound", "inbound"), ("PJSIP/trunk*",), "Europe/Berlin", fail_open=True)
    with unit_of_work() as session:
        source = accounts.create_source(session, "pbx1", actor="test", now=NOW)
        assert accounts.settings_of(source) == SourceSettings()
        accounts.update_source(session, source, name="PBX one", settings=settings, actor="test", now=NOW)
        accounts.update_source(session, source, name="PBX one", settings=settings, actor="test", now=NOW)
    assert accounts.settings_of(accounts.source_by_code(db.session(), "pbx1")) == settings
    acts = db.session.scalars(select(AuditEntry.act).where(AuditEntry.subject == "source:pbx1")).all()
    assert sorted(acts) == ["source.create", "source.update"]


def test_a_source_is_refused_for_a_bad_or_taken_code_and_bad_settings() -> None:
    new_key()
    for code, settings, reason in (
        ("PBX 1", SourceSettings(), "invalid_code"),
        ("pbx:1", SourceSettings(), "invalid_code"),
        ("pbx1", SourceSettings(), "code_taken"),
        ("pbx2", SourceSettings(time_zone="Mars/Base"), "unknown_timezone"),
        ("pbx2", SourceSettings(metered_directions=("sideways",)), "unknown_direction"),
    ):
        with pytest.raises(DomainError) as refusal, unit_of_work() as session:
            accounts.create_source(session, code, settings=settings, actor="test", now=NOW)
        assert refusal.value.code == reason
    with pytest.raises(NotFound):
        accounts.source_by_code(db.session(), "pbx2")


def test_a_key_ends_when_it_was_said_to() -> None:
    with unit_of_work() as session:
        source = accounts.create_source(session, "pbx1", "PBX", actor="test", now=NOW)
        key = accounts.issue_key(session, source, ["all"], expires_at=NOW + timedelta(days=1), actor="test", now=NOW)
    assert verify(key, NOW + timedelta(hours=23))
    assert verify(key, NOW + timedelta(days=1)) is None


def test_a_key_is_exchanged_with_an_overlap_that_is_chosen() -> None:
    old = new_key(("usage", "read"))
    with unit_of_work() as session:
        found = accounts.find_key(session, old.split("_")[1])
        new = accounts.rotate_key(session, found, timedelta(hours=24), actor="test", now=NOW)
    before, after = verify(old), verify(new)
    assert before
    assert after
    assert (after.scopes, after.source) == (before.scopes, before.source)
    assert verify(old, NOW + timedelta(hours=24)) is None
    assert verify(new, NOW + timedelta(days=400))


def test_what_has_ended_is_not_exchanged() -> None:
    old = new_key()
    with unit_of_work() as session:
        found = accounts.find_key(session, old.split("_")[1])
        accounts.revoke_key(session, found, actor="test", now=NOW)
    with pytest.raises(DomainError, match="ended"), unit_of_work() as session:
        accounts.rotate_key(session, session.merge(found), timedelta(hours=1), actor="test", now=NOW)


def test_a_limited_key_is_followed_by_one_that_lasts_as_long() -> None:
    with unit_of_work() as session:
        source = accounts.create_source(session, "pbx1", "PBX", actor="test", now=NOW)
        old = accounts.issue_key(session, source, ["all"], expires_at=NOW + timedelta(days=90), actor="test", now=NOW)
    later = NOW + timedelta(days=80)
    with unit_of_work() as session:
        found = accounts.find_key(session, old.split("_")[1])
        new = accounts.rotate_key(session, found, timedelta(days=30), actor="test", now=later)
    assert verify(old, NOW + timedelta(days=90)) is None  # an overlap never makes a key last longer
    assert verify(new, later + timedelta(days=89))
    assert verify(new, later + timedelta(days=90)) is None


def rotate(key: str, now: datetime = NOW) -> str:
    with unit_of_work() as session:
        found = accounts.find_key(session, key.split("_")[1])
        return accounts.rotate_key(session, found, timedelta(hours=24), actor="test", now=now)


def test_a_key_is_exchanged_once_and_names_the_one_that_follows() -> None:
    old = new_key()
    new = rotate(old)
    assert accounts.find_key(db.session(), old.split("_")[1]).replaced_by == new.split("_")[1]
    with pytest.raises(DomainError, match="exchanged already"):
        rotate(old, NOW + timedelta(hours=1))
    assert len(db.session.scalars(select(ApiKey)).all()) == 2


def change_end(key: str, expires_at: datetime | None, now: datetime = NOW) -> None:
    with unit_of_work() as session:
        accounts.change_end(session, accounts.find_key(session, key.split("_")[1]), expires_at, actor="test", now=now)


def test_the_end_of_a_key_is_moved_and_the_trail_says_from_when_to_when() -> None:
    key, first, later = new_key(), NOW + timedelta(days=1), NOW + timedelta(days=9)
    for end in (first, first, later, None):
        change_end(key, end)
    assert verify(key, NOW + timedelta(days=400))
    entries = select(AuditEntry).where(AuditEntry.act == "key.end").order_by(AuditEntry.number)
    ends = [None, first.isoformat(), later.isoformat(), None]
    assert [entry.details["changed"]["expires_at"] for entry in db.session.scalars(entries)] == [
        [before, after] for before, after in itertools.pairwise(ends)
    ]


def test_a_key_ends_in_the_future_and_once() -> None:
    key = new_key()
    with pytest.raises(Invalid, match="future"):
        change_end(key, NOW)
    change_end(key, NOW + timedelta(hours=1))
    with pytest.raises(DomainError, match="ended"):
        change_end(key, None, NOW + timedelta(hours=1))


def test_of_many_who_exchange_a_key_at_once_one_does(app: Flask) -> None:
    old, outcomes = new_key(), []

    def exchange() -> None:
        with app.app_context():
            try:
                run_in_transaction(
                    lambda session: accounts.rotate_key(
                        session,
                        accounts.find_key(session, old.split("_")[1]),
                        timedelta(hours=1),
                        actor="test",
                        now=NOW,
                    )
                )
                outcomes.append("new")
            except DomainError as error:
                outcomes.append(error.code)

    threads = [threading.Thread(target=exchange) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["key_ended"] * 3 + ["new"]
    assert len(db.session.scalars(select(ApiKey)).all()) == 2

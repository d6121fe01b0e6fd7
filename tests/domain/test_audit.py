"""The audit trail: every act in one chain, in which no row can be changed, taken out or put in unseen."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, insert, select, update

from app.db import db, run_in_transaction, snapshot, unit_of_work
from app.domain.audit import chain, origin, service as audit
from app.domain.audit.models import AuditEntry, AuditHead


def note(subject, now, act="test.act", **details):
    run_in_transaction(lambda unit: audit.record(unit, "ann", act, subject, now=now, **details))


def entries():
    db.session.rollback()
    return db.session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()


def broken():
    with snapshot() as session:
        return chain.first_break(session)


def tamper(statement):
    with unit_of_work() as unit:
        assert unit.execute(statement).rowcount != 0


@pytest.fixture
def five(app, now):
    for number in range(1, 6):
        note(f"thing:{number}", now + timedelta(microseconds=number), changed={"size": [number, "größer"]})


def test_entries_are_numbered_without_a_gap_and_the_chain_holds(five):
    assert [(each.number, each.subject) for each in entries()] == [(n, f"thing:{n}") for n in range(1, 6)]
    assert broken() is None


def test_an_empty_trail_holds(app):
    assert broken() is None


@pytest.mark.parametrize(
    "values",
    [{"actor": "bob"}, {"act": "x"}, {"subject": "x"}, {"address": "1.2.3.4"}, {"kind": "staff"}, {"tenant_id": 7},
     {"details": {}}, {"hash": "0" * 64}],
)  # fmt: skip
def test_an_edited_row_is_named(five, values):
    tamper(update(AuditEntry).where(AuditEntry.number == 3).values(values))
    assert "entry 3 " in broken().what
    assert broken()[1:] == (5, 2)


def test_an_edited_time_is_named(five, now):
    tamper(update(AuditEntry).where(AuditEntry.number == 3).values(at=now + timedelta(days=1)))
    assert "entry 3 " in broken().what


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_removed_row_is_named(five, number):
    tamper(delete(AuditEntry).where(AuditEntry.number == number))
    assert broken().what == f"entry {number} is missing"


def test_two_rows_that_changed_places_are_named(five):
    for number, other in ((2, 99), (3, 2), (99, 3)):
        tamper(update(AuditEntry).where(AuditEntry.number == number).values(number=other))
    assert "entry 2 " in broken().what


@pytest.mark.parametrize("as_if_it_followed", [True, False])
def test_a_planted_row_is_named(five, as_if_it_followed):
    last = entries()[-1]
    row = {name: getattr(last, name) for name in chain.HASHED} | {"id": 1, "number": 6}
    row["hash"] = chain.hash_of(last.hash, row) if as_if_it_followed else last.hash
    tamper(insert(AuditEntry).values(row))
    assert "entry 6 " in broken().what


def test_another_end_is_named(five):
    tamper(update(AuditHead).values(hash="f" * 64))
    assert broken() == ("the end of the chain is another one", 5, 5)


def test_an_end_that_was_taken_away_is_named(five):
    tamper(delete(AuditHead))
    assert broken() == ("entry 1 (test.act) was added past the end", 0, 1)


def test_a_trail_that_was_emptied_with_its_end_is_named(five):
    tamper(delete(AuditEntry))
    tamper(delete(AuditHead))
    assert broken() == ("the end of the chain is another one", 0, 0)


def fail_after(unit, now, *acts):
    for act in acts:
        audit.record(unit, "ann", act, "thing:x", now=now)
    raise ZeroDivisionError


def test_what_is_rolled_back_leaves_no_entry_and_no_gap(five, now):
    with pytest.raises(ZeroDivisionError):
        run_in_transaction(lambda unit: fail_after(unit, now, "test.lost"))
    with unit_of_work() as unit:
        audit.record(unit, "ann", "test.kept", "thing:1", now=now)
        outer = unit.begin_nested()
        with unit.begin_nested():
            audit.record(unit, "ann", "test.lost", "thing:3", now=now)
        outer.rollback()
        with unit.begin_nested():
            audit.record(unit, "ann", "test.kept", "thing:4", now=now)
    assert [(each.number, each.act) for each in entries()[5:]] == [(6, "test.kept"), (7, "test.kept")]
    assert broken() is None


def test_acts_at_once_make_one_chain(app, now):
    def act(name):
        with app.app_context():
            for number in range(10):
                note(f"{name}:{number}", now)

    threads = [threading.Thread(target=act, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.session.scalar(select(func.count()).select_from(AuditEntry)) == 40
    assert broken() is None


def test_outside_requests_the_kind_is_command_line_or_worker(app, now):
    note("thing:1", now)
    with origin.coming_from(origin.WORKER):
        note("thing:2", now)
    assert [(each.kind, each.address) for each in entries()] == [("command_line", ""), ("worker", "")]

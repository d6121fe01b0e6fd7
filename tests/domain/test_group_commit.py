"""Acts of simultaneous requests share a transaction, and nothing else."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import psycopg
import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import driver
from app.config import Settings
from app.db import db
from app.domain.audit.models import AuditEntry
from app.domain.audit.service import record
from app.group_commit import MOST_AT_ONCE, GroupCommit
from tests.conftest import NOW


def _write(session: Session, names: Sequence[str]) -> list[str]:
    for name in names:
        record(session, "test", "test.act", name, now=NOW)
        session.flush()
        if name.startswith("bad"):
            raise ValueError(name)
    return [f"did {name}" for name in names]


class Groups:
    """A group commit that notes its transactions; the first one waits for `go`."""

    def __init__(self, app: Flask) -> None:
        self.app, self.groups, self.go = app, list[list[str]](), Event()
        self.queue = GroupCommit(self._act)

    def _act(self, session: Session, names: Sequence[str]) -> list[str]:
        self.groups.append(list(names))
        self.go.wait(10)
        return _write(session, names)

    def run(self, name: str) -> str:
        with self.app.app_context():
            return self.queue.run(name)

    def run_all(self, names: Sequence[str]) -> list[str | BaseException]:
        """The outcome of each, the first on its way before the others come."""
        with ThreadPoolExecutor(len(names)) as pool:
            futures = [pool.submit(self.run, names[0])]
            while not self.groups:
                pass
            futures += [pool.submit(self.run, name) for name in names[1:]]
            while len(self.queue._waiting) < len(names) - 1:
                pass
            self.go.set()
        return [future.exception() or future.result() for future in futures]


def _kept() -> set[str]:
    db.session.rollback()
    return set(db.session.scalars(select(AuditEntry.subject).where(AuditEntry.act == "test.act")))


def test_what_comes_meanwhile_is_done_in_one_transaction(app: Flask) -> None:
    groups = Groups(app)
    names = ["first", "a", "b", "c"]

    assert groups.run_all(names) == [f"did {name}" for name in names]
    assert [sorted(group) for group in groups.groups] == [["first"], ["a", "b", "c"]]
    assert _kept() == set(names)


def test_one_that_fails_takes_nobody_with_it(app: Flask) -> None:
    groups = Groups(app)

    outcomes = groups.run_all(["first", "a", "bad one", "b"])

    assert isinstance(outcomes[2], ValueError)
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["did first", "did a", "did b"]
    assert _kept() == {"first", "a", "b"}


def test_a_database_that_is_away_is_waited_for_once(app: Flask) -> None:
    groups = Groups(app)
    act = groups.queue._act

    def away(session: Session, names: Sequence[str]) -> Sequence[str]:
        outcomes = act(session, names)
        if names != ["first"]:
            raise OperationalError("SELECT 1", None, Exception("connection refused"))
        return outcomes

    groups.queue._act = away

    outcomes = groups.run_all(["first", "a", "b"])

    assert outcomes[0] == "did first"
    assert [type(outcome) for outcome in outcomes[1:]] == [OperationalError] * 2
    assert [sorted(group) for group in groups.groups] == [["first"], ["a", "b"]]
    assert _kept() == {"first"}


@pytest.mark.databases("postgresql")
@pytest.mark.parametrize("breaks", ["in the act", "at the commit"])
def test_a_connection_that_breaks_is_an_error_of_one_group_alone(app: Flask, settings: Settings, breaks: str) -> None:
    groups = Groups(app)

    def broken(session: Session, names: Sequence[str]) -> Sequence[str]:
        outcomes = _write(session, names)
        pid = session.scalar(select(func.pg_backend_pid()))
        with psycopg.connect(settings.DATABASE_URL, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        if breaks == "in the act":
            driver.run(session.connection(), "SELECT 1 AS one", {})
        return outcomes

    groups.queue._act, act = broken, groups.queue._act
    with pytest.raises(OperationalError):
        groups.run("lost")
    groups.queue._act = act
    groups.go.set()

    assert [groups.run(name) for name in ("a", "b")] == ["did a", "did b"]
    assert _kept() == {"a", "b"}


def test_an_act_that_gives_too_few_outcomes_fails_for_all_and_is_over(app: Flask) -> None:
    groups = Groups(app)
    act = groups.queue._act
    groups.queue._act = lambda session, names: act(session, names)[:1]

    outcomes = groups.run_all(["first", "a", "b"])

    assert outcomes[0] == "did first"
    assert sum(isinstance(outcome, ValueError) for outcome in outcomes) >= 1
    assert None not in outcomes
    assert not groups.queue._waiting
    assert not groups.queue._is_led


def test_a_crowd_is_done_in_parts(app: Flask) -> None:
    groups = Groups(app)
    names = [f"n{number}" for number in range(MOST_AT_ONCE + 10)]

    assert groups.run_all(names) == [f"did {name}" for name in names]
    assert max(len(group) for group in groups.groups) == MOST_AT_ONCE
    assert db.session.scalar(select(func.count()).where(AuditEntry.act == "test.act")) == len(names)


def test_alone_it_is_a_transaction_like_any_other(app: Flask) -> None:
    queue = GroupCommit(_write)

    assert queue.run("alone") == "did alone"
    with pytest.raises(ValueError, match="bad"):
        queue.run("bad")
    assert _kept() == {"alone"}

"""Base, column kinds, engine set-up and the one place that commits."""

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Annotated, Any, TypeVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    DateTime,
    Engine,
    ForeignKey,
    MetaData,
    Row,
    String,
    TypeDecorator,
    bindparam,
    event,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from app import lanes

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every model's base; constraint names follow one convention so that migrations can name them."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC moment on every database: naive values are refused, SQLite gives aware ones back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Column kinds (an Annotated each, since a type_annotation_map and Flask-SQLAlchemy exclude one another).
Id = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=False)]
Ref = Annotated[int, mapped_column(BigInteger)]
TenantId = Annotated[int, mapped_column(BigInteger, ForeignKey("tenant.id"), primary_key=True, autoincrement=False)]
Utc = Annotated[datetime, mapped_column(UtcDateTime)]
Micros = Annotated[int, mapped_column(BigInteger)]
Quantity = Annotated[int, mapped_column(BigInteger)]
Code = Annotated[str, mapped_column(String(64))]
Line = Annotated[str, mapped_column(String(255))]

_log = logging.getLogger(__name__)


class Database(SQLAlchemy):
    """Flask-SQLAlchemy, for which a connection that broke after its last statement undoes no answer."""

    def _teardown_session(self, exc: BaseException | None) -> None:
        """Forget the context's session in any case: nothing is lost with it, and the pool replaces the connection."""
        try:
            super()._teardown_session(exc)
        except DBAPIError as error:
            self.session.registry.clear()
            _log.warning("a connection broke as it was given back: %s", type(error.orig).__name__)


db = Database(model_class=Base, session_options={"expire_on_commit": False, "autoflush": False})

MAX_TRIES = 5
T = TypeVar("T")


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One business act, one transaction: commits at the end, or rolls everything back; always, after `keep_nothing`.

    Ends the request's read transaction first, so that the act sees the newest rows; on SQLite it takes
    the write lock at once (`BEGIN IMMEDIATE`), since a reader that turns writer may be refused.
    """
    session = db.session()
    if session.new or session.dirty or session.deleted:
        raise RuntimeError("rows were changed outside unit_of_work()")
    with lanes.outside():  # writers wait for one another
        session.rollback()
        session.connection(execution_options={"writes": True})
    try:
        yield session
        with lanes.outside():
            if session.info.get("keeps_nothing"):
                session.rollback()
            else:
                session.commit()
    except BaseException:
        session.rollback()
        raise


def keep_nothing() -> None:
    """From now on the running request is a look: its acts are shown as if they had been done, and leave no trace."""
    db.session().info["keeps_nothing"] = True


@contextmanager
def snapshot() -> Iterator[Session]:
    """One read transaction that sees one moment, however much is written meanwhile; nothing may be written in it."""
    session = db.session()
    session.rollback()
    # SQLite's readers see one moment anyway.
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    session.connection(execution_options=options if session.get_bind().dialect.name == "postgresql" else {})
    try:
        yield session
    finally:
        session.rollback()


def is_retryable(error: DBAPIError) -> bool:
    """True for a lost race: serialization failure, deadlock, a key taken meanwhile or a busy SQLite file."""
    if isinstance(error, IntegrityError):
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state in {"40001", "40P01"} or (isinstance(error, OperationalError) and "locked" in str(error.orig))


def is_disk_full(error: BaseException) -> bool:
    """True when the database has no room to write: SQLITE_FULL, or disk_full of PostgreSQL."""
    cause = getattr(error, "orig", None)
    return (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(cause, "sqlstate", None) == "53100"
    )


def init_engine(engine: Engine) -> None:
    """Install the SQLite pragmas and its orderly queue of writers; on PostgreSQL, the look at idle connections."""
    if engine.dialect.name != "sqlite":
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_ping_idle, engine.dialect))
        return
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "checkin", _leave_queue)
    event.listen(engine, "close", _close_queue)


PING_AFTER = 1.0  # seconds; a busy connection proves itself, and to ask it each time costs a tenth of a short request


def _note_use(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = monotonic()


def _ping_idle(dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, proxy: object) -> None:
    """Have the pool replace a connection that broke while nobody used it, as when the server was restarted."""
    if monotonic() - record.info.get("used_at", 0.0) < PING_AFTER:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def _prepare_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=30000",
        "foreign_keys=ON",
        "cache_size=-32000",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN")
        return
    # A file lock before BEGIN IMMEDIATE makes writers wait for one another in turn: SQLite's own
    # busy handler sleeps and guesses, and starves a writer for seconds (see README, Decisions).
    path = connection.engine.url.database
    if path and path != ":memory:":
        handle = connection.info.get("write_queue")
        if handle is None:
            handle = connection.info["write_queue"] = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except BaseException:
        if handle := connection.info.get("write_queue"):
            fcntl.flock(handle, fcntl.LOCK_UN)
        raise


def _leave_queue(connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    """Let the next writer in, once COMMIT or ROLLBACK has run and the connection is back in its pool."""
    handle = record.info.get("write_queue")
    if handle is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _close_queue(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    handle = record.info.pop("write_queue", None)
    if handle is not None:
        os.close(handle)


def rowcount(result: Any) -> int:
    """Rows a DML statement touched; typed once here because SQLAlchemy types it on the cursor result alone."""
    return int(result.rowcount)


def among(session: Session, values: Iterable[Any], *columns: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """The column is one of `values`, or the columns are one of these tuples; in one parameter a column at the most.

    For hundreds of them, which cost more to word each by itself than to look up.
    """
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    if session.get_bind().dialect.name == "postgresql":
        lists = zip(*rows, strict=True) if rows else [()] * len(columns)
        given = [
            bindparam(None, list(each), type_=ARRAY(column.type)) for each, column in zip(lists, columns, strict=True)
        ]
        table = (
            func.unnest(*given).table_valued(*(f"value_{number}" for number in range(len(columns)))).render_derived()
        )
        return tuple_(*columns).in_(select(*table.c))
    value = func.json_each(json.dumps(rows, default=str)).table_valued("value").c.value
    return tuple_(*columns).in_(select(*(func.json_extract(value, f"$[{number}]") for number in range(len(columns)))))


def insert_new(
    session: Session | Connection,
    model: type[Base],
    rows: Sequence[dict[str, Any]],
    key: Sequence[InstrumentedAttribute[Any]],
) -> Sequence[Row[Any]]:
    """Insert those `rows` whose unique `key` is not taken; returns the keys that went in."""
    connection = session.connection() if isinstance(session, Session) else session
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(model).on_conflict_do_nothing(index_elements=[each.name for each in key])
    # As parameters and not as `values(rows)`: that one is compiled anew for each number of rows.
    return connection.execute(statement.returning(*key), list(rows)).all()


class LostRace(Exception):
    """A concurrent transaction came first; the whole act is to be tried again on what it left."""


def run_in_transaction(act: Callable[[Session], T]) -> T:
    """`act` in a unit of work, tried again a few times when a concurrent transaction got in its way."""
    for tries_left in reversed(range(MAX_TRIES)):
        try:
            with unit_of_work() as session:
                return act(session)
        except (LostRace, DBAPIError) as error:
            if not tries_left or (isinstance(error, DBAPIError) and not is_retryable(error)):
                raise
    raise AssertionError("unreachable")

"""Statements straight through the driver: within the transaction of a SQLAlchemy connection, or outside of any.

For those of call control, of counting usage and of what every request asks: SQLAlchemy costs four times as much as the
statement itself.
"""

from collections import deque, namedtuple
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from app.core.statements import as_moment, for_driver
from app.db import db


def run(connection: Connection, statement: str, values: Mapping[str, Any]) -> tuple[list[Any], int]:
    """What `statement` with `:names` (see `for_driver`) returns, as named tuples, and how many rows it touched.

    Columns called `…_at` are aware moments and `…_on` dates on both databases. Raises what SQLAlchemy would.
    """
    driver: Any = connection.connection.dbapi_connection
    cursor = driver.cursor()
    try:
        _execute(cursor, *for_driver(connection.dialect.name, statement, values))
        if statement not in _shapes:  # psycopg makes an object for each column, each time that it describes them
            described = cursor.description
            _shapes[statement] = _shape(tuple(column[0] for column in described)) if described else None
        shape = _shapes[statement]
        if shape is None:
            return [], int(cursor.rowcount)
        rows = cursor.fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(connection, statement, values, error) from error
    finally:
        cursor.close()
    row_of, places = shape
    return [row_of._make(_read(row, places) if places else row) for row in rows], int(cursor.rowcount)


def run_each(connection: Connection, statement: str, rows: list[tuple[Any, ...]]) -> int:
    """How many rows `statement` with `?` touched, run once for each of `rows` (on SQLite, where that is quickest)."""
    driver: Any = connection.connection.dbapi_connection
    try:
        cursor = driver.cursor()
        _execute(cursor, statement, rows)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(connection, statement, None, error) from error
    return int(cursor.rowcount)


def _as_sqlalchemy(connection: Connection, statement: str, values: Any, error: Exception) -> BaseException:
    kind = connection.dialect.loaded_dbapi.Error
    return DBAPIError.instance(statement, values, error, kind, hide_parameters=True, dialect=connection.dialect)


def _execute(cursor: Any, statement: str, values: Mapping[str, Any] | list[tuple[Any, ...]]) -> None:
    (cursor.executemany if isinstance(values, list) else cursor.execute)(statement, values)


# Of each statement, of which there are few; None of those that return nothing.
_shapes: dict[str, tuple[Any, tuple[tuple[int, bool], ...]] | None] = {}


def _shape(names: tuple[str, ...]) -> tuple[Any, tuple[tuple[int, bool], ...]]:
    """The named tuple of a row, and where its moments (True) and dates are."""
    places = tuple((place, name.endswith("_at")) for place, name in enumerate(names) if name.endswith(("_at", "_on")))
    return namedtuple("Row", names), places


def _read(row: tuple[Any, ...], places: tuple[tuple[int, bool], ...]) -> list[Any]:
    found = list(row)
    for place, is_moment in places:
        value = found[place]
        if value is not None and is_moment:
            found[place] = as_moment(value)
        elif isinstance(value, str):
            found[place] = date.fromisoformat(value)
    return found


READS = "reads"  # the bind whose connections are outside any transaction


def read_once(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Rows of one plain SELECT with `:names`, outside any transaction and straight through the driver.

    For what every request asks: through a session the same costs ten times as much. What comes back is what the driver
    makes of it: SQLite gives text for dates. Raises OperationalError as the session does; a connection that broke
    meanwhile, as after a restart of the server, is tried once more.
    """
    engine = db.engines[READS]
    statement, parameters = for_driver(engine.dialect.name, statement, parameters)
    for is_last in (False, True):
        try:
            return _fetch(engine, statement, parameters)
        except DBAPIError:
            if is_last:
                raise
            engine.dispose()
    raise AssertionError("unreachable")


def _fetch(engine: Engine, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    idle = _idle.get(engine)
    if idle is None:
        event.listen(engine, "engine_disposed", _close_idle)
        idle = _idle.setdefault(engine, deque())
    connection = None
    try:
        connection = _taken(idle) or engine.raw_connection()
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
        cursor.close()
    except engine.dialect.loaded_dbapi.Error as error:
        if connection is not None:
            connection.invalidate()
        raise OperationalError(statement, None, error) from error
    if len(idle) < MOST_IDLE:
        idle.append(connection)
    else:
        connection.close()
    return list(rows)


# Connections between two reads. They stay taken from their engine's pool: to give one back and take it again costs more
# than most of these statements. Fewer than a pool has, so that whoever waits for the pool is served.
MOST_IDLE = 16
_idle: dict[Engine, deque[Any]] = {}


def _taken(idle: deque[Any]) -> Any:
    with suppress(IndexError):  # another thread may take the last one at any moment
        return idle.pop()
    return None


def _close_idle(engine: Engine) -> None:
    for connection in _idle.pop(engine, ()):
        connection.detach()  # or it would go back to a pool that is gone, and stay open
        connection.close()

"""Statements straight through the driver, within the transaction of a SQLAlchemy connection.

For those of call control and of counting usage: SQLAlchemy costs four times as much as the statement itself.
"""

from collections import namedtuple
from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.core.statements import as_moment, for_driver


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

"""SQL with `:names` as sqlite3 and psycopg want it, and what they return as Python means it.

For statements that go straight through a driver: see app/driver.py.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

_NAMED = re.compile(r"(?<!:):([a-z_]+)\b")
_ANY = re.compile(r"= ANY\(:([a-z_]+)\)")


def for_driver(dialect: str, statement: str, values: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A statement with `:names`, and `= ANY(:names)` for one of a list, as the driver of `dialect` wants it; and
    its values.

    SQLite keeps moments as text in UTC without an offset (see UtcDateTime of app/db.py), and dates as text.
    """
    alone = tuple(name for name, value in values.items() if type(value) is list and len(value) == 1)
    if alone:
        values = {**values, **{name: values[name][0] for name in alone}}
    if dialect == "sqlite":
        values = {name: value if type(value) in _AS_IT_IS else _for_sqlite(value) for name, value in values.items()}
    return _worded(dialect, statement, alone), values


@lru_cache(maxsize=512)
def _worded(dialect: str, statement: str, alone: tuple[str, ...]) -> str:
    """Lists of one, which are most, are compared as what is in them: a planner that expects several scans the table."""
    for name in alone:
        statement = statement.replace(f"= ANY(:{name})", f"= :{name}")
    if dialect == "sqlite":
        return _ANY.sub(r"IN (SELECT value FROM json_each(:\1))", statement)
    return _NAMED.sub(r"%(\1)s", statement)


_AS_IT_IS = frozenset({str, int, bool, type(None)})


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, list) else value


def as_moment(value: datetime | str) -> datetime:
    """An aware UTC moment of what `read_once` found."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)


def as_json(value: Any) -> Any:
    """What a JSON column holds, of what `read_once` found: SQLite keeps text."""
    return json.loads(value) if isinstance(value, str) else value

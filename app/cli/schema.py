"""The database's schema: made by whichever command comes first, brought to a newer version by `flask serve`."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import flask_migrate
from flask import current_app
from sqlalchemy import func, inspect, select

from app.config import Settings
from app.db import db

MIGRATION_KEY = 7_265_706  # of PostgreSQL's advisory lock: any number, always the same
P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time makes or changes tables: by a lock of the folder, and of the database on PostgreSQL."""
    settings: Settings = current_app.config["RINGPLAN"]
    with (Path(settings.RINGPLAN_INSTANCE) / "starting.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with db.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_KEY)))
            yield


def on_schema(command: Callable[P, R]) -> Callable[P, R]:
    """A command that may be the first one of an installation: where there are no tables yet, they are made before it.

    Tables of an older version stay as they are, since a server of that version may be running.
    """

    @wraps(command)
    def prepared(*args: P.args, **kwargs: P.kwargs) -> R:
        with alone():  # beside a first start of the server it waits for all of the tables
            if not inspect(db.engine).has_table("alembic_version"):
                flask_migrate.upgrade()
        return command(*args, **kwargs)

    return prepared

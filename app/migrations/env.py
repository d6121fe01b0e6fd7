"""Alembic under Flask-Migrate: one database, constraint names from the convention, batches for SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from alembic import context
from flask import current_app
from sqlalchemy import Connection, Engine, NullPool, create_engine, func, select
from sqlalchemy.exc import DataError, OperationalError

from app import wall
from app.config import owner_url

config = context.config
database = current_app.extensions["migrate"].db

LOCK_TIMEOUT = "15s"  # whatever waits for a table's lock lets nobody else at the table meanwhile


def run() -> None:
    """Run the migrations in one transaction, the wall between tenants down meanwhile; it stands at the newest."""
    with owner().connect() as connection, unenforced(connection):
        context.configure(connection=connection, target_metadata=database.metadata, render_as_batch=True)
        with context.begin_transaction(), bounded_waits(connection):
            if connection.dialect.name == "postgresql" and not is_there_already():
                wall.lower_wall(connection)
            context.run_migrations()
            if connection.dialect.name == "postgresql" and is_newest():
                wall.raise_wall(connection, database.metadata, web_role())
        connection.commit()


def owner() -> Engine:
    """Who owns the tables."""
    url = owner_url(current_app.config["RINGPLAN"])
    if not url:
        found: Engine = database.engine
        return found
    engine = create_engine(url, poolclass=NullPool)
    wall.init_engine(engine)
    return engine


def web_role() -> str:
    """As whom the portal connects."""
    with database.engine.connect() as connection:
        return str(connection.exec_driver_sql("SELECT session_user").scalar_one())


def is_there_already() -> bool:
    """Whether there is nothing to migrate, as at most starts."""
    try:
        wanted = context.get_revision_argument()
    except KeyError:  # a command that only looks
        return True
    return context.get_context().get_current_heads() == ((wanted,) if isinstance(wanted, str) else wanted or ())


def is_newest() -> bool:
    """Whether the schema is that of the models."""
    return context.get_context().get_current_heads() == tuple(context.script.get_heads())


@contextmanager
def bounded_waits(connection: Connection) -> Iterator[None]:
    """On PostgreSQL give up, in one line, when others do not let go of a table; `-x lock_timeout=1min` waits longer."""
    if connection.dialect.name != "postgresql":
        yield
        return
    longest = context.get_x_argument(as_dictionary=True).get("lock_timeout", LOCK_TIMEOUT)
    try:
        connection.execute(select(func.set_config("lock_timeout", longest, True)))
    except DataError:
        raise click.ClickException(f"lock_timeout={longest} is no duration such as 30s or 1min") from None
    try:
        yield
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) not in {"55P03", "40P01"}:  # lock not available, deadlock
            raise
        raise click.ClickException(
            f"nothing was migrated: others held a table for longer than {longest}. Try again when they are done,"
            " stop the server and the worker, or wait longer with flask db upgrade -x lock_timeout=1min"
        ) from None


@contextmanager
def unenforced(connection: Connection) -> Iterator[None]:
    """No foreign keys on SQLite: a batch copies a table under a new name and drops the old one, which others refer to.

    Said to the driver, since SQLite ignores it within a transaction, and SQLAlchemy begins one for every statement.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys=ON")


run()

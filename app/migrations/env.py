"""Alembic under Flask-Migrate: one database, constraint names from the convention, batches for SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from flask import current_app
from sqlalchemy import Connection

config = context.config
database = current_app.extensions["migrate"].db


def run() -> None:
    """Run the migrations in one transaction."""
    with database.engine.connect() as connection, unenforced(connection):
        context.configure(connection=connection, target_metadata=database.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


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

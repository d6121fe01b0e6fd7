"""Alembic under Flask-Migrate: one database, constraint names from the convention, batches for SQLite."""

from alembic import context
from flask import current_app

config = context.config
database = current_app.extensions["migrate"].db


def run() -> None:
    """Run the migrations in one transaction each."""
    with database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            # A batch copies a table under a new name; with enforcement on, the drop would cascade.
            connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
            connection.rollback()
        context.configure(connection=connection, target_metadata=database.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")


run()

"""The migrations make exactly the tables of the models, and can be taken back."""

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, func, inspect, select

from app import create_app
from app.config import Settings
from app.db import db
from tests.conftest import DATABASES, NOW
from tests.factories import Make

both = pytest.mark.parametrize("empty_database_url", DATABASES, indirect=True)


@pytest.fixture
def migrations(empty_database_url, tmp_path):
    app = create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=empty_database_url))
    with app.app_context():
        yield flask_migrate
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def differences():
    with db.engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), db.metadata)


def check_constraints():
    found = inspect(db.engine)
    return {check["name"] for table in db.metadata.sorted_tables for check in found.get_check_constraints(table.name)}


@both
def test_the_newest_revision_has_the_tables_of_the_models(migrations):
    migrations.upgrade()
    assert differences() == []
    declared = {
        str(constraint.name)
        for table in db.metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert declared == check_constraints()


@both
def test_migrations_can_be_taken_back_and_applied_again(migrations):
    migrations.upgrade()
    migrations.downgrade(revision="base")
    assert inspect(db.engine).get_table_names() == ["alembic_version"]
    migrations.upgrade()
    assert differences() == []


@both
def test_migrations_keep_what_is_in_the_tables(migrations):
    migrations.upgrade()
    make = Make(NOW)
    tenant = make.tenant()
    make.user(tenant)
    make.subscribe(tenant, make.package(limits={"voice_minutes": 6_000}))
    make.usage(tenant, 60, source=make.source())
    kept = rows()
    migrations.downgrade(revision="0003")
    migrations.upgrade()
    assert rows() == kept
    with db.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def rows():
    """How many rows each table has."""
    with db.engine.connect() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table))
            for table in db.metadata.sorted_tables
        }


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_no_table_needs_a_sequence(migrations):
    migrations.upgrade()
    assert inspect(db.engine).get_sequence_names() == []

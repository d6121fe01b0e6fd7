"""The migrations make exactly the tables of the models, and can be taken back."""

import click
import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, func, inspect, select

from app import create_app
from app.config import Settings
from app.db import db, snapshot, unit_of_work
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Role
from app.domain.audit import chain
from app.domain.audit.models import AuditEntry
from app.domain.billing import profiles, service as billing
from app.domain.billing.lines import Rate
from app.domain.billing.models import InvoiceLine
from app.domain.billing.terms import Issuer, Terms
from app.domain.subscriptions import service as subscriptions
from tests.conftest import DATABASES, NOW
from tests.factories import Make

both = pytest.mark.parametrize("empty_database_url", DATABASES, indirect=True)


@pytest.fixture
def app_of_migrations(empty_database_url, tmp_path):
    app = create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=empty_database_url))
    with app.app_context():
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.fixture
def migrations(app_of_migrations):
    return flask_migrate


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


@both
def test_invoices_from_before_the_margin_get_their_cost_package_and_net(migrations):
    migrations.upgrade()
    make, terms = Make(NOW), Terms(Issuer("Northline"), tax_code="gross")
    tenant = make.tenant()
    subscription = make.subscribe(tenant, make.package("a", price_micros=49_000_000, cost_micros=20_000_000))
    with unit_of_work() as session:
        profiles.save_rate(session, Rate("gross", "VAT", 190_000, inclusive=True), actor="t", now=NOW)
    with unit_of_work() as session:
        subscription = session.merge(subscription)
        period = subscriptions.period_of(subscription, NOW)
        invoice = billing.draft(session, subscription, period, terms, now=NOW, reason="start")
        billing.add_line(session, invoice, "Visit", 1, 10_000_000, terms, actor="t", now=NOW)
    before = kept_of_lines()
    assert [row[1:] for row in before] == [(41_176_610, 20_000_000), (8_403_390, 0)]
    migrations.downgrade(revision="0016")
    migrations.upgrade()
    assert kept_of_lines() == before


@both
def test_accounts_from_before_the_roles_may_what_they_could(migrations):
    migrations.upgrade()
    make = Make(NOW)
    make.staff("ann@northline.example", role=Role.SUPPORT)
    make.user(make.tenant(), "uma@acme.example", role=Role.MEMBER)
    migrations.downgrade(revision="0019")
    migrations.upgrade()
    with db.engine.connect() as connection:
        found = connection.execute(select(Account.email, Account.role).order_by(Account.email)).all()
    assert [tuple(row) for row in found] == [("ann@northline.example", "owner"), ("uma@acme.example", "admin")]


@both
def test_the_audit_trail_from_before_the_chain_is_hashed_as_it_stands(migrations):
    migrations.upgrade()
    make = Make(NOW)
    make.user(make.tenant())
    migrations.downgrade(revision="0024")
    migrations.upgrade()
    make.tenant("Globex")
    with snapshot() as session:
        assert chain.first_break(session) is None
        entries = session.execute(select(AuditEntry.act, AuditEntry.kind).order_by(AuditEntry.number)).all()
    assert [tuple(entry) for entry in entries] == [
        ("tenant.create", ""), ("account.create", ""), ("tenant.create", "command_line")
    ]  # fmt: skip


def kept_of_lines():
    """Package, net and cost of each line."""
    with db.engine.connect() as connection:
        line = InvoiceLine
        statement = select(line.package_id, line.net_micros, line.cost_micros).order_by(line.position)
        return [tuple(row) for row in connection.execute(statement)]


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


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_a_migration_gives_up_when_others_do_not_let_go_of_a_table(migrations):
    migrations.upgrade(revision="0038")
    with db.engine.connect() as other:
        other.execute(select(func.count()).select_from(Account))  # its transaction stays open
        with pytest.raises(click.ClickException, match="held a table for longer than 200ms"):
            migrations.upgrade(x_arg=["lock_timeout=200ms"])
        assert "locale" not in columns_of_account()
        other.rollback()
    migrations.upgrade(x_arg=["lock_timeout=200ms"])
    assert "locale" in columns_of_account()


@pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
def test_a_lock_timeout_that_is_none_is_named(app_of_migrations):
    done = app_of_migrations.test_cli_runner().invoke(args=["db", "upgrade", "-x", "lock_timeout=soon"])
    assert (done.exit_code, done.output) == (1, "Error: lock_timeout=soon is no duration such as 30s or 1min\n")


def columns_of_account():
    return {column["name"] for column in inspect(db.engine).get_columns("account")}

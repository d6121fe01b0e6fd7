"""Row-level security behind the pages: what a query that forgot its tenant would find and do."""

from contextlib import contextmanager

import flask_migrate
import pytest
from flask import Response
from sqlalchemy import func, inspect, select, text, update
from sqlalchemy.exc import ProgrammingError

from app import create_app, wall
from app.config import Settings
from app.db import Base, db, unit_of_work
from app.domain import models  # noqa: F401  the tables
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.audit import service as audit
from app.domain.billing.models import LedgerEntry
from app.domain.metering import meters
from app.domain.metering.models import UsageRecord
from app.domain.tenants.models import Tenant, TenantName
from app.driver import read_once
from tests.conftest import NOW, as_role
from tests.factories import Make

pytestmark = pytest.mark.databases("postgresql")
owned = pytest.mark.parametrize("empty_database_url", ["postgresql"], indirect=True)
CLASSES = (wall.OF_TENANTS, wall.SHOWN, wall.SHARED, wall.PROVIDERS)


@pytest.fixture
def two(make):
    """Two tenants with a user and usage each; the usage of the first is 60 seconds."""
    source, package = make.source(), make.package(limits={"voice_minutes": 6_000})
    for name, seconds in (("Acme", 60), ("Globex", 90)):
        tenant = make.tenant(name)
        make.subscribe(tenant, package)
        make.usage(tenant, seconds, source=source)
    return [db.session.scalars(select(Tenant).where(Tenant.name == name)).one() for name in ("Acme", "Globex")]


@pytest.fixture
def during(app):
    """`during(client, act)`: what `act` returns or raises within a request for a tenant's usage page."""

    def run(client, act, endpoint="tenant.usage", path="/portal/usage"):
        outcome = []

        def view(**_):
            try:
                outcome.append(act())
            except ProgrammingError as error:
                db.session.rollback()
                outcome.append(error)
            return Response()

        view.needs = app.view_functions[endpoint].needs
        app.view_functions[endpoint] = view
        assert client.get(path).status_code == 200
        return outcome[0]

    return run


def everything():
    """Rows of a query that names no tenant."""
    return db.session.scalars(select(UsageRecord.quantity).order_by(UsageRecord.quantity)).all()


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
def test_a_table_is_of_tenants_or_says_why_not(table):
    assert sum(table.name in each for each in CLASSES) + ("tenant_id" in table.columns) >= 1


def test_no_class_names_a_table_that_there_is_not():
    assert {name for each in CLASSES for name in each} <= set(Base.metadata.tables)


def test_every_table_has_its_policies_in_force(app):
    in_force = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relrowsecurity AND relforcerowsecurity"
    tables = {table for (table,) in read_once(in_force, {})}
    assert tables >= set(inspect(db.engine).get_table_names()) - {"alembic_version"}
    assert tables >= set(Base.metadata.tables)
    policies = {(table, name) for table, name in read_once("SELECT tablename, policyname FROM pg_policies", {})}
    for table in Base.metadata.sorted_tables:
        assert (table.name, "unwalled") in policies
        assert ((table.name, "own_rows") in policies) == bool(wall.own_rows(table))


def test_the_portal_owns_no_table_and_has_no_gap(app):
    with db.engine.connect() as connection:
        assert wall.gaps(connection) == []
    owners = read_once("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'", {})
    assert owners == [("ringplan_owner",)]


def test_a_query_that_forgot_its_tenant_finds_only_the_visitors_rows(two, make, login, during):
    assert during(login(make.user(two[0])), everything) == [60]
    assert everything() == [60, 90]


def test_staff_see_every_tenant_and_as_a_tenant_that_one(two, make, login, during):
    client = login(make.staff())
    page = {"endpoint": "provider.home", "path": "/provider"}
    assert during(client, everything, **page) == [60, 90]
    client.submit("/provider/tenants/globex/view", {"reason": "asked", "role": "admin"})
    assert during(client, everything) == [90]


def test_a_request_that_nobody_decided_about_sees_nothing(app, two):
    with app.test_request_context():
        db.session.remove()
        assert everything() == []
        assert db.session.scalars(select(Tenant)).all() == []
        db.session.rollback()
        wall.show(two[1].id)
        assert everything() == [90]
        db.session.rollback()


def test_another_tenants_rows_can_be_neither_changed_nor_added(two, make, login, during):
    acme_id, globex_id = (tenant.id for tenant in two)
    client = login(make.user(two[0]))

    def change():
        with unit_of_work() as session:
            return session.execute(update(Tenant).values(name="Mine")).rowcount

    def add():
        with unit_of_work() as session:
            session.add(TenantName(name="stolen", tenant_id=globex_id))

    def hand_over():
        with unit_of_work() as session:
            session.execute(update(TenantName).values(tenant_id=globex_id))

    assert during(client, change) == 1
    for act in (add, hand_over):
        assert "row-level security" in str(during(client, act))
    names = dict(read_once("SELECT id, name FROM tenant", {}))
    assert names == {acme_id: "Mine", globex_id: "Globex"}
    assert read_once("SELECT count(*) FROM tenant_name WHERE tenant_id = :id", {"id": globex_id}) == [(1,)]


def test_a_tenant_sees_neither_foreign_people_nor_what_is_the_providers(two, make, login, during, now):
    user = make.user(two[0])
    make.user(two[1])
    make.staff()

    def look():
        return [list(db.session.scalars(select(Account.id))), *(
            db.session.scalar(select(func.count()).select_from(Base.metadata.tables[name])) for name in wall.PROVIDERS
        )]  # fmt: skip

    with unit_of_work() as session:
        audit.keep_verification(session, [], now=now)
    assert during(login(user), look) == [[user.id], *(0 for _ in wall.PROVIDERS)]


def test_the_next_request_on_the_same_connection_sees_everything_again(two, make, login, during):
    during(login(make.user(two[0])), everything)
    with unit_of_work() as session:
        assert session.scalar(select(func.count()).select_from(LedgerEntry)) is not None
        assert session.scalar(text("SELECT current_user")) == "ringplan_all"
        assert everything() == [60, 90]


def test_a_tenants_key_reads_behind_the_wall(two, client, now, monkeypatch):
    with unit_of_work() as session:
        key = accounts.issue_tenant_key(session, session.merge(two[0]), label="books", actor="test", now=now)
    seen, current = [], meters.current

    def look_around(*found, **at):
        seen.extend(everything())
        return current(*found, **at)

    monkeypatch.setattr(meters, "current", look_around)
    client.get("/api/v1/tenants/acme/meters", headers={"Authorization": f"Bearer {key}"})
    assert seen == [60]


@contextmanager
def installed(url, folder):
    """The portal as one role on an empty database, which it migrates itself."""
    app = create_app(Settings(RINGPLAN_INSTANCE=str(folder), DATABASE_URL=url, SECRET_KEY="of a test"))
    with app.app_context():
        flask_migrate.upgrade()
        try:
            yield app
        finally:
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


@owned
def test_one_role_that_owns_the_tables_is_bound_too_and_told_what_is_missing(empty_database_url, tmp_path):
    with installed(empty_database_url, tmp_path) as app:
        make = Make(NOW)
        globex = [make.tenant(name) for name in ("Acme", "Globex")][1]
        names = select(Tenant.name).order_by(Tenant.name)
        assert db.session.scalars(names).all() == ["Acme", "Globex"]
        db.session.remove()
        with app.test_request_context():
            assert db.session.scalars(names).all() == []
            db.session.rollback()
            wall.show(globex.id)
            assert db.session.scalars(names).all() == ["Globex"]
            db.session.remove()
        with db.engine.connect() as connection:
            assert wall.gaps(connection) == ["the role of DATABASE_URL owns the tables and could take it away"]
        before = standing()
        flask_migrate.upgrade()
        assert standing() == before  # nothing to do, nothing is locked


@owned
def test_a_superuser_is_told_that_no_wall_binds_it(empty_database_url, tmp_path):
    with installed(as_role("postgres", empty_database_url), tmp_path) as app:
        assert "row-level security: the role of DATABASE_URL bypasses it; see docs/operations.md" in (
            app.test_cli_runner().invoke(args=["verify"]).stderr
        )


def standing():
    """The policies and when each was made."""
    return read_once("SELECT oid, xmin::text FROM pg_policy ORDER BY oid", {})

"""What every table must look like so that the database can be distributed by tenant."""

import pytest
from sqlalchemy import Index, Table, UniqueConstraint

from app.db import Base
from app.domain import models

TABLES = Base.metadata.sorted_tables
TENANT_TABLES = [table for table in TABLES if "tenant_id" in table.primary_key.columns]
# Tables that name a tenant and are looked up before any tenant is known.
GLOBAL = {"account", "api_key", "audit_entry", "did", "mailed_link", "tenant_name", "webhook_endpoint"}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
every_tenant_table = pytest.mark.parametrize("table", TENANT_TABLES, ids=lambda table: table.name)


def names(columns) -> list[str]:
    return [column.name for column in columns]


def test_the_metadata_is_complete():
    assert models.__all__
    assert {"tenant", "subscription", "usage_record", "meter"} <= {table.name for table in TABLES}
    assert TENANT_TABLES


@every_table
def test_a_table_that_names_a_tenant_is_keyed_by_it_or_known_as_global(table: Table):
    assert "tenant_id" not in table.columns or table in TENANT_TABLES or table.name in GLOBAL


@every_tenant_table
def test_the_tenant_comes_first_in_the_primary_key(table: Table):
    assert names(table.primary_key.columns)[0] == "tenant_id"


@every_tenant_table
def test_the_tenant_comes_first_in_every_unique_key(table: Table):
    constraints = [found for found in table.constraints if isinstance(found, UniqueConstraint)]
    indexes: list[Index] = [index for index in table.indexes if index.unique]
    for key in (*constraints, *indexes):
        assert names(key.columns)[0] == "tenant_id", key.name


@every_table
def test_the_tenant_comes_first_in_every_foreign_key_between_tenant_tables(table: Table):
    for key in table.foreign_key_constraints:
        if key.referred_table in TENANT_TABLES:
            assert names(key.columns)[0] == "tenant_id", key.name
            assert key.elements[0].column.name == "tenant_id", key.name
        elif "tenant_id" in names(key.columns):
            assert names(key.columns) == ["tenant_id"], key.name
            assert key.referred_table.name == "tenant", key.name


@every_table
def test_ids_are_made_by_the_application(table: Table):
    assert table.autoincrement_column is None
    assert all(column.identity is None and column.server_default is None for column in table.primary_key.columns)


@every_table
def test_every_constraint_has_a_name(table: Table):
    assert all(constraint.name for constraint in table.constraints)

"""Row-level security on PostgreSQL: the second wall between tenants, should a query forget to name its tenant.

A request of a tenant's user, or of staff who look as a tenant, runs its transactions walled in: they see that tenant's
rows and what is shared, and write no others. Requests of staff and machines, jobs and commands see every row. A request
that nobody has decided about sees none. docs/operations.md tells which roles an installation has; SQLite has no wall.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from flask import g, has_request_context
from psycopg.pq import ExecStatus
from sqlalchemy import Connection, Engine, MetaData, Table, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

EVERY_TENANT = 0  # no tenant has this id
_NO_TENANT = -1

_OWN = "nullif(current_setting('ringplan.tenant', true), '')::bigint"
# IS NOT NULL and not a comparison: of that the planner expects nearly every row, of a comparison a two-hundredth.
_UNWALLED = "nullif(current_setting('ringplan.every_tenant', true), '') IS NOT NULL"
_OF_ACCOUNT = "account_id IN (SELECT id FROM account)"  # of which the tenant sees its own
_OWN_ENDPOINT = f"endpoint_id IN (SELECT id FROM webhook_endpoint WHERE tenant_id = {_OWN})"

# What a tenant may of the tables that have no column tenant_id, or of which that column does not say everything.
OF_TENANTS: Mapping[str, str] = MappingProxyType(
    {
        "tenant": f"id = {_OWN}",
        "sign_in": _OF_ACCOUNT,
        "totp": _OF_ACCOUNT,
        "passkey": _OF_ACCOUNT,
        "recovery_code": _OF_ACCOUNT,
        "mailed_link": f"tenant_id = {_OWN} OR {_OF_ACCOUNT}",  # an invitation has no account yet, others no tenant
        # What happens to a tenant is told to the provider's endpoints, too, in the same transaction.
        "webhook_message": f"{_OWN_ENDPOINT} OR tenant IN (SELECT slug FROM tenant)",
        "webhook_attempt": _OWN_ENDPOINT,
    }
)
# What a tenant may look at and not change.
SHOWN: Mapping[str, str] = MappingProxyType(
    {
        "logo": "true",
        "package": "true",
        "package_limit": "true",
        "package_revision": "true",
        "resource": "true",
        "second_factor_demand": "true",
        "setting": "true",
        "source": "true",  # usage names who reported it
        "tax_rate": "true",
        "webhook_endpoint": "tenant_id IS NULL",  # the provider's, which hear of every tenant
    }
)
SHARED: Mapping[str, str] = MappingProxyType(
    {
        "audit_head": "one row, the end of the chain that every entry is hashed onto",
        "job": "what a worker is to do, asked for by whoever needs it: kinds, keys and ids",
        "number_series": "counts the numbers of invoices, whoever they are for",
        "rate_window": "counts of keys and addresses",
        "sign_in_attempt": "counted by address before anybody is known",
        "spent_challenge": "hashes of random numbers, before anybody is known",
    }
)
PROVIDERS: Mapping[str, str] = MappingProxyType(
    {
        "bill_run": "runs over all tenants",
        "gateway_event": "what the payment gateway sent",
        "idempotency_key": "answers to machines",
        "masking": "runs over all tenants",
        "quarantined": "reports that could not be booked, mostly of names that nobody has",
        "staff_identity": "who the staff are elsewhere",
        "unmatched_line": "money that nobody is known to have sent",
        "verification": "recounts of everything",
    }
)


def show(tenant_id: int) -> None:
    """From its next transaction on, the running request sees that tenant, or EVERY_TENANT."""
    g.shown_tenant = tenant_id


@contextmanager
def unwalled() -> Iterator[None]:
    """Transactions that begin within see every tenant; for an act of the portal itself in a tenant's request."""
    before = g.get("shown_tenant", _NO_TENANT)
    show(EVERY_TENANT)
    try:
        yield
    finally:
        show(before)


def init_engine(engine: Engine) -> None:
    """Have connections begin unwalled, and transactions of tenants' requests walled in."""
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _open)
        event.listen(engine, "begin", _begin)


# The role is taken where there is one: its policies are a plain `true`, which costs no plan anything.
_OPEN = """
SELECT set_config('ringplan.every_tenant', 'on', false), set_config('role', coalesce((
  SELECT rolname FROM pg_roles WHERE rolname = session_user || '_all' AND pg_has_role(session_user, oid, 'MEMBER')
), 'none'), false)"""


def _open(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute(_OPEN)
    cursor.close()
    connection.commit()


def _begin(connection: Connection) -> None:
    tenant_id = g.get("shown_tenant", _NO_TENANT) if has_request_context() else EVERY_TENANT
    if tenant_id == EVERY_TENANT:
        return
    walled = (
        "SET LOCAL ROLE NONE; SET LOCAL ringplan.every_tenant = '';"
        f" SET LOCAL ringplan.tenant = '{'' if tenant_id == _NO_TENANT else int(tenant_id)}'"
    )
    if "isolation_level" in connection.get_execution_options():
        connection.exec_driver_sql(walled)  # after the driver's own BEGIN, which says the level
        return
    # In one message with BEGIN, which the driver would have sent by itself: it costs no way to the server and back.
    driver = connection.connection.driver_connection
    assert driver is not None
    result = driver.pgconn.exec_(f"BEGIN; {walled}".encode())
    if result.status != ExecStatus.COMMAND_OK:
        error = connection.dialect.loaded_dbapi.OperationalError(driver.pgconn.get_error_message())
        raise OperationalError(walled, None, error)


def raise_wall(connection: Connection, metadata: MetaData, web_role: str) -> None:
    """Give every table its policies, and `web_role` its rights; nothing where they stand already. As their owner."""
    wanted = _policies(connection, metadata, web_role)
    roles = _roles(connection, web_role)
    if wanted != _standing(connection) or not _has_rights(connection, roles):
        lower_wall(connection)
        for table in metadata.sorted_tables:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        for (table_name, name), policy in wanted.items():
            connection.exec_driver_sql(f"CREATE POLICY {name} ON {table_name} {policy}")
            quoted = policy.replace("'", "''")
            connection.exec_driver_sql(f"COMMENT ON POLICY {name} ON {table_name} IS '{quoted}'")
        schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
        rights = f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}"
        for role in map(_quoted(connection), roles):
            connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
            connection.exec_driver_sql(f"GRANT {rights} TO {role}")


def lower_wall(connection: Connection) -> None:
    """Take every policy away, as before columns that they name change."""
    for table, name in _standing(connection):
        connection.exec_driver_sql(f"DROP POLICY {name} ON {table}")
    for table in connection.scalars(text(_WALLED)).all():
        connection.exec_driver_sql(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")


_HERE = "relnamespace = current_schema()::regnamespace AND relkind = 'r'"
_WALLED = f"SELECT relname FROM pg_class WHERE {_HERE} AND relrowsecurity"
_STANDING = f"""
SELECT c.relname, p.polname, coalesce(obj_description(p.oid, 'pg_policy'), '')
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE {_HERE} AND relrowsecurity AND relforcerowsecurity"""


def _standing(connection: Connection) -> dict[tuple[str, str], str]:
    """The policies there are, by table and name; what they say is kept as their comment."""
    return {(table, name): said for table, name, said in connection.execute(text(_STANDING))}


def _policies(connection: Connection, metadata: MetaData, web_role: str) -> dict[tuple[str, str], str]:
    full = _full_role(web_role)
    if {web_role, full} <= set(_roles(connection, web_role)):
        every_row = f"TO {_quoted(connection)(full)}, CURRENT_USER USING (true)"
    else:
        every_row = f"USING ({_UNWALLED})"
    found: dict[tuple[str, str], str] = {}
    for table in metadata.sorted_tables:
        found[table.name, "unwalled"] = every_row  # by its name the first that is asked
        if own := own_rows(table):
            found[table.name, "own_rows"] = f"USING ({own})"
        if table.name in SHOWN:
            found[table.name, "shown_rows"] = f"FOR SELECT USING ({SHOWN[table.name]})"
    return found


def own_rows(table: Table) -> str:
    """The condition on the rows that a tenant may see and write; empty: on none. New tables are closed to tenants."""
    if table.name in SHARED:
        return "true"
    if table.name in OF_TENANTS:
        return OF_TENANTS[table.name]
    return f"tenant_id = {_OWN}" if "tenant_id" in table.columns and table.name not in PROVIDERS else ""


def _full_role(web_role: str) -> str:
    """The role that sees every row, where there is one."""
    return f"{web_role}_all"


def _roles(connection: Connection, web_role: str) -> list[str]:
    """Who reads and writes the tables beside their owner."""
    found = "SELECT rolname FROM pg_roles WHERE rolname IN (:web, :full) AND rolname <> current_user"
    return list(connection.scalars(text(found), {"web": web_role, "full": _full_role(web_role)}))


def _has_rights(connection: Connection, roles: list[str]) -> bool:
    missing = f"SELECT 1 FROM pg_class WHERE {_HERE} AND NOT has_table_privilege(:role, oid, 'DELETE') LIMIT 1"
    return all(connection.scalar(text(missing), {"role": role}) is None for role in roles)


def _quoted(connection: Connection) -> Callable[[str], str]:
    return connection.dialect.identifier_preparer.quote


_GAPS = f"""
SELECT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user),
  EXISTS (SELECT 1 FROM pg_class WHERE {_HERE} AND NOT relforcerowsecurity AND relname <> 'alembic_version'),
  EXISTS (SELECT 1 FROM pg_class WHERE {_HERE} AND pg_has_role(session_user, relowner, 'MEMBER')),
  EXISTS (SELECT 1 FROM pg_roles WHERE rolname = session_user || '_all' AND pg_has_role(session_user, oid, 'USAGE'))"""


def gaps(connection: Connection) -> list[str]:
    """What is missing of the wall, a line each; none on SQLite, which has no wall."""
    if connection.dialect.name != "postgresql":
        return []
    connection.exec_driver_sql("SET LOCAL ROLE NONE")
    bypasses, is_partial, is_owner, inherits = connection.execute(text(_GAPS)).one()
    found = {
        "the role of DATABASE_URL bypasses it": bypasses,
        "tables lack it, run `flask db upgrade`": is_partial,
        "the role of DATABASE_URL owns the tables and could take it away": is_owner,
        "the role of DATABASE_URL inherits from the one that sees every row": inherits,
    }
    connection.rollback()
    return [line for line, is_so in found.items() if is_so]

"""All that is kept of one tenant, table by table: whatever a table gains goes along unless it is left out here.

README.md, "Export". Rows come in chunks, so that an export of any length stays small in memory.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, Table, select, tuple_
from sqlalchemy.orm import Session

from app.db import Base
from app.domain.accounts.models import Account
from app.domain.audit.models import AuditEntry
from app.domain.audit.origin import USER, VISITOR
from app.domain.audit.reading import NOT_FOR_TENANTS
from app.domain.billing.models import Invoice
from app.domain.subscriptions.models import SubscriptionSegment
from app.domain.webhooks.models import WebhookEndpoint

CHUNK = 1_000
PROVIDER = "provider"  # in place of the address of one of its people
_SECRET = "a secret, or what one is recognised by"  # noqa: S105  a reason
_COST = "what the provider pays or found odd: its own affair"
_INNER = "a mark that the machine tells repeats by"

# Columns that stay here, and why.
LEFT_OUT = {
    "account.password_hash": _SECRET,
    "api_key.secret_hash": _SECRET,
    "invoice.bill_run_id": _COST,
    "invoice.cost_micros": _COST,
    "invoice.odd": _COST,
    "invoice_line.cost_micros": _COST,
    "mailed_link.token_hash": _SECRET,
    "passkey.credential_id": _SECRET,
    "passkey.public_key": _SECRET,
    "quote.fingerprint": _INNER,
    "sign_in.token_hash": _SECRET,
    "usage_record.content_hash": _INNER,
    "webhook_endpoint.previous_salt": _SECRET,
    "webhook_endpoint.salt": _SECRET,
    "webhook_message.leased_until": _INNER,
}
# Tables that lead to a tenant and stay here, and why.
LEFT_OUT_TABLES = {
    "recovery_code": _SECRET,
    "staff_identity": "of the provider's people alone",
    "totp": _SECRET,
    "unmatched_line": "a line of the provider's bank account; what became a payment is in payment.csv",
}


def tables() -> list[Table]:
    """What is exported: the tables that name a tenant or lead to one, and the packages that it was on."""
    found = set(leading_to_a_tenant()) - {Base.metadata.tables[name] for name in LEFT_OUT_TABLES}
    return sorted(found | {Base.metadata.tables["package"]}, key=lambda table: table.name)


def leading_to_a_tenant() -> list[Table]:
    """The tenant's own table, those that name it, and those that refer to a row of one of these by a foreign key."""
    every = Base.metadata.sorted_tables  # what is referred to comes first
    found = {Base.metadata.tables["tenant"]}
    for table in every:
        if "tenant_id" in table.columns or found.intersection(
            key.referred_table for key in table.foreign_key_constraints
        ):
            found.add(table)
    return [table for table in every if table in found]


def columns(table: Table) -> list[str]:
    """The columns of a table that go along."""
    return [column.name for column in table.columns if f"{table.name}.{column.name}" not in LEFT_OUT]


def rows(session: Session, table: Table, tenant_id: int) -> Iterator[list[Any]]:
    """The tenant's rows of a table as cells of a CSV file, in the order of `columns`.

    Closes `session` after each chunk: however slowly the rows are taken, no transaction waits for the taker.
    """
    own = set(session.scalars(select(Account.email).where(Account.tenant_id == tenant_id)))
    names = columns(table)
    for row in _read(session, table, tenant_id):
        shown = _shown(table, row, own)
        yield [_cell(shown[name]) for name in names]


def issued_invoices(session: Session, tenant_id: int) -> list[int]:
    """The ids of the tenant's issued invoices, oldest first."""
    return list(session.scalars(_issued(tenant_id).order_by(Invoice.id)))


def _read(session: Session, table: Table, tenant_id: int) -> Iterator[RowMapping]:
    key = [column for column in table.primary_key.columns if column.name != "tenant_id"]
    statement = select(table).where(_of_tenant(table, tenant_id)).order_by(*key).limit(CHUNK)
    after: Sequence[Any] | None = None
    while True:
        following = statement if after is None else statement.where(tuple_(*key) > tuple(after))
        found = session.execute(following).mappings().all()
        session.close()
        yield from found
        if len(found) < CHUNK or not key:
            return
        after = [found[-1][column.name] for column in key]


def _of_tenant(table: Table, tenant_id: int) -> ColumnElement[bool]:
    """What is the tenant's of a table: of one without `tenant_id`, what belongs to something that is."""
    column = table.columns
    if narrower := _NARROWER.get(table.name):
        return narrower(column, tenant_id)
    if "tenant_id" in column:
        return column.tenant_id == tenant_id
    if "account_id" in column:
        return column.account_id.in_(select(Account.id).where(Account.tenant_id == tenant_id))
    return column.endpoint_id.in_(select(WebhookEndpoint.id).where(WebhookEndpoint.tenant_id == tenant_id))


def _issued(tenant_id: int) -> Select[int]:
    return select(Invoice.id).where(Invoice.tenant_id == tenant_id, Invoice.status != "draft")


def _packages(tenant_id: int) -> Select[int]:
    return select(SubscriptionSegment.package_id).where(SubscriptionSegment.tenant_id == tenant_id)


# Where the table's own `tenant_id` says too much or does not exist: a tenant sees no drafts.
_NARROWER: dict[str, Callable[[Any, int], ColumnElement[bool]]] = {
    "tenant": lambda column, tenant_id: column.id == tenant_id,
    "package": lambda column, tenant_id: column.id.in_(_packages(tenant_id)),
    "audit_entry": lambda column, tenant_id: (column.tenant_id == tenant_id) & column.act.not_in(NOT_FOR_TENANTS),
    "invoice": lambda column, tenant_id: (column.tenant_id == tenant_id) & (column.status != "draft"),
    "invoice_line": lambda column, tenant_id: (
        (column.tenant_id == tenant_id) & column.invoice_id.in_(_issued(tenant_id))
    ),
}


def _shown(table: Table, row: RowMapping, own: set[str]) -> dict[str, Any]:
    """A tenant learns that the provider acted, not who of its people, and from where."""
    shown = {
        name: _who(value, own) if name.endswith("_by") or name == "actor" else value for name, value in row.items()
    }
    if table.name != AuditEntry.__tablename__:
        return shown
    if row["kind"] in (USER, VISITOR):
        return dict(row)
    return {**shown, "address": ""}


def _who(actor: Any, own: set[str]) -> Any:
    return PROVIDER if "@" in str(actor) and actor not in own else actor


def _cell(value: Any) -> Any:
    """Moments and days as ISO 8601 has them (UTC), lists and objects as JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime | date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value

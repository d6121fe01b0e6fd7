"""Find tenants, with what they are on: search, filters, sort and keyset paging in one statement."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, func, select, tuple_
from sqlalchemy.orm import Session, contains_eager, lazyload

from app.domain.catalog.models import Package, PackageRevision
from app.domain.subscriptions.models import Subscription
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

PAGE_SIZE = 25
Statement = Select[*tuple[Any, ...]]
Cursor = tuple[Any, int]  # the sort value as the database made it, and the tenant's id
SORTS: dict[str, tuple[SQLColumnExpression[Any], type]] = {
    "name": (func.lower(Tenant.name), str),
    "package": (func.coalesce(Package.name, ""), str),
    "created": (Tenant.created_at, datetime),
}
STATES: dict[str, ColumnElement[bool]] = {
    "active": Tenant.status == "active",
    "trial": Subscription.status == "trial",
    "past_due": Subscription.status == "past_due",
    "suspended": Tenant.status == "suspended",
    "subscribed": Subscription.id.is_not(None),
    "none": Subscription.id.is_(None),
}


@dataclass(frozen=True, slots=True)
class TenantQuery:
    """What to list. Empty means any. `sort` is a key of SORTS, falling with a `-` before it."""

    text: str = ""  # part of the name, slug, PBX domain or account code
    package: str = ""  # its code
    state: str = ""  # a key of STATES
    currency: str = ""
    sort: str = "name"


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant and its live subscription; the package and its revision are loaded with it."""

    tenant: Tenant
    subscription: Subscription | None


@dataclass(frozen=True, slots=True)
class TenantPage:
    """Entries in the order asked for, and the keys from which the pages beside it begin (None: there is none)."""

    entries: list[TenantEntry]
    next_key: Cursor | None
    previous_key: Cursor | None


def cursor_shape(sort: str) -> tuple[type, type]:
    """The types in a cursor of this sort."""
    return SORTS.get(sort.lstrip("-"), SORTS["name"])[1], int


def find_tenants(
    session: Session,
    query: TenantQuery,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    among: Collection[int] | None = None,
    most: int = PAGE_SIZE,
) -> TenantPage:
    """One page of the tenants that fit; `among` narrows to these ids. One statement, whatever the number of rows."""
    column, _ = SORTS.get(query.sort.lstrip("-"), SORTS["name"])
    backwards = before is not None and after is None
    falling = query.sort.startswith("-") != backwards
    statement = _where(_select(column), query, among)
    key = before if backwards else after
    if key is not None:
        place = tuple_(column, Tenant.id)
        statement = statement.where(place < key if falling else place > key)
    order = (column.desc(), Tenant.id.desc()) if falling else (column, Tenant.id)
    found = list(session.execute(statement.order_by(*order).limit(most + 1)))
    more, rows = len(found) > most, found[:most]
    if backwards:
        rows.reverse()
    first, last = (_key(rows[0]), _key(rows[-1])) if rows else (None, None)
    return TenantPage(
        [TenantEntry(row.Tenant, row.Subscription) for row in rows],
        next_key=last if more or backwards else None,
        previous_key=first if (more if backwards else after is not None) else None,
    )


def count_tenants(session: Session, query: TenantQuery, *, among: Collection[int] | None = None) -> int:
    """How many tenants fit in all."""
    return session.scalar(_where(_joined(select(func.count(Tenant.id))), query, among)) or 0


def tenants_per_package(session: Session) -> dict[int, int]:
    """Live subscriptions by package id; a package without any is missing. One statement."""
    rows = session.execute(
        select(Subscription.package_id, func.count())
        .where(Subscription.ended_at.is_(None))
        .group_by(Subscription.package_id)
    )
    return {package_id: count for package_id, count in rows}


def _select(column: SQLColumnExpression[Any]) -> Statement:
    loaded = contains_eager(Subscription.package).contains_eager(Package.revision)
    return (
        _joined(select(Tenant, Subscription, column.label("sorted_by")))
        .outerjoin(PackageRevision, PackageRevision.id == Package.revision_id)
        .options(loaded, loaded.lazyload(PackageRevision.limits), lazyload(Subscription.tenant))
    )


def _joined(statement: Statement) -> Statement:
    return (
        statement.select_from(Tenant)
        .outerjoin(Subscription, and_(Subscription.tenant_id == Tenant.id, Subscription.ended_at.is_(None)))
        .outerjoin(Package, Package.id == Subscription.package_id)
    )


def _where(statement: Statement, query: TenantQuery, among: Collection[int] | None) -> Statement:
    if query.text:
        statement = statement.where(tenants.is_called(query.text))
    if query.package:
        statement = statement.where(Package.code == query.package)
    if query.state in STATES:
        statement = statement.where(STATES[query.state])
    if query.currency:
        statement = statement.where(Tenant.currency == query.currency)
    return statement if among is None else statement.where(Tenant.id.in_(among))


def _key(row: Any) -> Cursor:
    return row.sorted_by, row.Tenant.id

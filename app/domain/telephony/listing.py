"""What a tenant holds, found and read in pages."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from app.domain.telephony.models import Allocation

Cursor = tuple[str, str]  # resource code and name of the row at the edge: unique among what is held
PAGE_SIZE = 50
CHUNK = 1_000
_KEY = tuple_(Allocation.resource_code, Allocation.name)


@dataclass(frozen=True, slots=True)
class AllocationPage:
    """Rows by resource and name, and the keys from which the pages beside it begin (None: there is none)."""

    rows: list[Allocation]
    next_key: Cursor | None
    previous_key: Cursor | None


def find_held(
    session: Session,
    tenant_id: int,
    *,
    resource_code: str = "",
    text: str = "",
    after: Cursor | None = None,
    before: Cursor | None = None,
    most: int = PAGE_SIZE,
) -> AllocationPage:
    """One page of what is held, by keyset; `text` is part of a name or note. One statement."""
    statement = select(Allocation).where(Allocation.tenant_id == tenant_id, Allocation.released_at.is_(None))
    if resource_code:
        statement = statement.where(Allocation.resource_code == resource_code)
    if text:
        columns = (Allocation.name, Allocation.note)
        statement = statement.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
    backwards = before is not None and after is None
    order = (Allocation.resource_code, Allocation.name)
    if backwards:
        statement = statement.where(before > _KEY).order_by(*(column.desc() for column in order))
    else:
        statement = (statement.where(after < _KEY) if after else statement).order_by(*order)
    found = list(session.scalars(statement.limit(most + 1)))
    more, rows = len(found) > most, found[:most]
    if backwards:
        rows.reverse()
    first, last = (_key(rows[0]), _key(rows[-1])) if rows else (None, None)
    return AllocationPage(
        rows,
        next_key=last if more or backwards else None,
        previous_key=first if (more if backwards else after is not None) else None,
    )


def every_held(session: Session, tenant_id: int, resource_code: str) -> Iterator[Allocation]:
    """All that is held of one resource by name, in chunks; `session` is closed after each, however slow the taker."""
    after: Cursor | None = None
    while True:
        page = find_held(session, tenant_id, resource_code=resource_code, after=after, most=CHUNK)
        session.close()
        yield from page.rows
        if page.next_key is None:
            return
        after = page.next_key


def _key(row: Allocation) -> Cursor:
    return row.resource_code, row.name

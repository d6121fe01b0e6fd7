"""A page of a long list, newest first, by keyset: the last page costs what the first does."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

Cursor = tuple[datetime, int]  # the moment and the id of a row
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows newest first, and the keys from which the pages beside it begin (None: there is none)."""

    rows: list[T]
    older: Cursor | None = None
    newer: Cursor | None = None
    searched_to: datetime | None = None  # older rows were not looked at; what was, is all there is


def read_page(
    session: Session,
    statement: Select[*tuple[Any, ...]],
    at: InstrumentedAttribute[datetime],
    id_: InstrumentedAttribute[int],
    *,
    after: Cursor | None,
    before: Cursor | None,
    most: int,
) -> Page[tuple[Any, ...]]:
    """The rows of `statement` that come next `after` a row, else next `before` one, else first. One statement."""
    key, keyed = tuple_(at, id_), statement.add_columns(at.label("page_at"), id_.label("page_id"))
    backwards = before is not None and after is None
    if backwards:
        keyed = keyed.where(key > before).order_by(at, id_)
    else:
        keyed = (keyed.where(key < after) if after else keyed).order_by(at.desc(), id_.desc())
    found = list(session.execute(keyed.limit(most + 1)))
    more, rows = len(found) > most, found[:most]
    if backwards:
        rows.reverse()
    if not rows:
        return Page([])
    first, last = ((row.page_at, row.page_id) for row in (rows[0], rows[-1]))
    return Page(
        [tuple(row)[:-2] for row in rows],  # without the key
        older=last if more or backwards else None,
        newer=first if (more if backwards else after is not None) else None,
    )

"""The chain of hashes over the audit trail: numbers without a gap, each row hashed over the one before it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.domain.audit.models import AuditEntry, AuditHead

GENESIS = "0" * 64  # stands for the row before the first
HASHED = ("number", "at", "actor", "kind", "address", "act", "subject", "tenant_id", "details")
CHUNK = 1_000  # rows read at once

_READ = select(*(getattr(AuditEntry, name) for name in (*HASHED, "hash"))).order_by(AuditEntry.number)


def hash_of(before: str, entry: Mapping[str, Any]) -> str:
    """SHA-256 over the hash of the row before and the HASHED columns: JSON, keys sorted, no blanks, ASCII, UTC."""
    content = {name: entry[name] for name in HASHED}
    content["at"] = entry["at"].astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()


def append(session: Session, entries: Sequence[dict[str, Any]]) -> None:
    """Number, hash and insert the entries of one unit, as its last act.

    The row of the head is locked from here to the commit and by nobody earlier, so that acts wait for one another as
    long as a commit takes, and never in a circle.
    """
    connection = session.connection()
    number, before = connection.execute(
        update(AuditHead).values(number=AuditHead.number + len(entries)).returning(AuditHead.number, AuditHead.hash)
    ).one()
    for place, entry in enumerate(entries, number - len(entries) + 1):
        entry["number"] = place
        before = entry["hash"] = hash_of(before, entry)
    connection.execute(insert(AuditEntry), list(entries))
    connection.execute(update(AuditHead).values(hash=before))


class End(NamedTuple):
    """Where the chain ends; noted elsewhere, it proves that nobody wrote the whole chain anew."""

    number: int
    hash: str


def end_of(session: Session) -> End:
    """The last entry's number and hash; those of none where somebody took the head away."""
    found = session.execute(select(AuditHead.number, AuditHead.hash)).one_or_none()
    return End(*found) if found else End(0, "")


class Break(NamedTuple):
    """The first place where the chain does not hold: `what` in words, `expected` rows, of which `found` hold."""

    what: str
    expected: int
    found: int


def first_break(session: Session) -> Break | None:
    """Recount the chain from its first row; None when it holds. Memory does not grow with its length."""
    last, end = end_of(session)
    with session.execute(_READ, execution_options={"yield_per": CHUNK}) as found:
        return _first_break(found.mappings(), last, end)


def _first_break(rows: Iterable[Mapping[Any, Any]], last: int, end: str) -> Break | None:
    number, before = 0, GENESIS
    for row in rows:
        if row["number"] != number + 1:
            return Break(f"entry {number + 1} is missing", last, number)
        if row["hash"] != hash_of(before, row):
            return Break(f"entry {row['number']} ({row['act']}) is not as it was written", last, number)
        number, before = row["number"], row["hash"]
        if number > last:
            return Break(f"entry {number} ({row['act']}) was added past the end", last, number)
    if number < last:
        return Break(f"entry {number + 1} is missing", last, number)
    return None if before == end else Break("the end of the chain is another one", last, number)

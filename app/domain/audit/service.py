"""Write the audit trail."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import event, select
from sqlalchemy.orm import Session, SessionTransaction

from app.core.ids import new_id
from app.domain.audit import chain, origin
from app.domain.audit.models import AuditEntry, Verification

_WAITING = "audit"  # session.info[_WAITING]: what the running unit has recorded


class _Waiting(NamedTuple):
    """An entry that the commit will write, and the savepoint that it belongs to."""

    savepoint: SessionTransaction | None
    entry: dict[str, Any]


def record(
    session: Session, actor: str, act: str, subject: str, *, now: datetime, tenant_id: int | None = None, **details: Any
) -> None:
    """Add one entry to the running transaction, written as it commits. `details` must be JSON and hold no secret.

    What changed stands in `changed={name: [before, after]}`. Kind of actor and address come by themselves.
    """
    kind, address = origin.current()
    entry = {
        "id": new_id(), "at": now, "actor": actor[:255], "kind": kind, "address": address[:64], "act": act,
        "subject": subject[:255], "tenant_id": tenant_id, "details": json.loads(json.dumps(details)),
    }  # fmt: skip
    session.info.setdefault(_WAITING, []).append(_Waiting(session.get_nested_transaction(), entry))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """`changed` of an entry: what differs, by name, before and after (None where there was nothing).

    >>> changes({"name": "Gold", "price": 1}, {"name": "Gold", "price": 2, "days": 3})
    {'price': [1, 2], 'days': [None, 3]}
    """
    names = {**before, **after}
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def was_just(session: Session, actor: str, act: str, *, since: datetime) -> bool:
    """Whether the actor did that since then: for what may come a thousand times a second. One statement."""
    found = select(AuditEntry.id).where(AuditEntry.actor == actor, AuditEntry.act == act, AuditEntry.at > since)
    return session.scalar(found.limit(1)) is not None


def keep_verification(session: Session, findings: list[dict[str, Any]], *, now: datetime) -> None:
    """Note that every invariant was recounted at `now`, and what differed."""
    session.add(Verification(id=new_id(), at=now, findings=findings))


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    if not session.info.get(_WAITING) or session.in_nested_transaction():
        return
    session.flush()  # every other row is locked before the head of the chain
    chain.append(session, [each.entry for each in session.info.pop(_WAITING)])


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, undone: SessionTransaction) -> None:
    if waiting := session.info.pop(_WAITING, None):
        session.info[_WAITING] = [each for each in waiting if undone.nested and not _is_within(each.savepoint, undone)]


def _is_within(savepoint: SessionTransaction | None, undone: SessionTransaction) -> bool:
    while savepoint is not None and savepoint is not undone:
        savepoint = savepoint.parent
    return savepoint is undone

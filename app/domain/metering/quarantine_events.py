"""Tell the provider's endpoints that quarantine is empty no longer."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, select

from app.domain.metering.models import Quarantined
from app.domain.webhooks import events
from app.domain.webhooks.events import Event


def tell(connection: Connection, added: Sequence[str], *, now: datetime) -> None:
    """Say so when what this transaction put in, by its reasons, is all that is there. No statement when that is none.

    Of two transactions that fill it at once one is told of: both name the last time somebody took something out.
    """
    if not added:
        return
    is_open = Quarantined.resolved_at.is_(None)
    some = select(Quarantined.id).where(is_open).limit(len(added) + 1).subquery()
    emptied = select(func.max(Quarantined.resolved_at)).scalar_subquery()
    count, emptied_at = connection.execute(select(func.count(), emptied).select_from(some)).one()
    if count == len(added):
        data = {"entries": count, "reasons": dict(Counter(added))}
        key = emptied_at.isoformat() if emptied_at else "first"
        events.tell(connection, events.QUARANTINE_NOT_EMPTY, [Event(None, key, data)], now=now)

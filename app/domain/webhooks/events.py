"""Tell endpoints of what happened, in the transaction in which it happens. README.md lists what is told."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app import driver
from app.core.ids import new_ids

THRESHOLD_REACHED = "threshold.reached"
LIMIT_REACHED = "limit.reached"
SUBSCRIPTION_CHANGED = "subscription.changed"
INVOICE_FINAL = "invoice.final"
PAYMENT_RECEIVED = "payment.received"
QUARANTINE_NOT_EMPTY = "quarantine.not_empty"
PING = "ping"  # asked for by a person, to try an endpoint
TENANT_TYPES = (THRESHOLD_REACHED, LIMIT_REACHED, SUBSCRIPTION_CHANGED, INVOICE_FINAL, PAYMENT_RECEIVED)
TYPES = (*TENANT_TYPES, QUARANTINE_NOT_EMPTY)  # the last one is the provider's own affair

_GIVEN = {
    "postgresql": "json_to_recordset(CAST(:rows AS json)) AS g(id bigint, tenant_id bigint, key text, data json)",
    "sqlite": (
        "(SELECT value->>'id' AS id, value->>'tenant_id' AS tenant_id, value->>'key' AS key, value->>'data' AS data"
        " FROM json_each(:rows)) AS g"
    ),
}
# One statement, however many events and endpoints; nothing is written where nobody listens.
_TELL = {
    dialect: f"""
INSERT INTO webhook_message (endpoint_id, id, key, type, tenant, data, occurred_at, next_at, attempts)
SELECT e.id, g.id, g.key, :type, coalesce(t.slug, ''), g.data, :now, :now, 0
FROM {given}
JOIN webhook_endpoint e ON (e.tenant_id IS NULL OR e.tenant_id = g.tenant_id)
LEFT JOIN tenant t ON t.id = g.tenant_id
WHERE e.disabled_at IS NULL AND e.types LIKE :pattern
ON CONFLICT (endpoint_id, key) DO NOTHING"""
    for dialect, given in _GIVEN.items()
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a tenant, or to none. `key` makes telling twice tell once; `data` is JSON."""

    tenant_id: int | None
    key: str
    data: dict[str, Any]


def tell(session: Session | Connection, kind: str, events: Iterable[Event], *, now: datetime) -> None:
    """Write a message for each endpoint that hears of such events; one statement, none without events."""
    found = list(events)
    if not found:
        return
    connection = session.connection() if isinstance(session, Session) else session
    rows = [
        {"id": event_id, "tenant_id": event.tenant_id, "key": f"{kind}/{event.key}", "data": event.data}
        for event_id, event in zip(new_ids(len(found)), found, strict=True)
    ]
    values = {"rows": msgspec.json.encode(rows).decode(), "type": kind, "pattern": f"% {kind} %", "now": now}
    driver.run(connection, _TELL[connection.dialect.name], values)

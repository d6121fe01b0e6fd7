"""Usage records over the API: what was counted, with its split and its source."""

from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import msgspec
from flask import Response, request

from app.api.blueprint import answer, cursor_of, in_utc, operation
from app.api.problems import invalid
from app.core.cursor import encode_cursor
from app.core.money import format_micros
from app.db import db
from app.domain.metering import history
from app.domain.metering.history import UsageQuery, UsageRow
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.keyset import Cursor


class RecordAnswer(msgspec.Struct):
    """A usage record with its split. Quantities in base units; below zero where it `reverses` another one."""

    id: str
    source: str
    resource: str
    occurred_at: str
    received_at: str
    measured: int
    quantity: int
    from_allowance: int
    from_carried: int
    beyond: int
    beyond_as: str | None
    beyond_price: str | None
    currency: str
    late: bool
    direction: str
    caller: str
    callee: str
    call_id: str
    attributes: dict[str, Any]
    reverses: str | None  # the number of the record that it takes back, as in that one's reversal id
    reversal_reason: str | None
    reversed: bool


class UsageListAnswer(msgspec.Struct):
    """Records newest first; `next` is the cursor of the following page, null at the end."""

    data: list[RecordAnswer]
    next: str | None


@operation(
    "GET", "/tenants/<ref>/usage", "Usage records, newest first", scope="read", gives=UsageListAnswer,
    also=(404, 422), query=("resource", "since", "until", "cursor"),
)  # fmt: skip
def list_usage(ref: str) -> Response:
    """A hundred a page, by cursor."""
    tenant = tenants.by_name(db.session(), ref)
    resource = request.args.get("resource", "")
    if "\x00" in resource:
        raise invalid("unknown_resource", "No resource has such a code.", "/resource")
    query = UsageQuery(resource=resource, since=_moment("since"), until=_moment("until"))
    after = cast("Cursor | None", cursor_of(datetime, int))
    page = history.find_usage(db.session(), tenant.id, query, zone=ZoneInfo(tenant.timezone), after=after, most=100)
    return answer(
        UsageListAnswer(
            data=[_record(row, tenant) for row in page.rows], next=encode_cursor(page.older) if page.older else None
        )
    )


def _moment(name: str) -> datetime | None:
    text = request.args.get(name, "")
    if not text:
        return None
    try:
        moment = msgspec.convert(text.replace(" ", "+"), datetime)  # an unescaped + arrives as a space
    except msgspec.ValidationError:
        raise invalid("invalid_time", f"{name} is an RFC 3339 time with an offset.", f"/{name}") from None
    return in_utc(moment, f"/{name}")


def _record(row: UsageRow, tenant: Tenant) -> RecordAnswer:
    record, zone = row.record, ZoneInfo(tenant.timezone)
    return RecordAnswer(
        id=record.external_id,
        source=row.source_code,
        resource=record.resource_code,
        occurred_at=record.occurred_at.astimezone(zone).isoformat(),
        received_at=record.received_at.astimezone(zone).isoformat(),
        measured=record.measured,
        quantity=record.quantity,
        from_allowance=record.from_allowance,
        from_carried=record.from_carried,
        beyond=record.beyond,
        beyond_as=record.beyond_as or None,
        beyond_price=format_micros(record.beyond_price_micros) if record.beyond_as == "charge" else None,
        currency=tenant.currency,
        late=record.late,
        direction=record.direction,
        caller=record.caller,
        callee=record.callee,
        call_id=record.call_id,
        attributes=record.attributes,
        reverses=str(record.reverses_id) if record.reverses_id else None,
        reversal_reason=record.reversal_reason or None,
        reversed=bool(row.reversed_for),
    )

"""How holds end: settled by the CDR, released at the hang-up, expired. Each end frees its meters in its transaction.

Every function locks holds first and meters after, in key order, so that no two of them wait in a circle.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app.core.errors import Conflict, NotFound
from app.domain.audit import service as audit
from app.domain.metering import store
from app.domain.metering.models import NO_PERIOD, Hold
from app.domain.tenants.models import Tenant

CONCURRENT = "concurrent_calls"
RESOURCES = {"voice": "voice_minutes", "fax": "fax_pages"}  # by kind of call
MOST_AT_ONCE = 500  # holds that expire in one transaction

MeterKey = tuple[int, str, str]  # tenant, resource, first day of the period


class HoldName(NamedTuple):
    """What machines call a hold: `h_<tenant>_<id>` in hex, so that it leads to the tenant's rows without a search."""

    tenant_id: int
    id: int

    @classmethod
    def parse(cls, text: str) -> "HoldName | None":
        """The hold that `text` names, or None when it names none."""
        mark, *numbers = text.split("_")
        try:
            tenant_id, hold_id = (int(number, 16) for number in numbers)
        except ValueError:
            return None
        fit = 0 <= tenant_id < 2**63 and 0 <= hold_id < 2**63
        return cls(tenant_id, hold_id) if mark == "h" and fit else None

    def __str__(self) -> str:
        return f"h_{self.tenant_id:x}_{self.id:x}"


class CallReport(NamedTuple):
    """How a CDR says whose hold it settles: by name, else by the source's call id."""

    tenant_id: int | None  # None: whoever's it is
    call_id: str
    hold: str


class Change(NamedTuple):
    """To be added to a meter, to be taken off what is on hold there, and how many records that is."""

    used: int
    freed: int
    records: int = 0


def settle(
    connection: Connection, source_id: int, reports: Iterable[CallReport], *, now: datetime
) -> dict[MeterKey, Change]:
    """End the holds that these CDRs settle; returns what that frees, for the caller to take off the meters.

    A hold that had expired stays so, and is no longer listed as unsettled.
    """
    found = _unreported(connection, source_id, [report for report in reports if report.call_id or report.hold])
    return _freed(store.end_holds(connection, found, "settled", now=now, reported=True)) if found else {}


def release(session: Session, source_id: int, silent: Iterable[CallReport], *, now: datetime) -> None:
    """End what is on hold for calls that are over without having talked; what is not on hold any more stays so."""
    connection = session.connection()
    found = _unreported(connection, source_id, list(silent))
    if found:
        free(connection, _freed(store.end_holds(connection, found, "released", now=now, reported=True)))


def release_by_hand(session: Session, name: HoldName, *, actor: str, now: datetime) -> None:
    """End the hold of a call that is stuck, exactly once. Its CDR, should it come, counts as any other.

    Raises NotFound (`unknown_hold`), and Conflict (`hold_ended`) where it ended before.
    """
    connection = session.connection()
    hold, tenant = session.get(Hold, name), session.get(Tenant, name.tenant_id)
    if hold is None or tenant is None:
        raise NotFound("unknown_hold", "No hold has this name.")
    ended = store.end_holds(connection, [name], "released", now=now)
    if not ended:
        raise Conflict("hold_ended", "The hold had ended already.")
    free(connection, _freed(ended))
    details = {"hold": str(name), "call": hold.call_id, "caller": hold.caller, "callee": hold.callee}
    audit.record(session, actor, "hold.release", f"tenant:{tenant.slug}", tenant_id=tenant.id, now=now, **details)


def expire(session: Session, *, now: datetime, tenant_id: int | None = None) -> int:
    """End open holds that are due, MOST_AT_ONCE at the most; returns how many. Of one tenant, if named."""
    connection = session.connection()
    due = store.holds_due(connection, now, tenant_id, MOST_AT_ONCE)
    if not due:
        return 0
    ended = store.end_holds(connection, [HoldName(row.tenant_id, row.id) for row in due], "expired", now=now)
    free(connection, _freed(ended))
    return len(ended)


def free(connection: Connection, changes: dict[MeterKey, Change]) -> None:
    """Take what ended holds reserved off their meters."""
    if changes:
        store.add_to_meters(connection, meter_rows(changes))


def meter_rows(changes: dict[MeterKey, Change]) -> list[dict[str, Any]]:
    """`changes` as rows for `store.add_to_meters`, in key order."""
    return [
        {"tenant_id": tenant_id, "resource_code": code, "period_on": period_on, **changes[key]._asdict()}
        for key in sorted(changes)
        for tenant_id, code, period_on in (key,)
    ]


def _unreported(connection: Connection, source_id: int, reports: list[CallReport]) -> list[HoldName]:
    """The holds of these calls whose CDR has not come yet, each once, in key order."""
    named = {name: report for report in reports if (name := HoldName.parse(report.hold))}
    by_call = {report.call_id: report for report in reports if report.call_id}
    found = {
        HoldName(row.tenant_id, row.id)
        for row in (store.unreported_by_call(connection, source_id, by_call) if by_call else ())
        if by_call[row.call_id].tenant_id in (None, row.tenant_id)
    }
    # A name that was sent is believed for the tenant of its CDR alone.
    found |= {name for name, report in named.items() if report.tenant_id in (None, name.tenant_id)}
    return sorted(found)


def _freed(ended: Iterable[Any]) -> dict[MeterKey, Change]:
    """What the ends of these holds change on meters: their reserve, and the call in progress where it was one."""
    sums: defaultdict[MeterKey, list[int]] = defaultdict(lambda: [0, 0])
    for row in ended:
        sums[row.tenant_id, row.resource_code, str(row.period_on)][1] += row.granted
        if row.over_at is None:
            sums[row.tenant_id, CONCURRENT, str(NO_PERIOD)][0] -= 1
    return {key: Change(*sum_) for key, sum_ in sums.items()}

"""Add and release what a tenant holds; how much it may hold is decided by one conditional update of the meter."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Unpack

from sqlalchemy import ColumnElement, Select, and_, delete, insert, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, DomainError, Invalid, NotFound
from app.core.ids import new_id, new_ids
from app.db import LostRace, insert_new, rowcount, run_in_transaction
from app.domain.audit import service as audit
from app.domain.catalog.models import Package, PackageLimit, Resource
from app.domain.metering import limit_events
from app.domain.metering.limit_events import AtLimit
from app.domain.metering.models import NO_PERIOD, Meter, Refusal
from app.domain.subscriptions import moves
from app.domain.subscriptions.models import Subscription
from app.domain.telephony.models import Allocation, Did
from app.domain.telephony.names import DIDS, checked_line, checked_name
from app.domain.tenants.models import Tenant
from app.driver import read_once

LIMIT_REACHED = "limit_reached"
MOST_AT_ONCE = 10_000
MOST_NAMED = 20  # names in one audit entry


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing to add, as it was typed; `line` is where it stands in a file."""

    name: str
    note: str = ""
    line: int = 1


def allocated_resource(session: Session, code: str) -> Resource:
    """The resource of this code. Raises Invalid (`unknown_resource`, `not_allocated`)."""
    resource = session.get(Resource, code)
    if resource is None:
        raise Invalid("unknown_resource", f"There is no resource “{code}”.", field="resource")
    if resource.kind != "allocated":
        raise Invalid("not_allocated", f"{resource.name} cannot be held: it is {resource.kind}.", field="resource")
    return resource


def add(
    session: Session, tenant: Tenant, resource_code: str, wanted: Sequence[Wanted], *, actor: str, now: datetime
) -> list[Allocation]:
    """Add all of `wanted` or nothing; the number of statements does not depend on how many they are.

    Raises Invalid for a bad name and Conflict: `already_allocated`, `number_taken`, `tenant_suspended`,
    `no_subscription`, and `limit_reached` with `details["limit"]`: resource, included, used. Bad names among
    several are told together: Invalid `invalid_rows` with `details["rows"]`: line and detail of each.
    Call it within `refusals_kept`, and again when the transaction loses a race.
    """
    resource = allocated_resource(session, resource_code)
    ready = _checked(session, tenant, resource.code, wanted)
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    _take(session, tenant.id, resource, len(ready))
    rows = [
        {
            "tenant_id": tenant.id,
            "id": new,
            "resource_code": resource.code,
            "name": each.name,
            "note": each.note,
            "created_at": now,
            "created_by": actor,
            "released_by": "",
        }
        for new, each in zip(new_ids(len(ready)), ready, strict=True)
    ]
    session.execute(insert(Allocation), rows)
    if resource.code == DIDS:
        # In the order of the numbers, so that two imports of the same ones never wait in a circle.
        numbers = [{"number": row["name"], "tenant_id": tenant.id, "allocation_id": row["id"]} for row in rows]
        session.execute(insert(Did), sorted(numbers, key=lambda row: str(row["number"])))
    _audit(session, "allocation.add", tenant, resource.code, [each.name for each in ready], actor, now)
    return [Allocation(**row) for row in rows]


def release(session: Session, tenant: Tenant, allocation_id: int, *, actor: str, now: datetime) -> Allocation:
    """Give one thing back, exactly once. Raises NotFound (`unknown_allocation`), also for one given back before."""
    found = session.scalar(
        update(Allocation)
        .where(Allocation.tenant_id == tenant.id, Allocation.id == allocation_id, Allocation.released_at.is_(None))
        .values(released_at=now, released_by=actor)
        .returning(Allocation)
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise NotFound("unknown_allocation", "Nothing of this tenant has this id, or it was released before.")
    session.execute(
        update(Meter)
        .where(*_meter_of(tenant.id, found.resource_code))
        .values(used=Meter.used - 1, version=Meter.version + 1)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(Did).where(Did.tenant_id == tenant.id, Did.allocation_id == found.id))
    _audit(session, "allocation.release", tenant, found.resource_code, [found.name], actor, now)
    return found


def add_again(session: Session, tenant: Tenant, allocation_id: int, *, actor: str, now: datetime) -> Allocation:
    """Undo a release: the same name and note, held anew. Raises NotFound, and as `add`."""
    before = session.get(Allocation, (tenant.id, allocation_id))
    if before is None or before.released_at is None:
        raise NotFound("unknown_allocation", "Nothing that this tenant released has this id.")
    return add(session, tenant, before.resource_code, [Wanted(before.name, before.note)], actor=actor, now=now)[0]


@contextmanager
def refusals_kept(
    tenant_id: int, wanted: Iterable[Wanted], *, now: datetime, source_id: int | None = None
) -> Iterator[None]:
    """Around the transaction of `add`: once a limit refused it and it is rolled back, one of its own keeps that."""
    try:
        yield
    except Conflict as error:
        if error.code == LIMIT_REACHED:
            limit, names = error.details["limit"], [each.name.strip() for each in wanted]
            run_in_transaction(lambda session: _keep_refusal(session, tenant_id, limit, names, source_id, now))
        raise


def _keep_refusal(
    session: Session, tenant_id: int, limit: dict[str, Any], names: list[str], source_id: int | None, now: datetime
) -> None:
    session.add(
        Refusal(
            tenant_id=tenant_id,
            id=new_id(),
            refused_at=now,
            reason=LIMIT_REACHED,
            resource_code=limit["resource"],
            included=limit["included"],
            used=limit["used"],
            wanted=len(names),
            source_id=source_id,
            callee=", ".join(names)[:255],
        )
    )
    full = AtLimit(tenant_id, limit["resource"], str(NO_PERIOD), LIMIT_REACHED, limit["included"], limit["used"])
    limit_events.tell(session, [full], now=now)


def _checked(session: Session, tenant: Tenant, resource_code: str, wanted: Sequence[Wanted]) -> list[Wanted]:
    """`wanted` as it is kept. Raises as `add` says."""
    if not 0 < len(wanted) <= MOST_AT_ONCE:
        raise Invalid("invalid_rows", f"Between one and {MOST_AT_ONCE:,} can be added at once.", rows=[])
    ready: dict[int, Wanted] = {}
    problems: dict[int, DomainError] = {}
    for index, each in enumerate(wanted):
        try:
            name, note = checked_name(resource_code, each.name, tenant.country), checked_line(each.note, "note")
            ready[index] = Wanted(name, note, each.line)
        except Invalid as error:
            problems[index] = error
    taken = _taken(session, tenant.id, resource_code, {each.name for each in ready.values()})
    first: dict[str, int] = {}  # on which line each name stands
    for index, each in ready.items():
        if each.name in first:
            problems[index] = Invalid("named_twice", f"“{each.name}” stands on line {first[each.name]} already.")
        elif each.name in taken:
            problems[index] = taken[each.name]
        first.setdefault(each.name, each.line)
    if problems:
        raise _one_or_all(wanted, problems)
    return list(ready.values())


def _one_or_all(wanted: Sequence[Wanted], problems: dict[int, DomainError]) -> DomainError:
    if len(wanted) == 1:
        return problems[0]
    rows = [{"line": wanted[index].line, "detail": error.message} for index, error in sorted(problems.items())]
    return Invalid("invalid_rows", "Nothing was added: some lines cannot be.", rows=rows)


def _taken(session: Session, tenant_id: int, resource_code: str, names: set[str]) -> dict[str, DomainError]:
    """Which of `names` somebody holds, and what to say of each: never who it is."""
    if not names:
        return {}
    numbers = _numbers_in_use(session, tenant_id, names) if resource_code == DIDS else ()
    found: dict[str, DomainError] = {
        number: Conflict("number_taken", f"{number} is in use already.", field="name") for number in numbers
    }
    held = session.scalars(
        select(Allocation.name).where(
            Allocation.tenant_id == tenant_id,
            Allocation.resource_code == resource_code,
            Allocation.released_at.is_(None),
            Allocation.name.in_(names),
        )
    )
    return found | {name: Conflict("already_allocated", f"“{name}” is held already.", field="name") for name in held}


def _numbers_in_use(session: Session, tenant_id: int, names: set[str]) -> set[str]:
    """Which numbers anybody holds. The transaction may see this tenant's alone: others' are asked for outside it."""
    held = session.scalars(select(Did.number).where(Did.tenant_id == tenant_id, Did.number.in_(names)))
    elsewhere = "SELECT number FROM did WHERE number = ANY(:names) AND tenant_id <> :tenant_id"
    found = read_once(elsewhere, {"names": sorted(names), "tenant_id": tenant_id})
    return {*held, *(number for (number,) in found)}


def _take(session: Session, tenant_id: int, resource: Resource, quantity: int) -> None:
    """Count `quantity` more as held, where the tenant and its limit let it as they are at this moment."""
    key = (Meter.tenant_id, Meter.resource_code, Meter.period_on)
    row = {"tenant_id": tenant_id, "resource_code": resource.code, "period_on": NO_PERIOD, "used": 0}
    insert_new(session, Meter, [row], key)
    permitted = (
        _limit_of(tenant_id, resource.code, select(Tenant.id))
        .where(
            Tenant.status == "active",
            Subscription.id.is_not(None),
            or_(
                PackageLimit.included.is_(None),
                PackageLimit.at_limit != "block",
                Meter.used + quantity <= PackageLimit.included,
            ),
        )
        .correlate(Meter)
        .exists()
    )
    taken = session.execute(
        update(Meter)
        .where(*_meter_of(tenant_id, resource.code), permitted)
        .values(used=Meter.used + quantity, version=Meter.version + 1)
        .execution_options(synchronize_session=False)
    )
    if rowcount(taken) != 1:
        raise _why_not(session, tenant_id, resource, quantity)


def _limit_of(tenant_id: int, resource_code: str, statement: Select[Unpack[tuple[Any, ...]]]) -> Select[Any]:
    """`statement` about a tenant, its live subscription and the limit that its package's current revision sets."""
    return (
        statement.select_from(Tenant)
        .outerjoin(Subscription, and_(Subscription.tenant_id == Tenant.id, Subscription.ended_at.is_(None)))
        .outerjoin(Package, Package.id == Subscription.package_id)
        .outerjoin(
            PackageLimit,
            and_(PackageLimit.revision_id == Package.revision_id, PackageLimit.resource_code == resource_code),
        )
        .where(Tenant.id == tenant_id)
    )


def _why_not(session: Session, tenant_id: int, resource: Resource, quantity: int) -> Exception:
    """What `_take` met."""
    asked = select(Tenant.status, Subscription.id.label("subscription_id"), PackageLimit.included, Meter.used)
    row = session.execute(
        _limit_of(tenant_id, resource.code, asked).join(Meter, and_(*_meter_of(tenant_id, resource.code)))
    ).one()
    if row.status != "active":
        return Conflict("tenant_suspended", "The service is suspended: nothing can be added.")
    if row.subscription_id is None:
        return Conflict("no_subscription", "There is no package yet, so nothing can be added.")
    if row.included is None or row.used + quantity <= row.included:
        return LostRace()  # something was released, or the limit raised, since
    limit = {"resource": resource.code, "included": row.included, "used": row.used}
    return Conflict(LIMIT_REACHED, _limit_words(resource, row.included, row.used, quantity), limit=limit)


def _limit_words(resource: Resource, included: int, used: int, quantity: int) -> str:
    """Allocated resources are counted in items, so base units are what people read."""
    more = f"{quantity:,} more do not fit" if quantity > 1 else "there is no room for another one"
    return f"{used:,} of {included:,} {resource.unit_many} are held; {more}."


def _meter_of(tenant_id: int, resource_code: str) -> tuple[ColumnElement[bool], ...]:
    return Meter.tenant_id == tenant_id, Meter.resource_code == resource_code, Meter.period_on == NO_PERIOD


def _audit(
    session: Session, act: str, tenant: Tenant, resource_code: str, names: list[str], actor: str, now: datetime
) -> None:
    audit.record(
        session,
        actor,
        act,
        f"tenant:{tenant.slug}",
        now=now,
        tenant_id=tenant.id,
        resource=resource_code,
        count=len(names),
        names=names[:MOST_NAMED],
    )

"""What a tenant holds over the API: extensions, trunks, DIDs and all else of kind `allocated`."""

import re
from typing import cast
from zoneinfo import ZoneInfo

import msgspec
from flask import Response, g, request
from sqlalchemy.orm import Session

from app.api.blueprint import answer, body_as, cursor_of, operation
from app.api.idempotency import transact
from app.api.problems import invalid
from app.core.clock import utc_now
from app.core.cursor import encode_cursor
from app.core.errors import NotFound
from app.db import db
from app.domain.telephony import listing, service as telephony
from app.domain.telephony.models import Allocation
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

PAGE_SIZE = 100
_ID = re.compile(r"[0-9]{1,19}")


class AllocationBody(msgspec.Struct, forbid_unknown_fields=True):
    """One thing to hold: an extension's digits, a phone number, a name."""

    resource: str
    name: str
    note: str = ""


class AllocationAnswer(msgspec.Struct):
    """What is held. A phone number is in E.164."""

    id: str
    resource: str
    name: str
    note: str
    created_at: str


class AllocationListAnswer(msgspec.Struct):
    """By resource and name; `next` is the cursor of the following page, null at the end."""

    data: list[AllocationAnswer]
    next: str | None


@operation(
    "POST", "/tenants/<ref>/allocations", "Hold one more: an extension, a trunk, a DID, …", scope="provision",
    takes=(AllocationBody,), gives=AllocationAnswer, also=(201, 404),
)  # fmt: skip
def add_allocation(ref: str) -> Response:
    """409 `limit_reached` with the `limit` once the package has no room."""
    body = body_as(AllocationBody)
    tenant_id, source, now = tenants.by_name(db.session(), ref).id, g.key.source, utc_now()
    wanted, actor = [Wanted(body.name, body.note)], f"source {source.code}"

    def act(session: Session) -> Response:
        tenant = session.get_one(Tenant, tenant_id)
        made = telephony.add(session, tenant, body.resource, wanted, actor=actor, now=now)
        return answer(_shown(made[0], tenant), 201)

    with telephony.refusals_kept(tenant_id, wanted, now=now, source_id=source.id):
        return transact(act)


@operation(
    "GET", "/tenants/<ref>/allocations", "What a tenant holds", scope="read", gives=AllocationListAnswer,
    also=(404, 422), query=("resource", "cursor"),
)  # fmt: skip
def list_allocations(ref: str) -> Response:
    """A hundred a page, by cursor."""
    tenant = tenants.by_name(db.session(), ref)
    resource = request.args.get("resource", "")
    if "\x00" in resource:
        raise invalid("unknown_resource", "No resource has such a code.", "/resource")
    if resource:
        telephony.allocated_resource(db.session(), resource)
    after = cast("listing.Cursor | None", cursor_of(str, str))
    page = listing.find_held(db.session(), tenant.id, resource_code=resource, after=after, most=PAGE_SIZE)
    return answer(
        AllocationListAnswer(data=[_shown(row, tenant) for row in page.rows], next=encode_cursor(page.next_key))
    )


@operation(
    "DELETE", "/tenants/<ref>/allocations/<allocation_id>", "Release what is held", scope="provision", gives=None,
    also=(404,),
)  # fmt: skip
def release_allocation(ref: str, allocation_id: str) -> Response:
    """Exactly once: 404 the second time."""
    tenant_id, actor, now = tenants.by_name(db.session(), ref).id, f"source {g.key.source.code}", utc_now()
    number = int(allocation_id) if _ID.fullmatch(allocation_id) else 2**63
    if number >= 2**63:
        raise NotFound("unknown_allocation", "Nothing of this tenant has this id.")

    def act(session: Session) -> Response:
        telephony.release(session, session.get_one(Tenant, tenant_id), number, actor=actor, now=now)
        return Response(status=204)

    return transact(act)


def _shown(row: Allocation, tenant: Tenant) -> AllocationAnswer:
    created_at = row.created_at.astimezone(ZoneInfo(tenant.timezone)).isoformat()
    return AllocationAnswer(str(row.id), row.resource_code, row.name, row.note, created_at)

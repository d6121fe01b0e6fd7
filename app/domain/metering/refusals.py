"""What limits and states refused: calls and additions, read for pages. Written by calls.py and telephony."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.domain.accounts.models import Source
from app.domain.catalog.models import Resource
from app.domain.metering.models import Refusal
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.keyset import Cursor, Page, read_page

PAGE_SIZE = 50
REASONS = (
    "quota_exhausted", "balance_exhausted", "concurrency_reached", "limit_reached", "destination_blocked",
    "tenant_suspended", "no_subscription",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RefusalQuery:
    """What to list; empty means any."""

    tenant_id: int | None = None
    tenant_text: str = ""  # part of the tenant's name, slug, PBX domain or account code
    reason: str = ""
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefusalRow:
    """A refusal with what it is about; without a resource no limit was met, without a source it was in the portal."""

    refusal: Refusal
    tenant: Tenant
    resource: Resource | None
    source: Source | None

    @property
    def total(self) -> int | None:
        """What there was to take: included and carried in; None where no limit was met."""
        included = self.refusal.included
        return None if included is None else included + self.refusal.carried_in

    @property
    def enough(self) -> int | None:
        """What a package would have had to include; None where no limit was met."""
        kept = self.refusal
        return None if kept.included is None else kept.used + kept.on_hold + kept.wanted - kept.carried_in


def find(
    session: Session,
    query: RefusalQuery,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    most: int = PAGE_SIZE,
) -> Page[RefusalRow]:
    """One page of the refusals that fit, newest first. One statement."""
    statement = (
        select(Refusal, Tenant, Resource, Source)
        .join(Tenant, Tenant.id == Refusal.tenant_id)
        .outerjoin(Resource, Resource.code == Refusal.resource_code)
        .outerjoin(Source, Source.id == Refusal.source_id)
        .where(*_fits(query))
    )
    page = read_page(session, statement, Refusal.refused_at, Refusal.id, after=after, before=before, most=most)
    return Page([RefusalRow(*row) for row in page.rows], page.older, page.newer)


def count(session: Session, query: RefusalQuery) -> int:
    """How many fit."""
    return session.scalar(select(func.count()).select_from(Refusal).where(*_fits(query))) or 0


def most_refused(session: Session, *, since: datetime, most: int = 5) -> list[tuple[Tenant, int]]:
    """The tenants with the most refusals since then, and how many each. One statement."""
    counted = (
        select(Refusal.tenant_id, func.count().label("number"))
        .where(Refusal.refused_at >= since)
        .group_by(Refusal.tenant_id)
        .order_by(func.count().desc(), Refusal.tenant_id)
        .limit(most)
        .subquery()
    )
    rows = session.execute(
        select(Tenant, counted.c.number)
        .join(counted, counted.c.tenant_id == Tenant.id)
        .order_by(counted.c.number.desc(), Tenant.name, Tenant.id)
    )
    return [(tenant, number) for tenant, number in rows]


def _fits(query: RefusalQuery) -> Iterator[ColumnElement[bool]]:
    if query.tenant_id is not None:
        yield Refusal.tenant_id == query.tenant_id
    if query.tenant_text:
        yield Refusal.tenant_id.in_(select(Tenant.id).where(tenants.is_called(query.tenant_text)))
    if query.reason:
        yield Refusal.reason == query.reason
    if query.since:
        yield Refusal.refused_at >= query.since

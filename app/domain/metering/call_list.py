"""Calls in progress and calls whose CDR is missing, of all tenants, read for pages."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select, text
from sqlalchemy.orm import Session

from app.domain.accounts.models import Source
from app.domain.catalog.models import Resource
from app.domain.metering.holds import HoldName
from app.domain.metering.models import UNSETTLED, Hold
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.keyset import Cursor, Page, read_page

PAGE_SIZE = 50
# As text: a partial index is used where a statement says its condition word for word.
STATES: dict[str, ColumnElement[bool]] = {
    "in_progress": and_(text("hold.ended_at IS NULL"), Hold.over_at.is_(None)),
    "unsettled": and_(text(f"({UNSETTLED})")),
}


@dataclass(frozen=True, slots=True)
class CallQuery:
    """What to list: a key of STATES; an empty text or source means any."""

    state: str = "in_progress"
    tenant_text: str = ""  # part of the tenant's name, slug, PBX domain or account code
    source_code: str = ""


@dataclass(frozen=True, slots=True)
class CallRow:
    """A hold with whose it is, what it reserves and who asked for it."""

    hold: Hold
    tenant: Tenant
    resource: Resource
    source: Source

    @property
    def name(self) -> str:
        """What machines call the hold."""
        return str(HoldName(self.hold.tenant_id, self.hold.id))


def find(
    session: Session,
    query: CallQuery,
    *,
    after: Cursor | None = None,
    before: Cursor | None = None,
    most: int = PAGE_SIZE,
) -> Page[CallRow]:
    """One page of the calls that fit, newest first. One statement."""
    statement = (
        select(Hold, Tenant, Resource, Source)
        .join(Tenant, Tenant.id == Hold.tenant_id)
        .join(Resource, Resource.code == Hold.resource_code)
        .join(Source, Source.id == Hold.source_id)
        .where(STATES[query.state])
    )
    if query.tenant_text:
        statement = statement.where(tenants.is_called(query.tenant_text))
    if query.source_code:
        statement = statement.where(Source.code == query.source_code)
    page = read_page(session, statement, Hold.created_at, Hold.id, after=after, before=before, most=most)
    return Page([CallRow(*row) for row in page.rows], page.older, page.newer)


def count(session: Session, state: str) -> int:
    """How many calls of all tenants are in this state."""
    return session.scalar(select(func.count()).select_from(Hold).where(STATES[state])) or 0

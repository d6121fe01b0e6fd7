"""The provider's list of tenants: each with the meter that is nearest its limit."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from app.domain.metering import meters
from app.domain.metering.meters import MeterView
from app.domain.subscriptions import listing
from app.domain.subscriptions.listing import Cursor, TenantEntry, TenantQuery

MOST_NEAR = 5_000  # more than anyone pages through
CHUNK = 200  # tenants read at once; each brings two keys of meters
NEAR = "near"  # a state that only the meters know, beside those of `listing.STATES`


@dataclass(frozen=True, slots=True)
class TenantList:
    """One page of tenants, the fullest meter of each by tenant id, and how many fit in all."""

    entries: list[TenantEntry]
    fullest: dict[int, MeterView]
    total: int
    next_key: Cursor | None
    previous_key: Cursor | None


def list_tenants(
    session: Session,
    query: TenantQuery,
    *,
    now: datetime,
    after: Cursor | None = None,
    before: Cursor | None = None,
) -> TenantList:
    """The page of tenants that `query` asks for; three statements, and one more for the state `near`."""
    among = _near(session, now) if query.state == NEAR else None
    page = listing.find_tenants(session, query, after=after, before=before, among=among)
    subscribed = [entry.subscription for entry in page.entries if entry.subscription is not None]
    return TenantList(
        page.entries,
        meters.fullest(session, subscribed, now=now),
        listing.count_tenants(session, query, among=among),
        page.next_key,
        page.previous_key,
    )


def every_tenant(
    session: Session, query: TenantQuery, *, now: datetime
) -> Iterator[tuple[TenantEntry, MeterView | None]]:
    """All tenants that fit in the order of `query`, each with its fullest meter; read in chunks while they are used."""
    among = _near(session, now) if query.state == NEAR else None
    after = None
    while True:
        page = listing.find_tenants(session, query, after=after, among=among, most=CHUNK)
        subscribed = [entry.subscription for entry in page.entries if entry.subscription is not None]
        fullest = meters.fullest(session, subscribed, now=now)
        for entry in page.entries:
            yield entry, fullest.get(entry.tenant.id)
        if page.next_key is None:
            return
        after = page.next_key


def _near(session: Session, now: datetime) -> Collection[int]:
    """Who is near a limit: a share of a limit in the tenant's own calendar, which no SQL of two databases can say."""
    return [tenant.id for tenant, _ in meters.nearest_limits(session, now=now, most=MOST_NEAR)]

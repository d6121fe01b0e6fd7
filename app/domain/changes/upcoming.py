"""The next invoice as it stands, reckoned by billing itself with what was used so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.billing import due as dues
from app.domain.billing.drafting import Reckoning
from app.domain.billing.due import START, Due
from app.domain.billing.lines import Line, Totals
from app.domain.billing.models import Invoice
from app.domain.billing.terms import Terms
from app.domain.changes.ending import as_ended
from app.domain.changes.outlook import moved
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What it comes to. `on` is the tenant's own day; None where it is to be issued any moment."""

    on: date | None
    currency: str
    lines: tuple[Line, ...]
    totals: Totals


def next_invoice(session: Session, tenant: Tenant, terms: Terms, *, now: datetime) -> Upcoming | None:
    """The oldest that is not made yet. A fixed number of statements.

    None where there will be none, where nothing is on it, and while staff review a draft.
    """
    subscription = subscriptions.live(session, tenant.id)
    if subscription is None or _has_draft(session, tenant):
        return None
    expected = as_ended(subscription, subscription.ends_at) if subscription.ends_at else subscription
    period = subscriptions.period_of(subscription, now)
    found = dues.find(session, [expected], terms, now=period.end + timedelta(days=terms.late_days))
    if not found:
        return None
    reckoning = Reckoning(session, found[:1], terms, _supposed(session, subscription))
    lines = reckoning.lines_of(found[0])
    if not lines:
        return None
    currency = (subscription.pending_package or subscription.package).revision.currency
    return Upcoming(_issued_on(found[0], terms, now), currency, tuple(lines), reckoning.totals_of(lines, currency))


def _has_draft(session: Session, tenant: Tenant) -> bool:
    drafts = select(Invoice.id).where(Invoice.tenant_id == tenant.id, Invoice.status == "draft")
    return session.scalar(drafts.limit(1)) is not None


def _supposed(session: Session, subscription: Subscription) -> dict[int, Sequence[SubscriptionSegment]]:
    """Its segments with the change that waits, where one does."""
    package, at = subscription.pending_package, subscription.pending_at
    return {} if package is None or at is None else {subscription.id: moved(session, subscription, package, at)}


def _issued_on(due: Due, terms: Terms, now: datetime) -> date | None:
    zone = due.subscription.tenant.zone
    at = due.period.start
    if due.reason != START:
        at = dues.ends_at(due.subscription, due.period) + timedelta(days=terms.late_days)
    return at.astimezone(zone).date() if at > now else None

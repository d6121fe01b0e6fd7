"""Which invoices are due: README.md, "What is billed when"."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.periods import Period
from app.db import among
from app.domain.billing.models import Invoice
from app.domain.billing.terms import Terms
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription

START, PERIOD = "start", "period"


@dataclass(frozen=True, slots=True)
class Due:
    """An invoice to be made: about which period of which subscription, and why."""

    subscription: Subscription
    period: Period
    reason: str

    @property
    def key(self) -> tuple[int, int, date, str]:
        """What is billed once."""
        return self.subscription.tenant_id, self.subscription.id, self.period.first_on, self.reason


def find(session: Session, found: Sequence[Subscription], terms: Terms, *, now: datetime) -> list[Due]:
    """What is due of these subscriptions and has no invoice yet, oldest first for each. One statement."""
    billed = _billed(session, found)
    return [due for subscription in found for due in _of(subscription, billed[subscription.id], terms, now)]


def _billed(session: Session, found: Sequence[Subscription]) -> dict[int, dict[str, date]]:
    """The newest period with an invoice, by subscription and reason."""
    rows = session.execute(
        select(Invoice.subscription_id, Invoice.reason, func.max(Invoice.period_on))
        .where(
            among(session, [(each.tenant_id, each.id) for each in found], Invoice.tenant_id, Invoice.subscription_id),
            Invoice.reason.in_((START, PERIOD)),
        )
        .group_by(Invoice.subscription_id, Invoice.reason)
    )
    billed: dict[int, dict[str, date]] = defaultdict(dict)
    for subscription_id, reason, period_on in rows:
        billed[subscription_id][reason] = period_on
    return billed


def _of(subscription: Subscription, billed: dict[str, date], terms: Terms, now: datetime) -> Iterator[Due]:
    opened = subscription.open_from <= subscription.anchor_on  # else its beginning was billed elsewhere
    first = subscriptions.period_on_day(subscription, subscription.anchor_on)
    if opened and not billed and max(subscription.started_at, first.start) <= now and not _over(subscription, first):
        yield Due(subscription, first, START)
    if PERIOD in billed:
        day = subscriptions.period_on_day(subscription, billed[PERIOD]).end_on
    else:
        day = max(subscription.open_from, subscription.anchor_on)
    period = subscriptions.period_on_day(subscription, day)
    while terms.is_due(ends_at(subscription, period), now) and not _over(subscription, period):
        yield Due(subscription, period, PERIOD)
        period = subscriptions.period_on_day(subscription, period.end_on)


def ends_at(subscription: Subscription, period: Period) -> datetime:
    """When the period is over: at its end, or with the subscription."""
    return min(period.end, subscription.ended_at or period.end)


def _over(subscription: Subscription, period: Period) -> bool:
    return subscription.ended_at is not None and subscription.ended_at <= period.start

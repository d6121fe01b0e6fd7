"""What the end of a subscription would put on its last invoice, reckoned by billing itself."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.orm import Session

from app.domain.billing.drafting import Reckoning
from app.domain.billing.due import PERIOD, Due
from app.domain.billing.lines import Line, Totals
from app.domain.billing.terms import Terms
from app.domain.subscriptions import life, service as subscriptions
from app.domain.subscriptions.models import Subscription


@dataclass(frozen=True, slots=True)
class Ending:
    """The last invoice as it stands, with usage so far; days are the tenant's own. A trial has none."""

    at: datetime
    lines: tuple[Line, ...]
    totals: Totals
    invoiced_on: date


def preview(session: Session, subscription: Subscription, terms: Terms, *, at_once: bool, now: datetime) -> Ending:
    """What ending it now, or with its running period, would do. Changes nothing."""
    period = subscriptions.period_of(subscription, now)
    at = now if at_once else period.end
    currency = subscription.package.revision.currency
    due = Due(as_ended(subscription, at), period, PERIOD)
    reckoning = Reckoning(session, [due], terms)
    found = [] if subscription.status == life.TRIAL else reckoning.lines_of(due)
    invoiced_at = (at + timedelta(days=terms.late_days)).astimezone(subscription.tenant.zone)
    return Ending(at, tuple(found), reckoning.totals_of(found, currency), invoiced_at.date())


def as_ended(subscription: Subscription, at: datetime) -> Subscription:
    """It as it would be, which is no row."""
    found = Subscription(
        tenant_id=subscription.tenant_id,
        id=subscription.id,
        package_id=subscription.package_id,
        starts_on=subscription.starts_on,
        anchor_on=subscription.anchor_on,
        started_at=subscription.started_at,
        ended_at=at,
        open_from=subscription.open_from,
    )
    found.tenant, found.package = subscription.tenant, subscription.package
    return found

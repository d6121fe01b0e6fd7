"""What a change of package would put on invoices, reckoned by billing itself on segments that do not exist yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.core.ids import new_id
from app.core.periods import Period
from app.domain.billing import lines
from app.domain.billing.drafting import Reckoning
from app.domain.billing.due import PERIOD, START, Due
from app.domain.billing.lines import Line, Totals
from app.domain.billing.terms import Terms
from app.domain.catalog.models import Package
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class Outlook:
    """`lines` are those that the change itself makes, `totals` what they come to. Days are the tenant's own."""

    effective_on: date
    lines: tuple[Line, ...]
    totals: Totals
    tax_code: str
    due_now_micros: int
    next_on: date
    next_micros: int


def outlook(
    session: Session,
    tenant: Tenant,
    subscription: Subscription | None,
    package: Package,
    effect: str,
    terms: Terms,
    *,
    now: datetime,
) -> Outlook:
    """The change at `now`, or at the end of the running period. A fixed number of statements."""
    if subscription is None:
        return _of_start(session, tenant, package, terms, now)
    period = subscriptions.period_of(subscription, now)
    at = now if effect == "now" else period.end
    segments = moved(session, subscription, package, at)
    due = Due(subscription, period, PERIOD)
    if in_trial := period.first_on < subscription.anchor_on:  # nothing was charged, so nothing is given back
        due = Due(subscription, subscriptions.period_on_day(subscription, subscription.anchor_on), START)
    reckoning = Reckoning(session, [due], terms, {subscription.id: segments})
    invoice = reckoning.lines_of(due)
    made = [] if in_trial else _made_by(invoice, package, subscription, effect)
    return Outlook(
        effective_on=_day(tenant, at),
        lines=tuple(made),
        totals=reckoning.totals_of(made, package.revision.currency),
        tax_code=reckoning.profile(tenant.id).tax_code,
        due_now_micros=0,
        next_on=due.period.first_on if in_trial else _invoiced_on(period, terms, tenant),
        next_micros=reckoning.totals_of(invoice, package.revision.currency).total_micros,
    )


def _of_start(session: Session, tenant: Tenant, package: Package, terms: Terms, now: datetime) -> Outlook:
    """A first subscription: its first period and the setup fee at once, the second period in advance on the next."""
    day = _day(tenant, now)
    subscription = Subscription(
        tenant_id=tenant.id,
        id=new_id(),
        package_id=package.id,
        starts_on=day,
        anchor_on=day,
        started_at=now,
        open_from=day,
    )
    subscription.tenant, subscription.package = tenant, package
    period = subscriptions.period_of(subscription, now)
    first, second = Due(subscription, period, START), Due(subscription, period, PERIOD)
    segments = [_segment(subscription, package.id, now, None, day)]
    reckoning = Reckoning(session, [first, second], terms, {subscription.id: segments})
    at_once = reckoning.lines_of(first)
    totals = reckoning.totals_of(at_once, package.revision.currency)
    return Outlook(
        effective_on=day,
        lines=tuple(line for line in at_once if line.kind != lines.MINIMUM),
        totals=totals,
        tax_code=reckoning.profile(tenant.id).tax_code,
        due_now_micros=totals.total_micros,
        next_on=_invoiced_on(period, terms, tenant),
        next_micros=reckoning.totals_of(reckoning.lines_of(second), package.revision.currency).total_micros,
    )


def _made_by(invoice: Sequence[Line], package: Package, subscription: Subscription, effect: str) -> list[Line]:
    """The last credit and charge of the invoice are the change's own; those before come of earlier changes."""
    if effect != "now" or package.id == subscription.package_id:
        return []
    return [line for line in invoice if line.kind in (lines.CREDIT, lines.CHARGE)][-2:]


def moved(session: Session, subscription: Subscription, package: Package, at: datetime) -> list[SubscriptionSegment]:
    """The segments as they would be, none of them a row: oldest first."""
    found = [
        _segment(subscription, row.package_id, row.started_at, row.ended_at, row.started_on)
        for row in reversed(subscriptions.segments(session, subscription.tenant_id))
        if row.subscription_id == subscription.id
    ]
    if package.id != subscription.package_id:
        found[-1].ended_at = at
        found.append(_segment(subscription, package.id, at, None, _day(subscription.tenant, at)))
    return found


def _segment(
    subscription: Subscription, package_id: int, started_at: datetime, ended_at: datetime | None, day: date | None
) -> SubscriptionSegment:
    return SubscriptionSegment(
        tenant_id=subscription.tenant_id,
        id=new_id(),
        subscription_id=subscription.id,
        package_id=package_id,
        started_at=started_at,
        started_on=day,
        ended_at=ended_at,
    )


def _invoiced_on(period: Period, terms: Terms, tenant: Tenant) -> date:
    return _day(tenant, period.end + timedelta(days=terms.late_days))


def _day(tenant: Tenant, moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(tenant.timezone)).date()

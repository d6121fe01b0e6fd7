"""Put a tenant on a package, move it to another one, and know its billing periods."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session, joinedload

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.periods import EARLIEST_YEAR, Interval, Period, local_midnight, period_at, period_on
from app.domain.audit import service as audit
from app.domain.catalog.models import Package, PackageRevision
from app.domain.subscriptions import life, moves
from app.domain.subscriptions.models import Subscription, SubscriptionSegment
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.tenants.service import TenantProfile

_LIVE = (
    select(Subscription)
    .where(Subscription.ended_at.is_(None))
    # All in one statement; the limits, which few ask for by the revision, when somebody does.
    .options(joinedload(Subscription.package).joinedload(Package.revision).lazyload(PackageRevision.limits))
)
MOST_TRIAL_DAYS = 366


def live(session: Session, tenant_id: int) -> Subscription | None:
    """The tenant's live subscription, with its package and revision, or None."""
    return session.scalar(_LIVE.where(Subscription.tenant_id == tenant_id))


def subscribe(
    session: Session,
    tenant: Tenant,
    package: Package,
    *,
    actor: str,
    now: datetime,
    started_at: datetime | None = None,
    trial_days: int = 0,
) -> Subscription:
    """Put a tenant on a package, or move it there at once; usage of the running period stays, a pending change goes.

    `started_at` (default now) is allowed while the tenant has no subscription, a trial for its first one. Raises
    Conflict: `package_not_published`, `currency_differs`, `already_subscribed`, `interval_differs`, `no_trial`.
    """
    check_fit(tenant, package)
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    subscription = live(session, tenant.id)
    if subscription is None:
        return _start(session, tenant, package, actor, now, started_at or now, trial_days)
    if trial_days:
        raise Conflict("no_trial", "A trial is for a tenant that has no package yet.", field="days")
    if started_at is not None and started_at != subscription.started_at:
        raise Conflict("already_subscribed", "A start date can only be given while there is no subscription.")
    if subscription.package_id != package.id:
        moves.move(session, subscription, package, actor=actor, now=now)
    elif subscription.pending_at is not None:
        moves.cancel(session, subscription, actor=actor, now=now)
    return subscription


def subscribe_at_period_end(
    session: Session, tenant: Tenant, package: Package, *, actor: str, now: datetime
) -> Subscription:
    """Move the tenant to the package when its running period ends; the package that it has drops what was pending.

    Raises NotFound (`no_subscription`), and Conflict as `subscribe`.
    """
    check_fit(tenant, package)
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    subscription = require_live(session, tenant)
    if subscription.package_id != package.id:
        ends = period_of(subscription, now).end
        moves.schedule(session, subscription, package, ends, actor=actor, now=now)
    elif subscription.pending_at is not None:
        moves.cancel(session, subscription, actor=actor, now=now)
    return subscription


def end(session: Session, tenant: Tenant, *, actor: str, now: datetime) -> Subscription:
    """End the tenant's subscription at once. Raises NotFound (`no_subscription`)."""
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    subscription = require_live(session, tenant)
    moves.end(session, subscription, actor=actor, now=now)
    return subscription


def end_at_period_end(session: Session, tenant: Tenant, *, actor: str, now: datetime) -> Subscription:
    """End it when its running period does; `moves.cancel` withdraws that. Raises NotFound (`no_subscription`)."""
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    subscription = require_live(session, tenant)
    moves.end_at(session, subscription, period_of(subscription, now).end, actor=actor, now=now)
    return subscription


def package_at(subscription: Subscription, now: datetime) -> Package:
    """The package in force, also where a change was due by `now` and nobody has carried it out yet."""
    pending = subscription.pending_package
    if pending is not None and subscription.pending_at is not None and subscription.pending_at <= now:
        return pending
    return subscription.package


def period_on_day(subscription: Subscription, day: date) -> Period:
    """The billing period of `subscription` that holds the local date `day`."""
    interval = cast(Interval, subscription.package.revision.interval)
    return period_on(subscription.anchor_on, interval, ZoneInfo(subscription.tenant.timezone), day)


def period_of(subscription: Subscription, moment: datetime) -> Period:
    """The billing period of `subscription` that holds `moment`."""
    interval = cast(Interval, subscription.package.revision.interval)
    return period_at(subscription.anchor_on, interval, ZoneInfo(subscription.tenant.timezone), moment)


def periods_of(subscription: Subscription, now: datetime, most: int = 36) -> list[Period]:
    """The running period and those before it, newest first, back to the first one (`most` at the most)."""
    periods = [period_of(subscription, now)]
    while len(periods) < most and periods[-1].first_on > subscription.starts_on:
        periods.append(period_on_day(subscription, periods[-1].first_on - timedelta(days=1)))
    return periods


def open_from(session: Session, tenant_id: int) -> date:
    """The first day of the tenant that was not billed yet; `date.min` without any subscription, live or ended."""
    return (
        session.scalar(select(func.max(Subscription.open_from)).where(Subscription.tenant_id == tenant_id)) or date.min
    )


def close_before(session: Session, first_open: Mapping[tuple[int, int], date]) -> None:
    """Close the periods before the first day that stays open, by tenant and subscription: later reports of them count
    as late. One statement for all.
    """
    rows = [{"of_tenant": key[0], "of_id": key[1], "day": day} for key, day in sorted(first_open.items())]
    if rows:
        table = Subscription.__table__
        session.connection().execute(
            update(table)  # type: ignore[arg-type]  # a Table, which mypy sees as a FromClause
            .where(
                table.c.tenant_id == bindparam("of_tenant"),
                table.c.id == bindparam("of_id"),
                table.c.open_from < bindparam("day"),
            )
            .values(open_from=bindparam("day")),
            rows,
        )


def segments(session: Session, tenant_id: int) -> list[SubscriptionSegment]:
    """On which packages the tenant was, newest first."""
    return list(
        session.scalars(
            select(SubscriptionSegment)
            .where(SubscriptionSegment.tenant_id == tenant_id)
            .order_by(SubscriptionSegment.started_at.desc(), SubscriptionSegment.id.desc())
        )
    )


def require_live(session: Session, tenant: Tenant) -> Subscription:
    """The live subscription. Raises NotFound (`no_subscription`)."""
    subscription = live(session, tenant.id)
    if subscription is None:
        raise NotFound("no_subscription", f"{tenant.name} has no package.")
    return subscription


def change_profile(session: Session, tenant: Tenant, profile: TenantProfile, *, actor: str, now: datetime) -> Tenant:
    """Change a tenant's profile; raises as `tenants.update`, and Conflict (`currency_in_use`) while subscribed."""
    if profile.currency != tenant.currency and live(session, tenant.id) is not None:
        raise Conflict(
            "currency_in_use",
            "The currency cannot change while the tenant has a package priced in it.",
            field="currency",
        )
    zone, subscription = tenant.timezone, live(session, tenant.id)
    tenant = tenants.update(session, tenant, profile, actor=actor, now=now)
    if subscription is not None and subscription.pending_at is not None and tenant.timezone != zone:
        # The day stays, as that of a period does; the instant is the day's beginning in the new zone.
        day = subscription.pending_at.astimezone(ZoneInfo(zone)).date()
        subscription.pending_at = local_midnight(day, ZoneInfo(tenant.timezone))
        session.flush()
    return tenant


def check_fit(tenant: Tenant, package: Package) -> None:
    """Raise Conflict where the package is not sold, or not in the tenant's currency."""
    if package.status != "published":
        raise Conflict(
            "package_not_published", f"{package.name} is {package.status}; only a published package is sold."
        )
    if package.revision.currency != tenant.currency:
        raise Conflict(
            "currency_differs",
            f"{package.name} is priced in {package.revision.currency}, {tenant.name} is billed in {tenant.currency}.",
        )


def _start(
    session: Session,
    tenant: Tenant,
    package: Package,
    actor: str,
    now: datetime,
    started_at: datetime,
    trial_days: int,
) -> Subscription:
    if started_at > now:
        raise Conflict("starts_in_future", "A subscription cannot start in the future.")
    if started_at.year < EARLIEST_YEAR:
        raise Invalid("starts_too_early", f"A subscription starts in {EARLIEST_YEAR} or later.", field="started_at")
    _check_trial(session, tenant, trial_days)
    first_day = started_at.astimezone(ZoneInfo(tenant.timezone)).date()
    status = life.TRIAL if trial_days else life.SUSPENDED if tenant.status == "suspended" else life.ACTIVE
    subscription = Subscription(
        tenant_id=tenant.id,
        id=new_id(),
        package_id=package.id,
        status=status,
        starts_on=first_day,
        anchor_on=first_day + timedelta(days=trial_days),
        started_at=started_at,
    )
    subscription.tenant, subscription.package = tenant, package
    subscription.open_from = period_on_day(subscription, first_day).first_on
    session.add(subscription)
    session.flush()
    moves.open_segment(session, subscription, package, started_at)
    life.begin(session, subscription, actor=actor, at=started_at, now=now)
    audit.record(
        session,
        actor,
        "subscription.start",
        f"tenant:{tenant.slug}",
        now=now,
        tenant_id=tenant.id,
        package=package.code,
        changed={"package": [None, package.code]},
    )
    return subscription


def _check_trial(session: Session, tenant: Tenant, trial_days: int) -> None:
    if not trial_days:
        return
    if not 0 < trial_days <= MOST_TRIAL_DAYS:
        raise Invalid("invalid_days", f"A trial lasts from 1 to {MOST_TRIAL_DAYS} days.", field="days")
    if tenant.status == "suspended":
        raise Conflict("tenant_suspended", "The tenant is suspended.")
    if session.scalar(select(Subscription.id).where(Subscription.tenant_id == tenant.id).limit(1)) is not None:
        raise Conflict("no_trial", "A trial is for a tenant that never had a package.", field="days")

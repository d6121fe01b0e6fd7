"""Tenants over the API: profile, subscription, meters."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from flask import Response, g
from sqlalchemy.orm import Session

from app.api.blueprint import answer, body_as, in_utc, operation
from app.api.idempotency import transact
from app.api.problems import invalid
from app.core.clock import utc_now
from app.core.destinations import checked_prefixes
from app.core.errors import NotFound
from app.core.periods import Period
from app.db import db
from app.domain.accounts import people
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package
from app.domain.changes import offers
from app.domain.metering import meters
from app.domain.metering.meters import MeterView
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.tenants.service import TenantProfile


class TenantBody(msgspec.Struct, forbid_unknown_fields=True):
    """A tenant's profile; what is left out of a change stays as it is."""

    name: str
    domain: str | msgspec.UnsetType = msgspec.UNSET
    account_code: str | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    country: str | msgspec.UnsetType = msgspec.UNSET
    locale: str | msgspec.UnsetType = msgspec.UNSET  # of its documents, and of its people's pages unless they choose
    units: str | msgspec.UnsetType = msgspec.UNSET  # minutes or hours
    contact_name: str | msgspec.UnsetType = msgspec.UNSET
    contact_email: str | msgspec.UnsetType = msgspec.UNSET
    blocked_prefixes: list[str] | msgspec.UnsetType = msgspec.UNSET  # on top of its package's


class TenantAnswer(msgspec.Struct):
    """A tenant as it stands."""

    slug: str
    name: str
    domain: str
    account_code: str
    timezone: str
    currency: str
    country: str
    locale: str
    units: str
    contact_name: str
    contact_email: str
    blocked_prefixes: list[str]
    status: str


class SubscriptionBody(msgspec.Struct, forbid_unknown_fields=True):
    """Which package, and when. `started_at` (RFC 3339 with an offset) while the tenant has none yet."""

    package: str
    when: Literal["now", "period_end"] = "now"
    started_at: datetime | None = None


class PeriodAnswer(msgspec.Struct):
    """Half-open, in the tenant's time zone."""

    start: str
    end: str


class PendingAnswer(msgspec.Struct):
    """A change that waits for the end of the period, and who asked for it."""

    package: str
    at: str
    by: str


class SubscriptionAnswer(msgspec.Struct):
    """Which package the tenant is on."""

    tenant: str
    package: str
    revision: int
    started_at: str
    period: PeriodAnswer
    pending: PendingAnswer | None


class MeterAnswer(msgspec.Struct):
    """One resource in the running period, in base units; null is unlimited."""

    resource: str
    kind: str
    included: int | None
    carried_in: int
    used: int
    on_hold: int
    remaining: int | None
    overage: int
    at_limit: str
    state: str


class MetersAnswer(msgspec.Struct):
    """What is left; package and period are null without a subscription."""

    tenant: str
    package: str | None
    period: PeriodAnswer | None
    meters: list[MeterAnswer]


@operation(
    "PUT", "/tenants/<slug>", "Create or change a tenant", scope="provision", takes=(TenantBody,), gives=TenantAnswer,
    also=(201,),
)  # fmt: skip
def put_tenant(slug: str) -> Response:
    """The same body again changes nothing."""
    body = body_as(TenantBody)
    given = {k: v for k, v in msgspec.structs.asdict(body).items() if v is not msgspec.UNSET}
    if "blocked_prefixes" in given:
        given["blocked_prefixes"] = checked_prefixes(given["blocked_prefixes"])
    actor, now = f"source {g.key.source.code}", utc_now()

    def act(session: Session) -> Response:
        try:
            tenant = tenants.by_slug(session, slug)
        except NotFound:
            tenant = tenants.create(session, TenantProfile(slug=slug, **given), actor=actor, now=now)
            return answer(_tenant(tenant), 201)
        profile = replace(tenants.profile_of(tenant), **given)
        return answer(_tenant(subscriptions.change_profile(session, tenant, profile, actor=actor, now=now)))

    return transact(act)


@operation("GET", "/tenants/<ref>", "A tenant as it stands", scope="read", gives=TenantAnswer, also=(404,))
def get_tenant(ref: str) -> Response:
    """By slug, PBX domain or account code."""
    return answer(_tenant(tenants.by_name(db.session(), ref)))


@operation(
    "PUT", "/tenants/<ref>/subscription", "Put a tenant on a package, or move it there", scope="provision",
    takes=(SubscriptionBody,), gives=SubscriptionAnswer, also=(404,),
)  # fmt: skip
def put_subscription(ref: str) -> Response:
    """Usage of the running period stays and counts against the new limits; what was pending is dropped."""
    body = body_as(SubscriptionBody)
    if body.when == "period_end" and body.started_at is not None:
        raise invalid("starts_or_waits", "A change at the end of the period has no start of its own.", "/started_at")
    started_at = body.started_at and in_utc(body.started_at, "/started_at")
    actor, now = f"source {g.key.source.code}", utc_now()

    def act(session: Session) -> Response:
        tenant, package = tenants.by_name(session, ref), catalog.by_code(session, body.package)
        if body.when == "period_end":
            done = subscriptions.subscribe_at_period_end(session, tenant, package, actor=actor, now=now)
        else:
            done = subscriptions.subscribe(session, tenant, package, actor=actor, now=now, started_at=started_at)
        offers.settle(session, tenant, package, actor=actor, now=now)
        return answer(subscription_answer(done, now))

    return transact(act)


@operation(
    "GET", "/tenants/<ref>/subscription", "Which package a tenant is on", scope="read", gives=SubscriptionAnswer,
    also=(404,),
)  # fmt: skip
def get_subscription(ref: str) -> Response:
    """404 `no_subscription` where there is none."""
    tenant = tenants.by_name(db.session(), ref)
    return answer(subscription_answer(subscriptions.require_live(db.session(), tenant), utc_now()))


@operation("GET", "/tenants/<ref>/meters", "What is left", scope="read", gives=MetersAnswer, also=(404,))
def get_meters(ref: str) -> Response:
    """The running period's meters against the limits in force now."""
    tenant = tenants.by_name(db.session(), ref)
    found = meters.current(db.session(), tenant, now=utc_now())
    return answer(
        MetersAnswer(
            tenant=tenant.slug,
            package=found.package.code if found.package else None,
            period=_period(found.period, tenant) if found.period else None,
            meters=[_meter(view) for view in found.meters],
        )
    )


def _tenant(tenant: Tenant) -> TenantAnswer:
    profile = asdict(tenants.profile_of(tenant))
    blocked = tenant.blocked_prefixes.split()
    return TenantAnswer(**{**profile, "blocked_prefixes": blocked}, status=tenant.status)


def subscription_answer(subscription: Subscription, now: datetime) -> SubscriptionAnswer:
    """The package in force, its period, and what is pending."""
    tenant, package = subscription.tenant, subscriptions.package_at(subscription, now)
    pending = subscription.pending_package if package is subscription.package else None
    return SubscriptionAnswer(
        tenant=tenant.slug,
        package=package.code,
        revision=package.revision.number,
        started_at=subscription.started_at.astimezone(ZoneInfo(tenant.timezone)).isoformat(),
        period=_period(subscriptions.period_of(subscription, now), tenant),
        pending=_pending(subscription, pending) if pending else None,
    )


def _pending(subscription: Subscription, package: Package) -> PendingAnswer:
    at = subscription.pending_at
    shown = at.astimezone(ZoneInfo(subscription.tenant.timezone)).isoformat() if at else ""
    return PendingAnswer(package.code, shown, _said_by(subscription))


def _said_by(subscription: Subscription) -> str:
    """A tenant's key learns that the provider acted, not who of its people."""
    actor = subscription.pending_by
    if g.key.tenant_id is None:
        return actor
    return people.as_told(db.session(), g.key.tenant_id, [actor], "provider")[actor]


def _period(period: Period, tenant: Tenant) -> PeriodAnswer:
    zone = ZoneInfo(tenant.timezone)
    return PeriodAnswer(period.start.astimezone(zone).isoformat(), period.end.astimezone(zone).isoformat())


def _meter(view: MeterView) -> MeterAnswer:
    return MeterAnswer(
        resource=view.resource_code,
        kind=view.kind,
        included=view.included,
        carried_in=view.carried_in,
        used=view.used,
        on_hold=view.on_hold,
        remaining=view.remaining,
        overage=view.overage,
        at_limit=view.at_limit,
        state=view.state,
    )

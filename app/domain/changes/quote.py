"""A quote: what a change of package does and costs, promised for some minutes. README.md, "Quotes"."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db import LostRace, rowcount
from app.domain.audit import service as audit
from app.domain.billing import lines
from app.domain.billing.terms import Terms
from app.domain.catalog.models import Package
from app.domain.changes import offers
from app.domain.changes.models import Quote
from app.domain.changes.outlook import Outlook, outlook
from app.domain.changes.package_move import LimitChange, preview_move
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

Effect = Literal["now", "period_end"]
TAX = "tax"
KEPT = timedelta(days=1)  # a quote that was not accepted
SHOWN_AS = {lines.RECURRING: lines.CHARGE, lines.CREDIT: lines.CREDIT, lines.CHARGE: lines.CHARGE, lines.SETUP: "setup"}


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """One amount of the change. A prorated one is for `days` of `of_days`; a tax may be `included` in the others."""

    kind: str  # credit, charge, setup, tax
    name: str
    amount_micros: int
    days: int = 0
    of_days: int = 0
    included: bool = False


@dataclass(frozen=True, slots=True)
class QuoteLimit:
    """A resource before and after, in base units (None: unlimited); `used` and `over` count carried over in."""

    resource: str
    before: int | None
    after: int | None
    used: int
    over: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What accepting did: the quote that was asked for, or in its place a fresh one and nothing done."""

    quote: Quote
    is_stale: bool = False


def make(
    session: Session,
    tenant: Tenant,
    package: Package,
    effect: Effect,
    terms: Terms,
    *,
    actor: str,
    now: datetime,
) -> Quote:
    """Quote the change. Raises Conflict as `subscriptions.subscribe`; `no_subscription` for one at a period's end."""
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    subscription = subscriptions.live(session, tenant.id)
    _check(tenant, subscription, package, effect)
    found = outlook(session, tenant, subscription, package, effect, terms, now=now)
    shown = _lines(found)
    quote = Quote(
        tenant_id=tenant.id,
        id=new_id(),
        package_id=package.id,
        before_id=subscription.package_id if subscription else None,
        effect=effect,
        effective_on=found.effective_on,
        currency=package.revision.currency,
        lines=[asdict(line) for line in shown],
        limits=[asdict(limit) for limit in _limits(session, tenant, subscription, package, now)],
        due_now_micros=found.due_now_micros,
        next_on=found.next_on,
        next_micros=found.next_micros,
        fingerprint=_fingerprint(tenant, subscription, package, effect, found, shown, now),
        made_at=now,
        made_by=actor,
        valid_until=now + terms.quotes_hold,
    )
    quote.package, quote.before = package, subscription.package if subscription else None
    session.add(quote)
    session.flush()
    return quote


def get(session: Session, tenant_id: int, quote_id: int) -> Quote:
    """The tenant's quote. Raises NotFound (`unknown_quote`)."""
    found = session.get(Quote, (tenant_id, quote_id), populate_existing=True)
    if found is None:
        raise NotFound("unknown_quote", "There is no such quote.")
    return found


def holds(session: Session, tenant: Tenant, quote: Quote, terms: Terms, *, now: datetime) -> bool:
    """Whether what the quote says is what a new one would say, and it is valid."""
    if now >= quote.valid_until:
        return False
    subscription, package, effect = subscriptions.live(session, tenant.id), quote.package, _effect(quote)
    try:
        _check(tenant, subscription, package, effect)
    except Conflict:
        return False
    found = outlook(session, tenant, subscription, package, effect, terms, now=now)
    return quote.fingerprint == _fingerprint(tenant, subscription, package, effect, found, _lines(found), now)


def accept(
    session: Session,
    tenant: Tenant,
    quote_id: int,
    terms: Terms,
    *,
    actor: str,
    now: datetime,
) -> Outcome:
    """Do what the quote says, once; where it no longer holds nothing is done and a fresh one comes back.

    Raises NotFound, and Conflict as `make` where a fresh one cannot be made.
    """
    quote = get(session, tenant.id, quote_id)
    if quote.accepted_at is not None:
        return Outcome(quote)
    moves.take_effect(session, now=now, tenant_ids=[tenant.id])
    if not holds(session, tenant, quote, terms, now=now):
        fresh = make(session, tenant, quote.package, _effect(quote), terms, actor=actor, now=now)
        return Outcome(fresh, is_stale=True)
    taken = session.execute(
        update(Quote)
        .where(Quote.tenant_id == tenant.id, Quote.id == quote.id, Quote.accepted_at.is_(None))
        .values(accepted_at=now, accepted_by=actor)
        .execution_options(synchronize_session=False)
    )
    if rowcount(taken) != 1:
        raise LostRace  # accepted a moment ago: the next try finds it so
    _carry_out(session, tenant, quote, actor, now)
    session.refresh(quote)
    return Outcome(quote)


def lines_of(quote: Quote) -> list[QuoteLine]:
    """Its lines."""
    return [QuoteLine(**line) for line in quote.lines]


def limits_of(quote: Quote) -> list[QuoteLimit]:
    """Its limits, in display order."""
    return [QuoteLimit(**limit) for limit in quote.limits]


def amounts(quote: Quote) -> dict[tuple[str, str], int]:
    """What it says in micros, by kind and name; `due_now` and `next` are its sums."""
    found = {(line.kind, line.name): line.amount_micros for line in lines_of(quote)}
    return {**found, ("due_now", ""): quote.due_now_micros, ("next", ""): quote.next_micros}


def forget(session: Session, *, now: datetime) -> None:
    """Drop quotes that nobody accepted in their day."""
    session.execute(
        delete(Quote)
        .where(Quote.accepted_at.is_(None), Quote.valid_until < now - KEPT)
        .execution_options(synchronize_session=False)
    )


def _carry_out(session: Session, tenant: Tenant, quote: Quote, actor: str, now: datetime) -> None:
    by_effect = {"now": subscriptions.subscribe, "period_end": subscriptions.subscribe_at_period_end}
    by_effect[quote.effect](session, tenant, quote.package, actor=actor, now=now)
    offers.settle(session, tenant, quote.package, actor=actor, now=now)
    audit.record(
        session,
        actor,
        "quote.accept",
        f"tenant:{tenant.slug}",
        now=now,
        tenant_id=tenant.id,
        package=quote.package.code,
        quote=quote.id,
    )


def _effect(quote: Quote) -> Effect:
    return "now" if quote.effect == "now" else "period_end"


def _check(tenant: Tenant, subscription: Subscription | None, package: Package, effect: Effect) -> None:
    subscriptions.check_fit(tenant, package)
    if subscription is not None:
        moves.check_interval(subscription, package)
    elif effect == "period_end":
        raise Conflict("no_subscription", f"{tenant.name} has no package, so there is no period to wait for.")


def _lines(found: Outlook) -> list[QuoteLine]:
    """As people read them: what is charged for a first period is a charge, and each tax stands by itself."""
    rows = [
        QuoteLine(SHOWN_AS[line.kind], line.name, line.amount_micros, line.days, line.of_days) for line in found.lines
    ]
    taxes = [
        QuoteLine(TAX, tax.rate.name, tax.tax_micros, included=tax.rate.inclusive)
        for tax in found.totals.taxes
        if tax.tax_micros
    ]
    return [*rows, *taxes]


def _limits(
    session: Session, tenant: Tenant, subscription: Subscription | None, package: Package, now: datetime
) -> list[QuoteLimit]:
    return [_limit(change) for change in preview_move(session, tenant, subscription, package, now=now).limits]


def _limit(change: LimitChange) -> QuoteLimit:
    after, before = change.after, change.before
    return QuoteLimit(
        after.resource_code, before.included if before else None, after.included, after.used, after.overage
    )


def _fingerprint(
    tenant: Tenant,
    subscription: Subscription | None,
    package: Package,
    effect: Effect,
    found: Outlook,
    shown: Sequence[QuoteLine],
    now: datetime,
) -> str:
    """64 hex digits over everything the promise rests on: usage moves on without breaking it."""
    rests_on: list[Any] = [
        effect,
        package.revision_id,
        [tenant.status, tenant.currency, tenant.timezone],
        _of_subscription(subscription, now),
        found.effective_on,
        [[tax.rate.code, tax.rate.ppm, tax.rate.inclusive] for tax in found.totals.taxes],
        found.tax_code,
        [asdict(line) for line in shown],
        found.due_now_micros,
        found.next_on,
    ]
    return hashlib.sha256(json.dumps(rests_on, default=str).encode()).hexdigest()


def _of_subscription(subscription: Subscription | None, now: datetime) -> list[int | date | datetime | None]:
    if subscription is None:
        return []
    period = subscriptions.period_of(subscription, now)
    return [
        subscription.id,
        subscription.package_id,
        subscription.package.revision_id,
        subscription.pending_package_id,
        subscription.pending_at,
        period.first_on,
        period.end_on,
    ]

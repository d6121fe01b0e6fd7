"""Quotes over the API: what a change of package does and costs, and doing it."""

import re
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from flask import Response, g
from sqlalchemy.orm import Session

from app import branding
from app.api.blueprint import answer, body_as, operation
from app.api.idempotency import transact
from app.api.problems import Problem, respond
from app.api.tenants import SubscriptionAnswer, subscription_answer
from app.core.clock import utc_now
from app.core.errors import NotFound
from app.core.money import format_micros
from app.domain.catalog import service as catalog
from app.domain.changes import quote as quotes
from app.domain.changes.models import Quote
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

_ID = re.compile(r"[0-9]{1,18}")
STALE = "What the quote rests on has changed, or its time is over. `quote` is what it would be now; nothing was done."


class QuoteBody(msgspec.Struct, forbid_unknown_fields=True):
    """To which package, at once or at the end of the running period."""

    package: str
    when: Literal["now", "period_end"] = "now"


class QuoteLine(msgspec.Struct):
    """One amount; a prorated one is for `days` of `of_days`. A tax that is `included` is part of the others."""

    kind: Literal["credit", "charge", "setup", "tax"]
    name: str
    amount: str
    days: int
    of_days: int
    included: bool


class QuoteLimit(msgspec.Struct):
    """Base units; null is unlimited. `over` is what would lie beyond the new limit."""

    resource: str
    before: int | None
    after: int | None
    used: int
    over: int


class NextInvoice(msgspec.Struct):
    """The next invoice as it stands: the coming period, this change, usage so far."""

    on: str
    amount: str


class QuoteAnswer(msgspec.Struct):
    """What the browser shows. Amounts are decimal strings in `currency`."""

    id: str
    valid_until: str
    package: str
    before: str | None
    when: str
    effective_on: str
    currency: str
    lines: list[QuoteLine]
    due_now: str
    next_invoice: NextInvoice
    limits: list[QuoteLimit]
    accepted_at: str | None


@operation(
    "POST", "/tenants/<ref>/quotes", "What a change of package does and costs", scope="provision",
    takes=(QuoteBody,), gives=QuoteAnswer, also=(201, 404),
)  # fmt: skip
def make_quote(ref: str) -> Response:
    """A promise until `valid_until`, as long as what it rests on stays as it is."""
    body, actor, now = body_as(QuoteBody), f"source {g.key.source.code}", utc_now()

    def act(session: Session) -> Response:
        tenant, package = tenants.by_name(session, ref), catalog.by_code(session, body.package)
        made = quotes.make(session, tenant, package, body.when, branding.terms(), actor=actor, now=now)
        return answer(_shown(made, tenant), 201)

    return transact(act)


@operation(
    "POST", "/tenants/<ref>/quotes/<quote_id>/accept", "Do what a quote says", scope="provision", gives=QuoteAnswer,
    also=(404,),
)  # fmt: skip
def accept_quote(ref: str, quote_id: str) -> Response:
    """Once, however often it is sent; 409 `quote_stale` with a fresh `quote` where it no longer holds."""
    actor, now = f"source {g.key.source.code}", utc_now()
    if not _ID.fullmatch(quote_id):
        raise NotFound("unknown_quote", "There is no such quote.")

    def act(session: Session) -> Response:
        tenant = tenants.by_name(session, ref)
        outcome = quotes.accept(session, tenant, int(quote_id), branding.terms(), actor=actor, now=now)
        shown = _shown(outcome.quote, tenant)
        # Not raised: the fresh quote is to be kept.
        return respond(Problem(409, "quote_stale", STALE, quote=shown)) if outcome.is_stale else answer(shown)

    return transact(act)


@operation(
    "DELETE", "/tenants/<ref>/subscription/pending", "Cancel a change that is pending", scope="provision",
    gives=SubscriptionAnswer, also=(404,),
)  # fmt: skip
def cancel_change(ref: str) -> Response:
    """404 `nothing_pending` where there is none any more."""
    actor, now = f"source {g.key.source.code}", utc_now()

    def act(session: Session) -> Response:
        subscription = subscriptions.require_live(session, tenants.by_name(session, ref))
        moves.cancel(session, subscription, actor=actor, now=now)
        return answer(subscription_answer(subscription, now))

    return transact(act)


def _shown(quote: Quote, tenant: Tenant) -> QuoteAnswer:
    zone = ZoneInfo(tenant.timezone)
    return QuoteAnswer(
        id=str(quote.id),
        valid_until=quote.valid_until.astimezone(zone).isoformat(),
        package=quote.package.code,
        before=quote.before.code if quote.before else None,
        when=quote.effect,
        effective_on=quote.effective_on.isoformat(),
        currency=quote.currency,
        lines=[
            QuoteLine(
                line.kind,  # type: ignore[arg-type]  # the four kinds
                line.name,
                format_micros(line.amount_micros),
                line.days,
                line.of_days,
                line.included,
            )
            for line in quotes.lines_of(quote)
        ],
        due_now=format_micros(quote.due_now_micros),
        next_invoice=NextInvoice(quote.next_on.isoformat(), format_micros(quote.next_micros)),
        limits=[
            QuoteLimit(limit.resource, limit.before, limit.after, limit.used, limit.over)
            for limit in quotes.limits_of(quote)
        ],
        accepted_at=quote.accepted_at.astimezone(zone).isoformat() if quote.accepted_at else None,
    )

"""Packages over the API: one PUT creates or publishes."""

from typing import Literal

import msgspec
from flask import Response, g
from msgspec import UNSET, UnsetType
from sqlalchemy.orm import Session

from app.api.blueprint import answer, body_as, operation
from app.api.idempotency import transact
from app.api.problems import invalid
from app.core.clock import utc_now
from app.core.destinations import checked_prefixes
from app.core.errors import NotFound
from app.core.money import format_micros, parse_micros
from app.db import db
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package
from app.domain.catalog.specs import LimitSpec, PackageSpec


class Rollover(msgspec.Struct, forbid_unknown_fields=True):
    """What is left lives `periods` more; at most `cap` base units come into one, null is all of it."""

    periods: int
    cap: int | None = None


class Limit(msgspec.Struct, forbid_unknown_fields=True):
    """`included` in base units (null: unlimited, 0: none). Per display unit: `overage_price`, when charged, and
    `unit_cost`, what it costs the provider."""

    resource: str
    included: int | None
    at_limit: Literal["block", "charge", "notify"] = "block"
    overage_price: str = "0"
    rollover: Rollover | UnsetType = UNSET
    unit_cost: str | UnsetType = UNSET


class PackageBody(msgspec.Struct, forbid_unknown_fields=True):
    """A package's content. Money as decimal strings. What tenants may do about a public one: change to it, ask, see.

    Outbound calls to numbers that begin with one of `blocked_prefixes` are refused.
    Where everything included costs more than the price, `loss_reason` says why it is sold all the same.
    """

    name: str
    currency: str = "EUR"
    interval: Literal["month", "year"] = "month"
    price: str = "0"
    cost: str = "0"
    setup_fee: str = "0"
    public: bool = True
    tenants_may: Literal["change", "ask", "see"] = "change"
    blocked_prefixes: list[str] = []
    loss_reason: str | UnsetType = UNSET
    limits: list[Limit] = []


class PackageAnswer(msgspec.Struct):
    """A package as it stands: its current revision."""

    code: str
    status: str
    revision: int
    name: str
    currency: str
    interval: str
    price: str
    cost: str
    setup_fee: str
    public: bool
    tenants_may: str
    blocked_prefixes: list[str]
    limits: list[Limit]
    loss_reason: str | UnsetType = UNSET


@operation(
    "PUT",
    "/packages/<code>",
    "Create a package, or publish a new revision when anything differs",
    scope="provision",
    takes=(PackageBody,),
    gives=PackageAnswer,
    also=(201,),
)
def put_package(code: str) -> Response:
    """Every tenant on it has the new limits once this answers; the same body again changes nothing."""
    spec = _spec(body_as(PackageBody))
    actor, now = f"source {g.key.source.code}", utc_now()

    def act(session: Session) -> Response:
        try:
            package = catalog.by_code(session, code)
        except NotFound:
            package = catalog.create(session, code, spec, actor=actor, now=now, status="published")
            return answer(_shown(package), 201)
        catalog.publish(session, package, spec, actor=actor, now=now)
        if package.status == "draft":
            catalog.set_status(session, package, "published", actor=actor, now=now)
        return answer(_shown(package))

    return transact(act)


@operation("GET", "/packages/<code>", "A package as it stands", scope="read", gives=PackageAnswer, also=(404,))
def get_package(code: str) -> Response:
    """Its current revision."""
    return answer(_shown(catalog.by_code(db.session(), code)))


def _spec(body: PackageBody) -> PackageSpec:
    return PackageSpec(
        name=body.name,
        currency=body.currency,
        interval=body.interval,
        price_micros=_micros(body.price, "/price"),
        cost_micros=_micros(body.cost, "/cost"),
        setup_fee_micros=_micros(body.setup_fee, "/setup_fee"),
        public=body.public,
        tenants_may=body.tenants_may,
        blocked_prefixes=checked_prefixes(body.blocked_prefixes),
        loss_reason=body.loss_reason or "",
        limits=tuple(
            LimitSpec(
                limit.resource,
                limit.included,
                limit.at_limit,
                _micros(limit.overage_price, f"/limits/{index}/overage_price"),
                limit.rollover.periods if limit.rollover else 0,
                limit.rollover.cap if limit.rollover else None,
                _micros(limit.unit_cost or "0", f"/limits/{index}/unit_cost"),
            )
            for index, limit in enumerate(body.limits)
        ),
    )


def _micros(text: str, pointer: str) -> int:
    try:
        return parse_micros(text)
    except ValueError as error:
        raise invalid("invalid_amount", f"{error}: “{text}”", pointer) from None


def _shown(package: Package) -> PackageAnswer:
    revision = package.revision
    return PackageAnswer(
        code=package.code,
        status=package.status,
        revision=revision.number,
        name=revision.name,
        currency=revision.currency,
        interval=revision.interval,
        price=format_micros(revision.price_micros),
        cost=format_micros(revision.cost_micros),
        setup_fee=format_micros(revision.setup_fee_micros),
        public=revision.public,
        tenants_may=revision.tenants_may,
        blocked_prefixes=revision.blocked_prefixes.split(),
        limits=[
            Limit(
                limit.resource,
                limit.included,
                limit.at_limit,  # type: ignore[arg-type]
                format_micros(limit.overage_price_micros),
                Rollover(limit.rollover_periods, limit.rollover_cap) if limit.rollover_periods else UNSET,
                format_micros(limit.unit_cost_micros) if limit.unit_cost_micros else UNSET,
            )
            for limit in catalog.spec_of(revision).limits
        ],
        loss_reason=revision.loss_reason or UNSET,
    )

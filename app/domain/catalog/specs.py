"""What a package says, as the provider states it; checked, and what it may cost at worst. No database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from app.core.destinations import checked_prefixes
from app.core.errors import Invalid
from app.core.money import price_of
from app.core.quantities import MAX_QUANTITY
from app.domain.catalog.models import Resource
from app.domain.tenants.service import CURRENCIES

MOST_ROLLOVER_PERIODS = 24
MOST_REASON = 255  # characters
TENANTS_MAY = ("change", "ask", "see")


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """One limit as the provider states it; quantities in base units, price and wholesale cost per display unit.

    What is left of a period lives `rollover_periods` more; at most `rollover_cap` comes into one (None: all of it).
    """

    resource: str
    included: int | None
    at_limit: str = "block"
    overage_price_micros: int = 0
    rollover_periods: int = 0
    rollover_cap: int | None = None
    unit_cost_micros: int = 0


@dataclass(frozen=True, slots=True)
class PackageSpec:
    """The content of a revision as the provider states it.

    Of a public package tenants may `change` to it by themselves, `ask` for it, or only `see` it. `cost_micros` is the
    wholesale cost of a period before anything is used; `loss_reason` says why the worst case may exceed the price.
    """

    name: str
    currency: str = "EUR"
    interval: str = "month"
    price_micros: int = 0
    cost_micros: int = 0
    setup_fee_micros: int = 0
    public: bool = True
    tenants_may: str = "change"
    blocked_prefixes: str = ""  # of numbers that may not be called, with blanks between
    loss_reason: str = ""
    limits: tuple[LimitSpec, ...] = field(default=())


def worst_case_micros(spec: PackageSpec, resources: Iterable[Resource]) -> int | None:
    """What a period costs the provider with everything included used up; None: something unlimited costs by the unit.

    The package's own cost and, per limit, included quantity × cost per display unit ÷ factor.
    """
    factors = {resource.code: resource.factor for resource in resources}
    costs = [spec.cost_micros]
    for limit in spec.limits:
        if limit.unit_cost_micros and limit.included is None:
            return None
        costs.append(price_of(limit.included or 0, limit.unit_cost_micros, factors[limit.resource]))
    return sum(costs)


def may_lose(spec: PackageSpec, resources: Iterable[Resource]) -> bool:
    """True when the worst case costs more than the price."""
    worst = worst_case_micros(spec, resources)
    return worst is None or worst > spec.price_micros


def checked(spec: PackageSpec, resources: Sequence[Resource]) -> PackageSpec:
    """`spec` in canonical form (limits sorted, prices only where charged). Raises Invalid with the field."""
    if not spec.name.strip() or len(spec.name) > 255:
        raise Invalid("missing_name", "Give the package a name.", field="name")
    if spec.interval not in ("month", "year"):
        raise Invalid("unknown_interval", "The interval is month or year.", field="interval")
    if spec.currency not in CURRENCIES:
        raise Invalid("unknown_currency", f"“{spec.currency}” is not a currency.", field="currency")
    if spec.tenants_may not in TENANTS_MAY:
        raise Invalid("unknown_tenants_may", "Tenants may change, ask or see.", field="tenants_may")
    known = {resource.code: resource for resource in resources}
    limits = []
    for index, limit in enumerate(spec.limits):
        _check_limit(limit, known, f"limits/{index}")
        charged = limit.at_limit == "charge" and limit.included is not None
        limits.append(
            replace(
                limit,
                overage_price_micros=limit.overage_price_micros if charged else 0,
                rollover_cap=limit.rollover_cap if limit.rollover_periods else None,
            )
        )
    if len({limit.resource for limit in limits}) != len(limits):
        raise Invalid("duplicate_limit", "A resource can have one limit only.", field="limits")
    spec = replace(
        spec,
        name=spec.name.strip(),
        blocked_prefixes=checked_prefixes(spec.blocked_prefixes.split()),
        limits=tuple(sorted(limits, key=lambda limit: limit.resource)),
    )
    reason = " ".join(spec.loss_reason.split()) if may_lose(spec, resources) else ""
    if len(reason) > MOST_REASON:
        raise Invalid("loss_reason_too_long", f"At most {MOST_REASON} characters.", field="loss_reason")
    return replace(spec, loss_reason=reason)


def check_reason(spec: PackageSpec, resources: Iterable[Resource]) -> None:
    """Raise Invalid (`missing_loss_reason`) where the worst case exceeds the price and nobody says why that is so."""
    if not spec.loss_reason and may_lose(spec, resources):
        raise Invalid(
            "missing_loss_reason",
            "Fully used, the package costs more than its price. Say why it is sold all the same.",
            field="loss_reason",
        )


def _check_limit(limit: LimitSpec, known: dict[str, Resource], where: str) -> None:
    resource = known.get(limit.resource)
    if resource is None:
        raise Invalid("unknown_resource", f"There is no resource “{limit.resource}”.", field=f"{where}/resource")
    if limit.included is not None and not 0 <= limit.included <= MAX_QUANTITY:
        raise Invalid("invalid_included", "The included quantity is out of range.", field=f"{where}/included")
    if limit.at_limit not in ("block", "charge", "notify"):
        raise Invalid("unknown_at_limit", "At the limit: block, charge or notify.", field=f"{where}/at_limit")
    if resource.kind != "metered" and limit.at_limit != "block":
        raise Invalid(
            "only_metered_overruns", f"{resource.name} can only stop at the limit.", field=f"{where}/at_limit"
        )
    _check_rollover(limit, resource, where)


def _check_rollover(limit: LimitSpec, resource: Resource, where: str) -> None:
    if not 0 <= limit.rollover_periods <= MOST_ROLLOVER_PERIODS:
        raise Invalid(
            "invalid_rollover",
            f"What is left lives at most {MOST_ROLLOVER_PERIODS} periods more.",
            field=f"{where}/rollover/periods",
        )
    if limit.rollover_periods and (resource.kind != "metered" or limit.included is None):
        raise Invalid(
            "nothing_to_roll_over", f"{resource.name} has nothing left at a period's end.", field=f"{where}/rollover"
        )
    if limit.rollover_cap is not None and not 0 <= limit.rollover_cap <= MAX_QUANTITY:
        raise Invalid("invalid_rollover", "The cap is out of range.", field=f"{where}/rollover/cap")

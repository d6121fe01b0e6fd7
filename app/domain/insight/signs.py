"""Which package fits a tenant and what says so. Pure; README.md, "Ready for more"."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar

from app.core.forecast import Forecast
from app.core.money import price_of

FULL_PERCENT = 80  # from here on a limit counts as nearly used, and a fitting one leaves the rest free
PERIODS = 3  # the running one and those before it
FULL_PERIODS = 2  # of them


@dataclass(frozen=True, slots=True)
class Limit:
    """What a package says of a resource; quantities in base units, the price per `factor` of them. None: unlimited."""

    included: int | None
    at_limit: str
    price_micros: int
    factor: int
    unit_micros: int = 1  # whole coins, as an invoice has them
    cost_micros: int = 0  # wholesale, per `factor`

    def holds(self, need: int, percent: int = 100) -> bool:
        """Whether `need` is within `percent` of what is included."""
        return self.included is None or need * 100 <= self.included * percent

    def overage_micros(self, used: int) -> int:
        """What `used` costs beyond what is included."""
        return price_of(self._charged(used), self.price_micros, self.factor, self.unit_micros)

    def overage_cost_micros(self, used: int) -> int:
        """What that costs the provider."""
        return price_of(self._charged(used), self.cost_micros, self.factor, self.unit_micros)

    def _charged(self, used: int) -> int:
        return 0 if self.included is None or self.at_limit != "charge" else max(0, used - self.included)


@dataclass(frozen=True, slots=True)
class Sold:
    """A package as it is sold now; `limits` by resource, one that is missing has none."""

    id: int
    code: str
    name: str
    price_micros: int
    cost_micros: int
    currency: str
    interval: str
    limits: Mapping[str, Limit]

    @property
    def margin_micros(self) -> int:
        """Price less wholesale cost, a period."""
        return self.price_micros - self.cost_micros

    def overage_micros(self, used: Mapping[str, int]) -> int:
        """What these quantities cost beyond what is included."""
        return sum(self.limits[code].overage_micros(each) for code, each in used.items() if code in self.limits)

    def overage_cost_micros(self, used: Mapping[str, int]) -> int:
        """What that costs the provider."""
        return sum(self.limits[code].overage_cost_micros(each) for code, each in used.items() if code in self.limits)

    def stops(self, need: Mapping[str, int]) -> bool:
        """Whether a limit that refuses more would refuse some of it."""
        return any(
            self.limits[code].at_limit == "block" and not self.limits[code].holds(each)
            for code, each in need.items()
            if code in self.limits
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What was used in a period of what there was, base units."""

    first_on: date
    used: int
    total: int

    @property
    def is_full(self) -> bool:
        """More than 80 %."""
        return self.total > 0 and self.used * 100 > self.total * FULL_PERCENT


@dataclass(frozen=True, slots=True)
class Full:
    """Over 80 % in two of three periods: these, newest first."""

    kind: ClassVar = "full"
    resource: str
    shares: Sequence[Share]


@dataclass(frozen=True, slots=True)
class Beyond:
    """In the last period, what lay beyond cost more than the step to the larger package, with what would have then."""

    kind: ClassVar = "beyond"
    first_on: date
    charged_micros: int
    gap_micros: int
    then_micros: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Attempts that its limit refused lately, and what would have been enough."""

    kind: ClassVar = "refused"
    resource: str
    attempts: int
    enough: int


@dataclass(frozen=True, slots=True)
class RunsOut:
    """What is left of the running period will not last it."""

    kind: ClassVar = "runs_out"
    resource: str
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Spare:
    """At most `most` was used or held in three periods; the smaller package includes `included` (None: no limit)."""

    kind: ClassVar = "spare"
    resource: str
    most: int
    included: int | None
    now: int | None


Sign = Full | Beyond | Refused | RunsOut | Spare


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tenant, by resource and in base units.

    `shares` of metered resources newest first, the running period leading; `held` of what has no period; `last` is
    what was used in the last closed period, `charged_micros` what it cost beyond, and `charged_cost_micros` what that
    cost the provider; `projected` what the running period comes to at its pace.
    """

    own: Sold
    shares: Mapping[str, Sequence[Share]] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    last_on: date | None = None
    last: Mapping[str, int] = field(default_factory=dict)
    charged_micros: int = 0
    charged_cost_micros: int = 0
    refused: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # attempts, enough
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    projected: Mapping[str, int] = field(default_factory=dict)
    is_settled: bool = False  # three periods are closed, so that what was not used says something

    def most(self) -> dict[str, int]:
        """The most that was used in one of the periods, or is held."""
        used = {code: max(share.used for share in shares) for code, shares in self.shares.items() if shares}
        return used | dict(self.held)


@dataclass(frozen=True, slots=True)
class Advice:
    """Why, which package (None: none is large enough), and what that makes of a period's money.

    `pays_micros` is what the tenant pays more (negative: less), `margin_micros` what the provider keeps more; both
    with the overage of the last period that the package would have spared it.
    """

    signs: Sequence[Sign]
    fit: Sold | None
    pays_micros: int
    margin_micros: int
    spared_micros: int = 0
    cost_spared_micros: int = 0  # of what those units cost the provider


def outgrown(facts: Facts, offers: Iterable[Sold]) -> Advice | None:
    """What says that the tenant needs more, and the cheapest dearer package that holds it; None where nothing does."""
    larger = [each for each in _choices(facts.own, offers) if each.price_micros >= facts.own.price_micros]
    signs: list[Sign] = [
        *(_full(facts)),
        *(Refused(code, *found) for code, found in facts.refused.items() if _is_short(facts.own, code, found[1])),
        *(RunsOut(code, found) for code, found in facts.forecasts.items() if found.runs_out_at is not None),
    ]
    cheaper = _cheaper(facts, larger)
    if not signs and cheaper is None:
        return None
    fit = _smallest(facts, larger, signs) if signs else cheaper
    fit = fit or cheaper
    if cheaper is not None:
        signs.insert(0, _beyond(facts, cheaper))
    return _advice(facts, signs, fit)


def oversized(facts: Facts, offers: Iterable[Sold]) -> Advice | None:
    """The cheapest package that would hold all of three periods with room to spare, where it is cheaper."""
    if not facts.is_settled or facts.refused:
        return None
    most = facts.most()
    for each in _choices(facts.own, offers):
        if each.price_micros >= facts.own.price_micros:
            return None
        if all(_has_room(each, facts, code, need) for code, need in most.items()):
            return _advice(facts, _spare(facts, each, most), each)
    return None


def _choices(own: Sold, offers: Iterable[Sold]) -> list[Sold]:
    fits = [each for each in offers if each.id != own.id and _is_alike(own, each)]
    return sorted(fits, key=lambda each: (each.price_micros, each.name, each.id))


def _is_alike(own: Sold, each: Sold) -> bool:
    return (each.currency, each.interval) == (own.currency, own.interval)


def _full(facts: Facts) -> Iterable[Full]:
    for code, shares in facts.shares.items():
        full = [share for share in shares[:PERIODS] if share.is_full]
        if len(full) >= FULL_PERIODS:
            yield Full(code, full)


def _is_short(own: Sold, code: str, enough: int) -> bool:
    """A limit that was raised since no longer refuses."""
    return code in own.limits and own.limits[code].at_limit == "block" and not own.limits[code].holds(enough)


def _smallest(facts: Facts, larger: Sequence[Sold], signs: Sequence[Sign]) -> Sold | None:
    need = facts.most()
    need = {code: max(each, facts.projected.get(code, 0)) for code, each in need.items()}
    percent = {sign.resource: FULL_PERCENT for sign in signs if isinstance(sign, Full)}
    for sign in signs:
        if isinstance(sign, Refused):
            need[sign.resource] = max(sign.enough, need.get(sign.resource, 0))
    about = {sign.resource for sign in signs if not isinstance(sign, Beyond)}
    for each in larger:
        met = all(
            each.limits[code].holds(need.get(code, 0), percent.get(code, 100)) for code in about if code in each.limits
        )
        if met and not each.stops(need):
            return each
    return None


def _cheaper(facts: Facts, larger: Sequence[Sold]) -> Sold | None:
    """With which the last period would have cost least, where that is less than it did."""
    own = facts.own.price_micros + facts.charged_micros
    costs = [
        (each.price_micros + each.overage_micros(facts.last), each) for each in larger if not each.stops(facts.last)
    ]
    if not facts.charged_micros or not costs:
        return None
    least, found = min(costs, key=lambda pair: (pair[0], pair[1].price_micros))
    return found if least < own else None


def _beyond(facts: Facts, fit: Sold) -> Beyond:
    assert facts.last_on is not None
    gap = fit.price_micros - facts.own.price_micros
    return Beyond(facts.last_on, facts.charged_micros, gap, fit.overage_micros(facts.last))


def _has_room(each: Sold, facts: Facts, code: str, need: int) -> bool:
    """Used only up to 80 % of what it includes; what is held may fill it."""
    limit = each.limits.get(code)
    return limit is None or limit.holds(need, 100 if code in facts.held else FULL_PERCENT)


def _spare(facts: Facts, fit: Sold, most: Mapping[str, int]) -> list[Sign]:
    """Where the smaller package has less; of what nothing was used, too."""
    found: list[Sign] = []
    for code, limit in fit.limits.items():
        own = facts.own.limits.get(code)
        now = own.included if own else None
        if limit.included is not None and (now is None or limit.included < now):
            found.append(Spare(code, most.get(code, 0), limit.included, now))
    return found


def _advice(facts: Facts, signs: Sequence[Sign], fit: Sold | None) -> Advice:
    if fit is None:
        return Advice(signs, None, 0, 0)
    spared = cost_spared = 0
    if facts.charged_micros:
        spared = facts.charged_micros - fit.overage_micros(facts.last)
        cost_spared = facts.charged_cost_micros - fit.overage_cost_micros(facts.last)
    pays = fit.price_micros - facts.own.price_micros - spared
    margin = fit.margin_micros - facts.own.margin_micros - (spared - cost_spared)
    return Advice(signs, fit, pays, margin, spared, cost_spared)

"""An invoice's lines, its tax and its total, out of plain figures. Pure; README.md, "Lines" and "Tax"."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from app.core.money import half_up, price_of
from app.domain.billing import proration

RECURRING, SETUP, CREDIT, CHARGE, OVERAGE, ONE_OFF, MINIMUM = (
    "recurring", "setup", "credit", "charge", "overage", "one_off", "minimum",
)  # fmt: skip
PER_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice. `amount_micros` is whole coins of the currency; what it stands for depends on `kind`.

    `quantity` is in base units and `price_micros` per display unit of `factor` base units; a recurring or prorated line
    has the period's price, `days` of `of_days`. `[first_on, end_on)` are the local days that it is about.
    """

    kind: str
    name: str  # of the package, of the resource, or the words of a one-off line
    amount_micros: int
    tax_code: str
    price_micros: int = 0
    quantity: int = 1
    factor: int = 1
    resource_code: str = ""
    usage_on: date | None = None  # the period whose meter the quantity is out of
    late: bool = False  # reported after the invoice of the period that it happened in
    first_on: date | None = None
    end_on: date | None = None
    days: int = 0
    of_days: int = 0
    unit_one: str = ""
    unit_many: str = ""
    cost_micros: int = 0  # wholesale, as it was when the line was made
    package_id: int | None = None  # None: of no package


@dataclass(frozen=True, slots=True)
class Used:
    """What lies beyond a limit at one price, in base units; late: that part of it which was reported late."""

    resource_code: str
    name: str
    factor: int
    price_micros: int
    quantity: int
    late: int = 0
    unit_one: str = ""
    unit_many: str = ""
    cost_micros: int = 0  # wholesale, per display unit


@dataclass(frozen=True, slots=True)
class Rate:
    """A named tax rate: 190,000 `ppm` are 19 %. `inclusive`: the prices hold the tax already.

    `category` is that of EN 16931: S standard, Z zero, E exempt, AE reverse charge (0 %, with a note), O out of scope.
    """

    code: str
    name: str
    ppm: int
    inclusive: bool = False
    category: str = "S"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Tax:
    """The tax of one rate: on the sum of its lines, rounded once."""

    rate: Rate
    net_micros: int
    tax_micros: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What an invoice comes to. `total_micros` = net + tax."""

    taxes: tuple[Tax, ...]
    net_micros: int
    tax_micros: int

    @property
    def tax_within_micros(self) -> int:
        """What of the tax the lines' own amounts hold: lines = net + this."""
        return sum(tax.tax_micros for tax in self.taxes if tax.rate.inclusive)

    @property
    def total_micros(self) -> int:
        """What is to be paid."""
        return self.net_micros + self.tax_micros


@dataclass(frozen=True, slots=True)
class Priced:
    """A package by name with what it is charged at in a period, and what that costs the provider."""

    name: str
    price_micros: int
    cost_micros: int = 0
    id: int | None = None


def recurring(package: Priced, first_on: date, end_on: date, *, tax_code: str, unit_micros: int) -> Line:
    """The price of a whole period, in advance."""
    amount, cost = (half_up(micros, 1, unit_micros) for micros in (package.price_micros, package.cost_micros))
    return Line(
        RECURRING, package.name, amount, tax_code, package.price_micros,
        first_on=first_on, end_on=end_on, cost_micros=cost, package_id=package.id,
    )  # fmt: skip


def setup(package: Priced, fee_micros: int, on: date, *, tax_code: str, unit_micros: int) -> list[Line]:
    """The fee for setting up, where there is one."""
    if not fee_micros:
        return []
    amount = half_up(fee_micros, 1, unit_micros)
    return [Line(SETUP, package.name, amount, tax_code, fee_micros, first_on=on, end_on=on, package_id=package.id)]


def changed(
    old: Priced, new: Priced, first_on: date, end_on: date, on: date, *, tax_code: str, unit_micros: int
) -> list[Line]:
    """A change of package on the day `on` of a period: credit of the old price, charge of the new one."""
    found = proration.change(old.price_micros, new.price_micros, first_on, end_on, on, unit_micros)
    cost = proration.change(old.cost_micros, new.cost_micros, first_on, end_on, on, unit_micros)
    parts = (
        (CREDIT, old, found.credit_micros, cost.credit_micros),
        (CHARGE, new, found.charge_micros, cost.charge_micros),
    )
    return [
        Line(
            kind, package.name, amount, tax_code, package.price_micros,
            first_on=on, end_on=end_on, days=found.days_left, of_days=found.days,
            cost_micros=wholesale, package_id=package.id,
        )
        for kind, package, amount, wholesale in parts
    ]  # fmt: skip


def overage(
    used: Iterable[Used],
    usage_on: date,
    first_on: date,
    end_on: date,
    *,
    tax_code: str,
    unit_micros: int,
    package_id: int | None = None,
) -> list[Line]:
    """What lay beyond the limits, a line per resource and price; what was reported late stands on a line of its own."""
    found = []
    for each in used:
        late = each.late if 0 < each.late <= each.quantity else 0
        for quantity, is_late in ((each.quantity - late, False), (late, True)):
            if quantity:
                amount, cost = (
                    price_of(quantity, micros, each.factor, unit_micros)
                    for micros in (each.price_micros, each.cost_micros)
                )
                found.append(
                    Line(
                        OVERAGE, each.name, amount, tax_code, each.price_micros, quantity, each.factor,
                        each.resource_code, usage_on, is_late, first_on, end_on,
                        unit_one=each.unit_one, unit_many=each.unit_many, cost_micros=cost, package_id=package_id,
                    )
                )  # fmt: skip
    return found


def one_off(name: str, quantity: int, price_micros: int, *, tax_code: str, unit_micros: int) -> Line:
    """What staff puts on the invoice: so many of something; a negative price takes off."""
    amount = price_of(quantity, price_micros, 1, unit_micros)
    return Line(ONE_OFF, name, amount, tax_code, price_micros, quantity)


def up_to_minimum(lines: Iterable[Line], minimum_micros: int, *, tax_code: str) -> list[Line]:
    """What is missing to the least amount of an invoice; nothing where nothing is charged at all."""
    amount = sum(line.amount_micros for line in lines)
    missing = minimum_micros - amount
    return [Line(MINIMUM, "", missing, tax_code, minimum_micros)] if amount > 0 and missing > 0 else []


def credited(line: Line) -> Line:
    """The line that takes `line` back."""
    return replace(line, amount_micros=-line.amount_micros, quantity=-line.quantity, cost_micros=-line.cost_micros)


def total(lines: Iterable[Line], rates: Iterable[Rate], *, unit_micros: int) -> Totals:
    """Tax per rate on the sum of its lines, rounded once. Raises KeyError for a line of a rate that is not given."""
    known = {rate.code: rate for rate in rates}
    sums: dict[str, int] = {}
    for line in lines:
        sums[known[line.tax_code].code] = sums.get(line.tax_code, 0) + line.amount_micros
    taxes = tuple(_tax(known[code], amount, unit_micros) for code, amount in sorted(sums.items()))
    return Totals(taxes, sum(tax.net_micros for tax in taxes), sum(tax.tax_micros for tax in taxes))


def nets(lines: Sequence[Line], totals: Totals) -> list[int]:
    """What each line is without the tax in it; per rate they add up to the net of `totals`.

    Of an inclusive rate each line has the share of its amount, rounded so that the sum is kept.
    """
    parts: dict[str, Iterator[int]] = {}
    for tax in totals.taxes:
        amounts = [line.amount_micros for line in lines if line.tax_code == tax.rate.code]
        parts[tax.rate.code] = _shares(tax.net_micros, amounts)
    return [next(parts[line.tax_code]) for line in lines]


def _shares(total: int, amounts: Sequence[int]) -> Iterator[int]:
    """`total` in proportion to `amounts`, exactly: each is a difference of two sums, the last takes the rest."""
    whole, before, sum_ = sum(amounts), 0, 0
    for index, amount in enumerate(amounts):
        sum_ += amount
        exact = half_up(sum_ * total * (-1 if whole < 0 else 1), abs(whole)) if whole else 0
        upto = total if index == len(amounts) - 1 else exact
        yield upto - before
        before = upto


def _tax(rate: Rate, amount: int, unit_micros: int) -> Tax:
    """Exclusive: on top. Inclusive: what of the amount is tax."""
    base = PER_MILLION + rate.ppm if rate.inclusive else PER_MILLION
    tax = half_up(amount * rate.ppm, base, unit_micros)
    return Tax(rate, amount - tax if rate.inclusive else amount, tax)

"""What part of a period's price belongs to some of its days. Pure; README.md, "Proration".

Every amount is the price of the days left until the period ends, rounded once. Two such amounts differ by what the days
between them cost, so the parts of any split add up to the whole exactly.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from app.core.money import half_up


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of price inside a period gives back (negative) and charges, for the same days."""

    days_left: int
    days: int
    credit_micros: int
    charge_micros: int

    @property
    def net_micros(self) -> int:
        """What the change costs; negative where it gives back."""
        return self.credit_micros + self.charge_micros


def days_left(end_on: date, on: date) -> int:
    """Days from `on`, which is counted, to the period's end; `end_on` is the first day of the next period.

    >>> days_left(date(2026, 8, 1), date(2026, 7, 15))
    17
    """
    return (end_on - on).days


def price_of_rest(price_micros: int, left: int, days: int, unit_micros: int) -> int:
    """`price_micros` × `left` ÷ `days`, half-up to whole `unit_micros` (10,000: cents).

    Raises ValueError unless 0 ≤ left ≤ days.

    >>> price_of_rest(100_000_000, 17, 31, 10_000)
    54840000
    """
    if not 0 <= left <= days or not days:
        raise ValueError("more days are left than the period has")
    return half_up(price_micros * left, days, unit_micros)


def change(old_micros: int, new_micros: int, first_on: date, end_on: date, on: date, unit_micros: int) -> Change:
    """A change from one price to another on the local day `on` of `[first_on, end_on)`; that day counts to the new one.

    >>> change(10_000_000, 20_000_000, date(2026, 6, 1), date(2026, 7, 1), date(2026, 6, 16), 10_000).net_micros
    5000000
    """
    days, left = (end_on - first_on).days, days_left(end_on, on)
    credit = price_of_rest(old_micros, left, days, unit_micros)
    return Change(left, days, -credit, price_of_rest(new_micros, left, days, unit_micros))


def parts(price_micros: int, starts: Iterable[int], days: int, unit_micros: int) -> list[int]:
    """The price of each part of a period of `days` that is cut at `starts` (days after its first, rising, from 0).

    They add up to the price itself, rounded.

    >>> parts(10_000_000, (0, 10, 20), 30, 10_000)
    [3330000, 3340000, 3330000]
    """
    rests = [price_of_rest(price_micros, days - start, days, unit_micros) for start in (*starts, days)]
    return [rest - later for rest, later in pairwise(rests)]

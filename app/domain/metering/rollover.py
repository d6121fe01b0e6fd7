"""What is left of a period and lives on in later ones. Pure; README.md, "Rollover"."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Rule(NamedTuple):
    """What is left lives `periods` periods more (0: none); at most `cap` base units come into a period (None: all)."""

    periods: int = 0
    cap: int | None = None


class PastPeriod(NamedTuple):
    """A period that is over: its rule as it began, what was included as it ended (None: unlimited), what was used."""

    rule: Rule
    included: int | None
    used: int


Lots = list[tuple[int, int]]  # (number of the period it was left in, base units), oldest first


def carried_in(past: Iterable[PastPeriod], rule: Rule) -> int:
    """Base units carried into the period after `past` (every period before it, oldest first).

    In each period what was carried over burns first, the oldest of it before the rest.

    >>> month = PastPeriod(Rule(1), 1000, 700)
    >>> carried_in([month], Rule(1)), carried_in([month, month], Rule(1)), carried_in([month], Rule(1, cap=200))
    (300, 600, 200)
    """
    lots: Lots = []
    number = 0
    for number, period in enumerate(past, start=1):
        lots = _opened(lots, number, period.rule)
        carried = sum(quantity for _, quantity in lots)
        lots = list(_without(lots, period.used))
        left = (period.included or 0) - max(0, period.used - carried)
        lots.append((number, max(0, left)))
    return sum(quantity for _, quantity in _opened(lots, number + 1, rule))


def _opened(lots: Lots, number: int, rule: Rule) -> Lots:
    """What still lives in period `number`; over the cap the oldest is lost first."""
    alive = [(born, quantity) for born, quantity in lots if number - born <= rule.periods]
    excess = 0 if rule.cap is None else max(0, sum(quantity for _, quantity in alive) - rule.cap)
    return list(_without(alive, excess))


def _without(lots: Lots, quantity: int) -> Iterator[tuple[int, int]]:
    for born, lot in lots:
        taken = min(lot, quantity)
        quantity -= taken
        if lot > taken:
            yield born, lot - taken

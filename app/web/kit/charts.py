"""Where the server draws the bars of a chart. Pure; for the eye only, the figures stand in the table beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

LABEL_EVERY = 4
SHORTEST = 1.5  # pixels: a day without usage is still a day


@dataclass(frozen=True, slots=True)
class DayBar:
    """One bar: `x`, `width` and `middle` in percent of the chart's width, `y` and `height` in pixels."""

    on: date
    quantity: int
    x: float
    width: float
    middle: float
    y: float
    height: float
    labelled: bool


def day_bars(days: Sequence[tuple[date, int]], height: int = 100) -> list[DayBar]:
    """A bar for each (day, quantity), the highest `height` pixels, oldest first."""
    if not days:
        return []
    most = max(1, *(quantity for _, quantity in days))
    pitch = 100 / len(days)
    bars = []
    for index, (on, quantity) in enumerate(days):
        tall = max(SHORTEST, (height - 6) * quantity / most)
        x, width = index * pitch + pitch * 0.19, pitch * 0.62
        place = (round(x, 2), round(width, 2), round(x + width / 2, 2), round(height - tall, 1), round(tall, 1))
        bars.append(DayBar(on, quantity, *place, labelled=index % LABEL_EVERY == 0))
    return bars


class HasMargin(Protocol):
    """Money in and out, micros."""

    @property
    def retail_micros(self) -> int: ...
    @property
    def wholesale_micros(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MarginBar:
    """One bar in two parts: the cost from the bottom, on it the margin, or the loss that reaches above the retail.

    `x`, `width` and `middle` in percent of the chart's width, the others in pixels.
    """

    x: float
    width: float
    middle: float
    cost_y: float
    cost_height: float
    rest_y: float
    rest_height: float
    is_loss: bool


def margin_bars(found: Sequence[HasMargin], height: int = 100) -> list[MarginBar]:
    """A bar for each, the highest `height` pixels; what is below zero is not drawn."""
    sides = [(max(0, each.retail_micros), max(0, each.wholesale_micros)) for each in found]
    most = max(1, *(max(side) for side in sides)) if sides else 1
    pitch = 100 / len(sides) if sides else 100
    bars = []
    for index, (retail, cost) in enumerate(sides):
        low, high = ((height - 6) * part / most for part in (min(retail, cost), max(retail, cost)))
        x, width = index * pitch + pitch * 0.19, pitch * 0.62
        place = (round(x, 2), round(width, 2), round(x + width / 2, 2))
        parts = (round(height - low, 1), round(low, 1), round(height - high, 1), round(high - low, 1))
        bars.append(MarginBar(*place, *parts, is_loss=cost > retail))
    return bars

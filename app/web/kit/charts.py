"""Where the server draws the bars of a chart. Pure; for the eye only, the figures stand in the table beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

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

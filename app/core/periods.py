"""Half-open billing periods in a tenant's time zone, counted from an anchor day that never drifts."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["month", "year"]
EARLIEST_YEAR = 2000  # no subscription starts before it, so no arithmetic meets the first year there is


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)` in UTC, and the local dates it runs from and up to. `first_on` is its key: it outlives a
    change of the tenant's time zone, which moves the instants and not the days."""

    first_on: date
    end_on: date  # the first day of the next period
    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of `day` in `zone`, in UTC. A skipped midnight gives the first instant after the gap."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def anchored_day(anchor: date, months: int) -> date:
    """`anchor` moved by `months`, on its own day of the month or the month's last day where that is missing.

    >>> anchored_day(date(2026, 1, 31), 1), anchored_day(date(2026, 1, 31), 2)
    (datetime.date(2026, 2, 28), datetime.date(2026, 3, 31))
    """
    year, month0 = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    return date(year, month0 + 1, min(anchor.day, calendar.monthrange(year, month0 + 1)[1]))


@lru_cache(maxsize=10_000)
def period_days(anchor: date, interval: Interval, day: date) -> tuple[date, date]:
    """First day of the period that holds the local date `day`, and first day of the next one.

    >>> period_days(date(2026, 1, 31), "month", date(2026, 3, 1))
    (datetime.date(2026, 2, 28), datetime.date(2026, 3, 31))
    """
    step = 12 if interval == "year" else 1
    index = ((day.year - anchor.year) * 12 + day.month - anchor.month) // step
    if anchored_day(anchor, index * step) > day:
        index -= 1
    return anchored_day(anchor, index * step), anchored_day(anchor, (index + 1) * step)


@lru_cache(maxsize=10_000)  # a bill run asks it of thousands of tenants that began on the same day
def period_on(anchor: date, interval: Interval, zone: ZoneInfo, day: date) -> Period:
    """The period that holds the local date `day`, for a subscription anchored on the local date `anchor`."""
    first_on, end_on = period_days(anchor, interval, day)
    return Period(first_on, end_on, local_midnight(first_on, zone), local_midnight(end_on, zone))


def period_at(anchor: date, interval: Interval, zone: ZoneInfo, moment: datetime) -> Period:
    """The period that holds `moment`; see `period_on`."""
    return period_on(anchor, interval, zone, moment.astimezone(zone).date())

"""Half-open billing periods in a tenant's time zone, counted from an anchor day that never drifts."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Literal
from zoneinfo import ZoneInfo

Interval = Literal["month", "year"]


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)`, aware UTC; local midnight of the tenant on both sides."""

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


def period_at(anchor: date, interval: Interval, zone: ZoneInfo, moment: datetime) -> Period:
    """The period that holds `moment`, for a subscription anchored on the local date `anchor`."""
    step = 12 if interval == "year" else 1
    today = moment.astimezone(zone).date()
    months = (today.year - anchor.year) * 12 + today.month - anchor.month
    index = months // step
    if anchored_day(anchor, index * step) > today:
        index -= 1
    first, last = anchored_day(anchor, index * step), anchored_day(anchor, (index + 1) * step)
    return Period(local_midnight(first, zone), local_midnight(last, zone))

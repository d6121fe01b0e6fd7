"""When what is left will be used up, at the pace of the last days. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

PACE_DAYS = 7  # a whole week, so that every forecast holds as many working days as the next
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Forecast:
    """At the pace of the last `days` days, in which `used` base units were used.

    `runs_out_at` is when nothing will be left; None where the rest lasts until the period ends.
    """

    used: int
    days: int
    runs_out_at: datetime | None

    @property
    def a_day(self) -> int:
        """The pace in base units a day, rounded down."""
        return self.used // self.days


def forecast(remaining: int, used: int, days: int, *, now: datetime, end: datetime) -> Forecast | None:
    """What `remaining` base units come to by `end`, if the coming days are like the last `days`, which used `used`.

    Those days are whole and before today. None where nothing is left to run out, or no whole day has passed.

    >>> from datetime import UTC
    >>> now, end = datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
    >>> forecast(300, 700, 7, now=now, end=end).runs_out_at.isoformat()
    '2026-11-25T12:00:00+00:00'
    >>> forecast(900, 700, 7, now=now, end=end).runs_out_at is None
    True
    """
    if remaining <= 0 or days <= 0:
        return None
    lasts = remaining * days * DAY_SECONDS
    if used <= 0 or lasts >= used * int((end - now).total_seconds()):
        return Forecast(max(0, used), days, None)
    return Forecast(used, days, now + timedelta(seconds=lasts // used))

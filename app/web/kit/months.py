"""Months in addresses: `2026-11`."""

from datetime import date

EARLIEST, LATEST = 2000, 9000


def month_of(text: str) -> date | None:
    """The first day of the month that `2026-11` names; None for anything else.

    >>> month_of("2026-11"), month_of("2026-13"), month_of("")
    (datetime.date(2026, 11, 1), None, None)
    """
    try:
        found = date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
    return found if EARLIEST <= found.year <= LATEST and len(text) == 7 else None

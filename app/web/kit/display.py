"""How the reader of the running answer is shown numbers, dates, times and talk time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from babel import Locale
from flask import g

from app.core.display import Display

PLAIN = Display()  # nothing chosen


def display() -> Display:
    """What the guards found of the visitor; nothing chosen where nobody reads, as in a job or in a mail."""
    found: Display = g.get("display", PLAIN) if g else PLAIN
    return found


def own_zone(zone: str = "UTC") -> str:
    """The zone that the visitor chose, or `zone`, for moments. Days that are counted stay those of their tenant."""
    return display().zone or zone


def chosen_locale() -> Locale | None:
    """The locale that numbers and dates are written in, if one is chosen."""
    code = display().locale
    return _parsed(code) if code else None


@contextmanager
def written_in(locale: str) -> Iterator[None]:
    """A document: in the locale of whom it is for, with minutes as they are priced, whoever has it made."""
    before = display()
    g.display = Display(locale)
    try:
        yield
    finally:
        g.display = before


@lru_cache
def _parsed(code: str) -> Locale:
    return Locale.parse(code)

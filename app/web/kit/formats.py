"""Money, quantities and times as people read them. Pure but for what the reader chose, see `display`.

English without a country is written the European way (30 Nov 2026, 14:02), since CLDR's plain `en` is American.
"""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal, Protocol
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_currency, format_decimal, get_currency_symbol

from app.core.money import MICROS
from app.web.kit.display import chosen_locale, display
from app.web.kit.i18n import get_locale, gettext, ngettext

ENGLISH = Locale("en", "GB")
# CLDR's patterns are slow to fill in, and a page shows mostly what the page before it showed.
remembered = lru_cache(maxsize=8192)


class HasUnit(Protocol):
    """A resource, a meter or anything else with a display unit worth `factor` base units."""

    @property
    def unit_one(self) -> str: ...
    @property
    def unit_many(self) -> str: ...
    @property
    def factor(self) -> int: ...


def page_locale() -> Locale:
    """What numbers, dates and money are written in: what the reader chose, else as it goes with the words."""
    return chosen_locale() or words_locale()


def words_locale() -> Locale:
    """That of the words, which has its translations; English is that of Europe where no country is named."""
    locale = get_locale()
    return ENGLISH if locale is None or (locale.language == "en" and not locale.territory) else locale


def money(micros: int | None, currency: str) -> str:
    """An exact amount with its currency, at least in its minor unit: € 0.0215 keeps all four decimals.

    >>> money(49_000_000, "EUR"), money(21_500, "EUR"), money(500_000_000, "JPY")
    ('€49.00', '€0.0215', 'JP¥500')
    """
    if micros is None:
        return "–"
    return _amount(micros, currency, page_locale())


@remembered
def _amount(micros: int, currency: str, locale: Locale) -> str:
    text = format_currency(Decimal(micros) / MICROS, currency, locale=locale, decimal_quantization=False)
    return _spaced(text, get_currency_symbol(currency, locale=locale))


def _spaced(text: str, symbol: str) -> str:
    """A no-break space between a sign that ends in a letter and the digits: CLDR's currencySpacing, not in Babel."""
    before, found, after = text.partition(symbol)
    letter = found and symbol[-1].isalpha() and after[:1].isdigit()
    return f"{before}{symbol}\N{NO-BREAK SPACE}{after}" if letter else text


def currency_symbol(currency: str) -> str:
    """The sign of a currency, or its code where it has none."""
    return get_currency_symbol(currency, locale=page_locale())


def number(value: int | Decimal) -> str:
    """A number with the locale's grouping, all its decimals kept."""
    locale = page_locale()
    if isinstance(value, int):
        return _grouped(value, locale)
    return format_decimal(value, locale=locale, decimal_quantization=False)


@remembered
def _grouped(value: int, locale: Locale) -> str:
    return format_decimal(value, locale=locale)


def quantity(value: int | None, unit: HasUnit | int = 1) -> str:
    """Base units in display units, exact: whole where they are, else `m:ss` of minutes, `h:mm:ss` of hours.

    Never rounded, so shown rows sum to the shown total. `unit` is a factor or has one; None gives a dash. To who
    wants hours of minutes it is `h:mm h`, `h:mm:ss h`.

    >>> quantity(24_720, 60), quantity(24_679, 60), quantity(3_000_000, 60), quantity(131)
    ('412', '411:19', '50,000', '131')
    """
    if value is None:
        return "–"
    factor = unit if isinstance(unit, int) else unit.factor
    whole, rest = divmod(abs(value), factor)
    sign = "-" if value < 0 else ""
    if in_hours(factor):
        return sign + _hours(abs(value))
    if not rest:
        return sign + number(whole)
    if factor == 60:
        return f"{sign}{number(whole)}:{rest:02d}"
    if factor == 3600:
        return f"{sign}{number(whole)}:{rest // 60:02d}:{rest % 60:02d}"
    return f"{sign}{_fraction(abs(value), factor)}"


def in_hours(factor: int) -> bool:
    """Whether the reader wants what has minutes as its display unit in hours."""
    return factor == 60 and display().units == "hours"


def _hours(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    clock = f"{number(minutes // 60)}:{minutes % 60:02d}"
    return f"{clock}:{rest:02d}\N{NO-BREAK SPACE}h" if rest else f"{clock}\N{NO-BREAK SPACE}h"


def unit_name(unit: HasUnit) -> str:
    """What a heading calls the units: minutes, or hours to who wants those."""
    return gettext("hours") if in_hours(unit.factor) else unit.unit_many


def _fraction(value: int, factor: int) -> str:
    """A decimal where it ends (1.5), else whole and remainder (1 1/3)."""
    exact = Decimal(value) / factor
    if exact * factor == value:
        return number(exact)
    return f"{number(value // factor)} {value % factor}/{factor}"


def with_unit(value: int | None, unit: HasUnit) -> str:
    """A quantity with its unit's name: `1 minute`, `1,000 minutes`; None is without limit."""
    if value is None:
        return gettext("no limit")
    if in_hours(unit.factor):
        return quantity(value, unit)
    return f"{quantity(value, unit)} {unit.unit_one if abs(value) == unit.factor else unit.unit_many}"


def duration(seconds: int | None) -> str:
    """Talk time: `m:ss`, from an hour on `h:mm:ss`; below zero for what was taken back.

    >>> duration(252), duration(3_725), duration(0), duration(-252)
    ('4:12', '1:02:05', '0:00', '-4:12')
    """
    if seconds is None:
        return "–"
    sign = "-" if seconds < 0 else ""
    minutes, rest = divmod(abs(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours}:{minutes:02d}:{rest:02d}" if hours else f"{sign}{minutes}:{rest:02d}"


def percent(part: int, whole: int) -> str:
    """`56 %` in the locale's way, rounded half-up: for reading, never for reckoning. A dash of nothing."""
    if not whole:
        return "–"
    share = (200 * part + whole) // (2 * whole)
    return gettext("%(share)s %%", share=number(share))


def percent_of(ppm: int) -> str:
    """A share in parts per million as `19 %`, exact.

    >>> percent_of(190_000), percent_of(88_750)
    ('19 %', '8.875 %')
    """
    return gettext("%(share)s %%", share=number((Decimal(ppm) / 10_000).normalize()))


def localtime(at: datetime | None, zone: ZoneInfo | str, seconds: bool = False) -> str:
    """`30 Nov 2026, 17:42` in `zone`; with seconds when asked."""
    if at is None:
        return "–"
    local = _local(at, zone)
    return f"{_date(local.date())}, {_time(local, seconds)}"


def time_of_day(at: datetime, zone: ZoneInfo | str) -> str:
    """`17:42` in `zone`."""
    return _time(_local(at, zone), False)


def localdate(at: datetime | date | None, zone: ZoneInfo | str = "UTC") -> str:
    """`30 Nov 2026`; a datetime is taken to `zone` first, a date is what it is."""
    if at is None:
        return "–"
    return _date(_local(at, zone).date() if isinstance(at, datetime) else at)


def shortday(on: date) -> str:
    """`30 Nov`."""
    return _day("MMMd", on, page_locale())


def longday(on: date) -> str:
    """`1 December`."""
    return _day("MMMMd", on, page_locale())


@remembered
def _day(skeleton: str, on: date, locale: Locale) -> str:
    return format_skeleton(skeleton, on, locale=locale)


def month_name(on: date) -> str:
    """`November 2026`."""
    return _day("yMMMM", on, page_locale())


def shortmonth(on: date) -> str:
    """`Nov`."""
    return _day("MMM", on, page_locale())


def period_text(first_on: date, end_on: date) -> str:
    """`1 to 30 November 2026`, `2 November to 1 December 2026`; `end_on` is the day after the last."""
    last = end_on - timedelta(days=1)
    if (first_on.year, first_on.month) == (last.year, last.month):
        begin = number(first_on.day)
    else:
        begin = longday(first_on) if first_on.year == last.year else longdate(first_on)
    return gettext("%(first)s to %(last)s", first=begin, last=longdate(last))


def longdate(day: date) -> str:
    """`30 November 2026`."""
    return format_date(day, "long", locale=page_locale())


def when(at: datetime, zone: ZoneInfo | str, now: datetime) -> str:
    """`Today 14:02`, `Yesterday 09:30`, else the date and time (the year only where it is not this one)."""
    local, today = _local(at, zone), _local(now, zone).date()
    clock = _time(local, False)
    if local.date() == today:
        return gettext("Today %(time)s", time=clock)
    if local.date() == today - timedelta(days=1):
        return gettext("Yesterday %(time)s", time=clock)
    day = shortday(local.date()) if local.year == today.year else _date(local.date())
    return f"{day} {clock}"


def in_days(at: datetime | date, zone: ZoneInfo | str, now: datetime) -> str:
    """`in 9 days, on 1 December`, counted in calendar days of `zone`; `today`, `tomorrow`, `9 days ago, on …`."""
    day = _local(at, zone).date() if isinstance(at, datetime) else at
    days = (day - _local(now, zone).date()).days
    if days == 0:
        return gettext("today, %(day)s", day=longday(day))
    if days == 1:
        return gettext("tomorrow, %(day)s", day=longday(day))
    if days < 0:
        return ngettext("%(num)s day ago, on %(day)s", "%(num)s days ago, on %(day)s", -days, day=longday(day))
    return ngettext("in %(num)s day, on %(day)s", "in %(num)s days, on %(day)s", days, day=longday(day))


def zone_name(zone: str) -> str:
    """A zone of the IANA database as people read it: `America/New York`."""
    return zone.replace("_", " ")


def _local(at: datetime, zone: ZoneInfo | str) -> datetime:
    """The wall clock of `zone`. A naive moment has no place here."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no zone to be shown in")
    return at.astimezone(UTC).astimezone(zone if isinstance(zone, ZoneInfo) else ZoneInfo(zone))


def _date(on: date) -> str:
    return _written(on, page_locale())


@remembered
def _written(on: date, locale: Locale) -> str:
    return format_date(on, "medium", locale=locale)


def _time(local: datetime, seconds: bool) -> str:
    """Babel would shift an aware time to UTC, so it is given the wall clock alone."""
    return _clock(local.time(), "medium" if seconds else "short", page_locale())


@remembered
def _clock(at: time, style: Literal["short", "medium"], locale: Locale) -> str:
    return format_time(at, style, locale=locale)

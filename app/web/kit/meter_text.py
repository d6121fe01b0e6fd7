"""What a meter says of itself: words, a tone, the parts of its bar. Pure but for the language."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from app.core.forecast import Forecast
from app.web.kit.formats import HasUnit, money, number, quantity, shortday, with_unit
from app.web.kit.i18n import gettext, ngettext


class Meter(HasUnit, Protocol):
    """What the texts need of app/domain/metering's MeterView; quantities in base units."""

    @property
    def kind(self) -> str: ...
    @property
    def included(self) -> int | None: ...
    @property
    def carried_in(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def on_hold(self) -> int: ...
    @property
    def remaining(self) -> int | None: ...
    @property
    def at_limit(self) -> str: ...
    @property
    def overage_price_micros(self) -> int | None: ...
    @property
    def currency(self) -> str: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True, slots=True)
class BarParts:
    """Widths in percent of the bar, as SVG attributes take them: `55.6`."""

    used: str
    hold: str


def bar_parts(meter: Meter) -> BarParts:
    """How far the bar is filled; full when everything is used or nothing was included. For the eye only."""
    total = (meter.included or 0) + meter.carried_in
    if total <= 0:
        return BarParts("100" if meter.used else "0", "0")
    used = min(meter.used, total)
    return BarParts(_share(used, total), _share(min(meter.on_hold, total - used), total))


def meter_tone(meter: Meter) -> str:
    """The state as a CSS class: empty (fine), `near` or `over`. A soft limit never looks like a hard one."""
    if meter.state == "fine":
        return ""
    hard = meter.at_limit == "block"
    stopped = meter.state == "at_limit" and meter.kind == "metered"
    return "over" if hard and (meter.state == "over" or stopped) else "near"


def meter_word(meter: Meter) -> str:
    """The state in a word or two, for the badge."""
    if meter.state == "fine":
        return gettext("fine")
    if meter.state == "near":
        return gettext("nearly full") if meter.kind != "metered" else gettext("nearly used up")
    if meter.at_limit != "block":
        return gettext("all used") if meter.state == "at_limit" else gettext("beyond what is included")
    if meter.state == "over":
        return gettext("over the limit")
    return gettext("full") if meter.kind != "metered" else gettext("used up")


def limit_sentence(meter: Meter) -> str:
    """What happens at the limit, in a customer's words."""
    if meter.included is None:
        return gettext("no limit")
    if meter.at_limit == "charge":
        return _charge(meter)
    if meter.at_limit == "notify":
        return gettext("continues free of charge, both sides are told")
    if meter.kind == "allocated":
        return gettext("no more can be added")
    if meter.kind == "concurrent":
        return gettext("the next call is refused")
    return gettext("stops at the limit")


def _charge(meter: Meter) -> str:
    price = money(meter.overage_price_micros or 0, meter.currency)
    if meter.kind == "metered":
        return gettext("then %(price)s a %(unit)s", price=price, unit=meter.unit_one)
    return gettext("then %(price)s each", price=price)


def meter_words(meter: Meter) -> str:
    """The bar in words: used, held and left; of calls at once how many are in progress."""
    if meter.kind == "concurrent":
        return _calls_in_progress(meter)
    parts = [gettext("%(used)s used", used=with_unit(meter.used, meter))]
    if meter.on_hold:
        parts.append(gettext("%(held)s held by calls in progress", held=quantity(meter.on_hold, meter)))
    if meter.remaining is not None:
        parts.append(gettext("%(left)s left", left=quantity(meter.remaining, meter)))
    return ", ".join(parts)


def runs_out(forecast: Forecast | None, zone: ZoneInfo | str, now: datetime) -> str:
    """`runs out on 27 Nov`; empty where it lasts or nobody can tell."""
    if forecast is None or forecast.runs_out_at is None:
        return ""
    zone = zone if isinstance(zone, ZoneInfo) else ZoneInfo(zone)
    day = forecast.runs_out_at.astimezone(zone).date()
    if day == now.astimezone(zone).date():
        return gettext("runs out today")
    return gettext("runs out on %(day)s", day=shortday(day))


def at_pace(forecast: Forecast, unit: HasUnit) -> str:
    """By which method: `at the pace of the last 7 days, 38 minutes a day`."""
    whole = forecast.a_day // unit.factor * unit.factor or forecast.a_day  # a pace is no bill: no seconds of minutes
    pace = gettext("%(quantity)s a day", quantity=with_unit(whole, unit))
    if not forecast.a_day:
        pace = gettext("less than 1 %(unit)s a day", unit=unit.unit_one)
    if forecast.days == 1:
        return gettext("at the pace of yesterday, %(pace)s", pace=pace)
    return gettext("at the pace of the last %(days)s days, %(pace)s", days=number(forecast.days), pace=pace)


def _calls_in_progress(meter: Meter) -> str:
    """`3 of 10 calls in progress`."""
    used = number(meter.used)
    if meter.included is None:
        return ngettext("%(used)s call in progress", "%(used)s calls in progress", meter.used, used=used)
    return gettext("%(used)s of %(total)s calls in progress", used=used, total=number(meter.included))


def _share(part: int, whole: int) -> str:
    """Percent with one decimal, cut off so that the parts never exceed the bar; `0` is plain zero."""
    share = (Decimal(part) * 100 / whole).quantize(Decimal("0.1"), ROUND_DOWN)
    return str(share) if share else "0"

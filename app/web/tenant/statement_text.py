"""A statement in words: the page and the PDF print the same strings, made here once."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_time

from app import branding
from app.config import Settings
from app.core.money import price_of
from app.domain.metering.history import UsageRow
from app.domain.metering.meters import MeterView
from app.domain.metering.statement import (
    BeyondPart,
    PackageInForce,
    Statement,
    StatementLine,
    minor_unit_micros,
)
from app.web.kit import charts
from app.web.kit.display import written_in
from app.web.kit.formats import (
    HasUnit,
    longday,
    money,
    number,
    page_locale,
    period_text,
    quantity,
    shortday,
    with_unit,
)
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.meter_text import bar_parts, meter_tone, meter_words
from app.web.kit.phones import phone

NONE = "–"
CHART_HEIGHT = 100
MOST_DAY_LABELS = 31  # in a longer period only the first of each month is labelled
ACCENT = "#2746c7"  # as in static/app.css


@dataclass(frozen=True, slots=True)
class Words:
    """What both documents say. Every value is text to be shown as it is, never markup."""

    title: str
    period: str
    zone: str
    so_far: str  # empty once the period is over
    logo: str  # hash of the picture; empty: none
    accent: str  # #rrggbb of bars
    provider: list[str]  # the name first
    customer: list[str]  # likewise
    packages: list[dict[str, str]]  # since (may be empty), name, revision
    lines: list[dict[str, Any]]
    chart_title: str  # empty: nothing is counted by the day
    bars: list[dict[str, Any]]  # label, share of the highest day in percent
    rows: list[dict[str, str]]
    note: str  # what was left out, or empty
    sum_label: str
    sum_amount: str
    labels: dict[str, str]


def in_words(statement: Statement, settings: Settings) -> Words:
    """The statement in the page's language, with the tenant's numbers, dates and time zone, whoever looks."""
    with written_in(statement.tenant.locale):
        return _in_words(statement, settings)


def _in_words(statement: Statement, settings: Settings) -> Words:
    shown, daily = len(statement.rows), statement.daily
    return Words(
        title=gettext("Usage statement"),
        period=period_text(statement.period.first_on, statement.period.end_on),
        zone=statement.tenant.timezone,
        so_far=gettext("so far, to %(day)s", day=longday(statement.last_day)) if statement.so_far else "",
        logo=branding.current().logo,
        accent=branding.current().accent or ACCENT,
        provider=_provider(settings),
        customer=_present(statement.tenant.name, statement.tenant.contact_name, statement.tenant.contact_email),
        packages=[_package(package, statement.period.first_on) for package in statement.packages],
        lines=[_line(line) for line in statement.lines],
        chart_title=_chart_title(daily) if daily else "",
        bars=_bars(statement.days),
        rows=_rows(statement),
        note=_note(shown, statement.records),
        sum_label=_sum_label(shown, statement.records),
        sum_amount=money(statement.amount_micros, statement.currency),
        labels=_labels(),
    )


def _provider(settings: Settings) -> list[str]:
    address = (line.strip() for line in settings.PROVIDER_ADDRESS.split("|"))
    return _present(settings.PROVIDER_NAME, *address, settings.PROVIDER_EMAIL)


def _present(*texts: str) -> list[str]:
    return [text for text in texts if text]


def _package(package: PackageInForce, first_on: date) -> dict[str, str]:
    since = gettext("from %(day)s", day=shortday(package.since)) if package.since > first_on else ""
    return {
        "since": since,
        "name": package.name,
        "revision": gettext("revision %(number)s", number=package.revision),
    }


def _line(line: StatementLine) -> dict[str, Any]:
    meter = line.meter
    return {
        "resource": meter.name,
        "included": gettext("no limit") if meter.included is None else amount_used(meter.included, meter),
        "carried": amount_used(meter.carried_in, meter) if meter.carried_in else NONE,
        "used": amount_used(meter.used, meter),
        "left": NONE if meter.remaining is None else amount_used(meter.remaining, meter),
        "limited": meter.included is not None,
        "fill": bar_parts(meter).used,
        "tone": "over" if meter.overage else meter_tone(meter),
        "bar_words": meter_words(meter),
        "beyond": [_beyond(part, meter, meter.currency) for part in line.beyond] or [NONE],
    }


def amount_used(value: int, unit: HasUnit) -> str:
    """Exact as `quantity`, but minutes always with their seconds, so that a column of them lines up: `2,000:00`."""
    if unit.factor != 60:
        return quantity(value, unit)
    return f"{'-' if value < 0 else ''}{number(abs(value) // 60)}:{abs(value) % 60:02d}"


def _beyond(part: BeyondPart, unit: HasUnit, currency: str) -> str:
    """`31 × €0.05 = €1.55`, or how many and that they cost nothing."""
    many = quantity(part.quantity, unit)
    if part.beyond_as == "charge":
        return f"{many} × {money(part.price_micros, currency)} = {money(part.amount_micros, currency)}"
    if part.beyond_as == "notify":
        return gettext("%(many)s free of charge", many=many)
    return gettext("%(many)s over the limit, not charged", many=many)


def _chart_title(meter: MeterView) -> str:
    units = meter.unit_many
    return gettext("%(units)s a day", units=units[:1].upper() + units[1:])


def _bars(days: tuple[tuple[date, int], ...]) -> list[dict[str, Any]]:
    return [
        {
            "label": str(bar.on.day) if len(days) <= MOST_DAY_LABELS or bar.on.day == 1 else "",
            "height": bar.height,
        }
        for bar in charts.day_bars(days, CHART_HEIGHT)
    ]


def _rows(statement: Statement) -> list[dict[str, str]]:
    """Numbers, days and prices repeat, so each is put into words once: twenty thousand rows take a second or two."""
    zone, country, currency = ZoneInfo(statement.tenant.timezone), statement.tenant.country or None, statement.currency
    day_text, number_text = cache(shortday), cache(lambda text: phone(text, country))
    clock, locale = cache(format_time), page_locale()

    def row(found: UsageRow) -> dict[str, str]:
        record, resource = found.record, found.resource
        local: datetime = record.occurred_at.astimezone(zone)
        return {
            "when": f"{day_text(local.date())} {clock(local.time().replace(microsecond=0), 'medium', locale=locale)}",
            "from": number_text(record.caller),
            "to": number_text(record.callee),
            "what": _what(found),
            "counted": amount_used(record.quantity, resource),
            "covered": amount_used(record.from_allowance + record.from_carried, resource),
            "charged": _charged(found, currency),
        }

    return [row(found) for found in statement.rows]


def _what(found: UsageRow) -> str:
    """`call`, `fax, 6 pages`, `call, inbound`."""
    record, resource = found.record, found.resource
    known = {
        "voice_minutes": gettext("call"),
        "fax_pages": gettext("fax"),
        "conference_minutes": gettext("conference"),
        "sms_messages": gettext("message"),
    }
    words = [known.get(resource.code, resource.name)]
    if resource.factor == 1 and resource.code != "sms_messages":
        words.append(with_unit(record.measured, resource))
    if record.direction in ("inbound", "internal"):
        words.append(gettext("inbound") if record.direction == "inbound" else gettext("internal"))
    if record.late:
        words.append(gettext("reported late"))
    if record.reversal_reason:
        words.append(gettext("reversal: %(reason)s", reason=record.reversal_reason))
    elif found.reversed_for:
        words.append(gettext("reversed"))
    return ", ".join(words)


def _charged(found: UsageRow, currency: str) -> str:
    """With its amount where that is exact in the currency's coins; the sum is rounded, its parts are not."""
    record = found.record
    if not record.beyond:
        return NONE
    price, factor = record.beyond_price_micros, found.resource.factor
    amount = price_of(record.beyond, price, factor) if record.beyond_as == "charge" else 0
    if amount * factor != record.beyond * price or amount % minor_unit_micros(currency):
        return f"{quantity(record.beyond, found.resource)} × {money(price, currency)}"
    return _beyond(BeyondPart(record.beyond_as, price, record.beyond, amount), found.resource, currency)


def _note(shown: int, records: int) -> str:
    if shown >= records:
        return ""
    return gettext(
        "The newest %(shown)s of %(records)s records are listed here; the sums above are those of all.",
        shown=number(shown),
        records=number(records),
    )


def _sum_label(shown: int, records: int) -> str:
    if shown < records:
        return gettext("%(shown)s of %(records)s shown", shown=number(shown), records=number(records))
    return ngettext("%(count)s record", "%(count)s records", records, count=number(records))


def _labels() -> dict[str, str]:
    return {
        "for": gettext("For"),
        "package": gettext("Package"),
        "allowances": gettext("Allowances"),
        "resource": gettext("Resource"),
        "included": gettext("Included"),
        "carried": gettext("Carried in"),
        "used": gettext("Used"),
        "left": gettext("Left"),
        "beyond": gettext("Beyond"),
        "itemised": gettext("Itemised"),
        "when": gettext("When"),
        "from": gettext("From"),
        "to": gettext("To"),
        "what": gettext("What"),
        "counted": gettext("Counted"),
        "covered": gettext("From allowance"),
        "charged": gettext("Charged"),
        "nothing": gettext("Nothing was used in this period."),
        "page": gettext("Page"),
        "of": gettext("of"),
    }

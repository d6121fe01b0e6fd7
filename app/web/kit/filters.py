"""Filters and functions that templates may use; templates/README.md lists them."""

import hashlib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask, current_app, url_for
from wtforms import Form

from app.core.clock import utc_now
from app.core.forecast import Forecast
from app.web.kit import charts, display, formats, meter_text, paging, phones


def in_days(at: datetime | date, zone: ZoneInfo | str, now: datetime | None = None) -> str:
    """`formats.in_days` seen from now: the template is the edge that may ask the clock."""
    return formats.in_days(at, zone, now or utc_now())


def when(at: datetime, zone: ZoneInfo | str, now: datetime | None = None) -> str:
    """`formats.when` seen from now."""
    return formats.when(at, zone, now or utc_now())


def runs_out(forecast: Forecast | None, zone: ZoneInfo | str, now: datetime | None = None) -> str:
    """`meter_text.runs_out` seen from now."""
    return meter_text.runs_out(forecast, zone, now or utc_now())


def problems(form: Form) -> list[dict[str, str]]:
    """Each error of a form with the id of its field, in the order of the fields; the form's own errors first."""
    found = [{"field_id": "", "text": str(text)} for text in form.form_errors]
    for field in form:
        for text in _texts(field.errors):
            hidden = getattr(field.widget, "input_type", "") == "hidden"
            found.append({"field_id": "" if hidden else field.id, "text": text})
    return found


def _texts(errors: Any) -> list[str]:
    """The words in WTForms' errors, which nest for lists and enclosed forms."""
    if isinstance(errors, dict):
        return [text for inner in errors.values() for text in _texts(inner)]
    if isinstance(errors, (list, tuple)):
        return [text for inner in errors for text in _texts(inner)]
    return [str(errors)]


def asset(filename: str) -> str:
    """The address of a static file with a mark of its content, so that browsers may keep it for ever."""
    marks: dict[str, str] = current_app.extensions.setdefault("ringplan_assets", {})
    if filename not in marks or current_app.debug:
        content = Path(current_app.static_folder or "", filename).read_bytes()
        marks[filename] = hashlib.sha256(content).hexdigest()[:10]
    return url_for("static", filename=filename, v=marks[filename])


def page_language() -> str:
    """The language of the page, for `<html lang>`."""
    return str(formats.words_locale().language)


def number_locale() -> str:
    """What numbers are written in, as the browser calls it: `de-DE`."""
    return str(formats.page_locale()).replace("_", "-")


FILTERS: tuple[Callable[..., Any], ...] = (
    formats.money,
    formats.currency_symbol,
    formats.number,
    formats.quantity,
    formats.with_unit,
    formats.unit_name,
    formats.zone_name,
    formats.duration,
    formats.percent,
    formats.percent_of,
    formats.period_text,
    formats.localtime,
    formats.time_of_day,
    formats.localdate,
    formats.shortday,
    formats.longday,
    formats.month_name,
    formats.shortmonth,
    phones.phone,
    in_days,
    when,
    meter_text.bar_parts,
    meter_text.meter_tone,
    meter_text.meter_word,
    meter_text.meter_words,
    meter_text.limit_sentence,
    meter_text.at_pace,
    runs_out,
    charts.day_bars,
    charts.margin_bars,
    problems,
)

FUNCTIONS: tuple[Callable[..., Any], ...] = (asset, page_language, number_locale, display.own_zone, paging.here)


def init_app(app: Flask) -> None:
    """Register every filter under its function's name, likewise the template functions."""
    app.jinja_env.filters.update({function.__name__: function for function in FILTERS})
    app.jinja_env.filters["cursor"] = paging.encode_cursor
    app.jinja_env.globals.update({function.__name__: function for function in FUNCTIONS})
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True

"""The form every form extends, and fields for money, quantities, zones, currencies and countries.

A form is told what it is about by `meta`: `LimitForm(meta={"currency": "EUR", "factor": 60})`.
"""

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from babel import Locale
from babel.dates import format_date
from babel.numbers import (
    format_decimal,
    get_currency_precision,
    get_currency_symbol,
    get_decimal_symbol,
    get_territory_currencies,
)
from flask_wtf import FlaskForm  # type: ignore[import-untyped]
from wtforms import Field, PasswordField, SelectField, StringField
from wtforms.validators import Length
from wtforms.widgets import TextInput

from app.core.destinations import MOST_PREFIXES, checked_prefixes
from app.core.display import LOCALES
from app.core.errors import Invalid
from app.core.money import format_micros, parse_micros
from app.core.quantities import MAX_QUANTITY
from app.web.kit.formats import page_locale, words_locale
from app.web.kit.i18n import gettext

SAMPLE_DAY, SAMPLE = date(2026, 11, 30), Decimal("1234.56")
MAX_TEXT = 255
MAX_SECRET = 1024
_GROUPED = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_SWAPPED = str.maketrans(",.", ".,")
_MINUTES = re.compile(r"(\d{1,12}):([0-5]\d)")
_NO_COUNTRY = frozenset({"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


class Form(FlaskForm):  # type: ignore[misc]  # Flask-WTF ships no types
    """Strips what is typed (never a password) and bounds its length."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """`currency` and `factor` are what money and quantity fields go by unless they name their own."""

        currency = "EUR"
        factor = 1

        def bind_field(self, form: Any, unbound_field: Any, options: dict[str, Any]) -> Any:
            """The field with our filter and bound added to its own."""
            return _bounded(unbound_field.bind(form=form, **options))


def _bounded(field: Field) -> Field:
    """A text field that strips and is at most `MAX_TEXT` long, unless it says how long itself."""
    if not isinstance(field, StringField):
        return field
    secret = isinstance(field, PasswordField)
    if not secret:
        field.filters = [_strip, *field.filters]
    if not any(isinstance(rule, Length) for rule in field.validators):
        bound = Length(max=MAX_SECRET if secret else MAX_TEXT)
        field.validators = [*field.validators, bound]
        field.flags.maxlength = bound.max
    return field


def _strip(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


class MoneyField(Field):
    """An amount as micros; None when left empty. A currency sign, its code and `1,200.00` are understood."""

    widget = TextInput()

    def __init__(self, label: Any = None, validators: Any = None, currency: str = "", **kwargs: Any) -> None:
        super().__init__(label, validators, **kwargs)
        self._currency = currency

    @property
    def currency(self) -> str:
        """ISO 4217, its own or the form's."""
        return self._currency or str(self.meta.currency)

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else _signs(format_micros(self.data, get_currency_precision(self.currency)))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Micros of what was typed. Raises ValueError with words for a person."""
        text = _signs(_without_sign(valuelist[0] if valuelist else "", self.currency))
        self.data = None
        if text:
            try:
                self.data = parse_micros(_ungrouped(text))
            except ValueError:
                raise ValueError(_such_as()) from None


def _such_as() -> str:
    if _swaps():
        return gettext("Enter an amount such as 49,00, with a comma for decimals.")
    return gettext("Enter an amount such as 49.00, with a point for decimals.")


def _swaps() -> bool:
    """Whether the reader's decimals follow a comma."""
    return get_decimal_symbol(page_locale()) == ","


def _signs(text: str) -> str:
    """A number's comma and point as the reader writes them, and back: what was typed as 1.234,5 is read as 1,234.5."""
    return text.translate(_SWAPPED) if _swaps() else text


def _without_sign(text: str, currency: str) -> str:
    """`text` without its currency and blanks."""
    for sign in (currency, get_currency_symbol(currency, locale=page_locale()), get_currency_symbol(currency, "en")):
        text = text.replace(sign, "")
    return "".join(text.split())


def _ungrouped(text: str) -> str:
    """Without grouping that is whole. A lone decimal comma is left, to be refused: 1,2 is ambiguous."""
    return text.replace(",", "") if _GROUPED.fullmatch(text) else text


class PrefixesField(Field):
    """Beginnings of phone numbers, typed with commas between; kept as `app.core.destinations` has them."""

    widget = TextInput()

    def _value(self) -> str:
        return str(self.raw_data[0]) if self.raw_data else ", ".join((self.data or "").split())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """What was typed, as it is kept. Raises ValueError with words for a person."""
        self.data, typed = "", [each.strip() for each in "".join(valuelist[:1]).split(",")]
        try:
            self.data = checked_prefixes(filter(None, typed))
        except Invalid:
            raise ValueError(
                gettext("Enter beginnings of 2 to 15 digits with commas between, at most %(most)s.", most=MOST_PREFIXES)
            ) from None


class QuantityField(Field):
    """Display units typed, base units kept: 1,000 minutes are 60000. With `unlimited`, empty is None: no limit."""

    widget = TextInput()

    def __init__(
        self,
        label: Any = None,
        validators: Any = None,
        factor: int = 0,
        unlimited: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(label, validators, **kwargs)
        self._factor, self.unlimited = factor, unlimited

    @property
    def factor(self) -> int:
        """Base units in a display unit, its own or the form's."""
        return self._factor or int(self.meta.factor)

    def _value(self) -> str:
        if self.raw_data:
            return str(self.raw_data[0])
        return "" if self.data is None else _signs(_typed(self.data, self.factor))

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Base units of what was typed. Raises ValueError with words for a person."""
        text = _ungrouped(_signs("".join(str(valuelist[0]).split()))) if valuelist else ""
        self.data = parse_quantity(text, self.factor) if text else None
        if not text and not self.unlimited:
            raise ValueError(gettext("Enter a number; 0 means none."))


def parse_quantity(text: str, factor: int) -> int:
    """Base units of `1000`, `0.5` or, for minutes, `411:19`. Raises ValueError with words for a person.

    >>> parse_quantity("1000", 60), parse_quantity("0.5", 60), parse_quantity("411:19", 60)
    (60000, 30, 24679)
    """
    minutes = _MINUTES.fullmatch(text) if factor == 60 else None
    if minutes:
        value = Decimal(minutes[1]) * 60 + Decimal(minutes[2])
    else:
        value = _decimal(text) * factor
    if value != value.to_integral_value():
        raise ValueError(gettext("Enter a whole number."))
    if value > MAX_QUANTITY:
        raise ValueError(gettext("That is more than can be counted."))
    return int(value)


def _decimal(text: str) -> Decimal:
    if text and set(text) <= set("0123456789."):
        try:
            return Decimal(text)
        except InvalidOperation:
            pass
    raise ValueError(gettext("Enter a number such as 1000."))


def _typed(value: int, factor: int) -> str:
    """Base units as `parse_quantity` reads them back, exactly."""
    whole, rest = divmod(value, factor)
    if not rest:
        return f"{whole:,}"
    return f"{whole}:{rest:02d}" if factor == 60 else format((Decimal(value) / factor).normalize(), "f")


class TimeZoneField(SelectField):
    """A zone of the IANA database, `Europe/Berlin`."""

    def __init__(self, label: Any = None, validators: Any = None, optional: bool = False, **kwargs: Any) -> None:
        def choices() -> list[tuple[str, str]]:
            return [("", gettext("not chosen")), *time_zones()] if optional else time_zones()

        super().__init__(label, validators, choices=choices, **kwargs)


class LocaleField(SelectField):
    """One of `core.display.LOCALES`, or empty: each with what it makes of a day and of a number."""

    def __init__(self, label: Any = None, validators: Any = None, **kwargs: Any) -> None:
        super().__init__(
            label, validators, choices=lambda: [("", gettext("not chosen")), *locales()], default="", **kwargs
        )


class UnitsField(SelectField):
    """One of `core.display.UNITS`, or empty."""

    def __init__(self, label: Any = None, validators: Any = None, **kwargs: Any) -> None:
        super().__init__(label, validators, choices=_unit_choices, default="", **kwargs)


class CurrencyField(SelectField):
    """An ISO 4217 code of a currency in use."""

    def __init__(self, label: Any = None, validators: Any = None, **kwargs: Any) -> None:
        super().__init__(label, validators, choices=lambda: currencies(words_locale()), **kwargs)


class CountryField(SelectField):
    """An ISO 3166 code, or empty where `optional` is set."""

    def __init__(self, label: Any = None, validators: Any = None, optional: bool = False, **kwargs: Any) -> None:
        none = [("", "–")] if optional else []
        super().__init__(label, validators, choices=lambda: none + countries(words_locale()), **kwargs)


@lru_cache(maxsize=1)
def time_zones() -> list[tuple[str, str]]:
    """Zones people live in by name: `Area/City`, and UTC first."""
    areas = ("Africa/", "America/", "Antarctica/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return _same(["UTC", *sorted(zone for zone in available_timezones() if zone.startswith(areas))])


@lru_cache(maxsize=1)
def locales() -> list[tuple[str, str]]:
    """(`de_DE`, `Deutsch (Deutschland): 30.11.2026, 1.234,56`) in the order of the names."""
    return sorted(((code, _sampled(Locale.parse(code))) for code in LOCALES), key=lambda pair: pair[1])


def _sampled(locale: Locale) -> str:
    name = locale.display_name or str(locale)
    day, number = format_date(SAMPLE_DAY, "medium", locale), format_decimal(SAMPLE, locale=locale)
    return f"{name[:1].upper()}{name[1:]}: {day}, {number}"


def _unit_choices() -> list[tuple[str, str]]:
    return [("", gettext("not chosen")), ("minutes", gettext("90 minutes")), ("hours", gettext("1:30 h"))]


def _same(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name.replace("_", " ")) for name in names]


@lru_cache(maxsize=16)
def countries(locale: Locale) -> list[tuple[str, str]]:
    """(ISO 3166 code, name) in the order of the names."""
    names = locale.territories.items()
    return sorted(
        ((code, name) for code, name in names if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRY),
        key=lambda pair: pair[1],
    )


@lru_cache(maxsize=16)
def currencies(locale: Locale) -> list[tuple[str, str]]:
    """(ISO 4217 code, `EUR – Euro`) of every currency that is tender somewhere today, by code."""
    used = {code for country, _ in countries(locale) for code in get_territory_currencies(country)}
    return [(code, f"{code} – {locale.currencies.get(code, code)}") for code in sorted(used)]

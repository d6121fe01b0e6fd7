"""Money and quantities as they are typed, and what every text field does."""

import pytest
from babel import Locale
from flask import Flask
from flask_babel import Babel
from werkzeug.datastructures import MultiDict
from wtforms import PasswordField, StringField
from wtforms.validators import Length

from app.web.kit.forms import Form, MoneyField, QuantityField, countries, currencies, time_zones


class Sheet(Form):
    price = MoneyField("Price")
    included = QuantityField("Included", unlimited=True)
    pages = QuantityField("Pages", factor=1)
    name = StringField("Name")
    short = StringField("Short", [Length(max=3)])
    secret = PasswordField("Secret")


@pytest.fixture(autouse=True)
def request_at_hand():
    app = Flask("forms")
    app.config["SECRET_KEY"] = "for these tests alone"
    Babel(app)
    with app.test_request_context():
        yield


def sheet(currency="EUR", data=None, **typed):
    formdata = None if data is not None else MultiDict({"pages": "1", **typed})
    return Sheet(formdata=formdata, data=data, meta={"csrf": False, "currency": currency, "factor": 60})


@pytest.mark.parametrize(
    ("typed", "currency", "micros"),
    [
        ("49.00", "EUR", 49_000_000),
        ("€ 49", "EUR", 49_000_000),
        ("49.00 €", "EUR", 49_000_000),
        ("EUR 0.0215", "EUR", 21_500),
        ("1,200.50", "EUR", 1_200_500_000),
        (" 1,200 ", "EUR", 1_200_000_000),
        ("$5", "USD", 5_000_000),
        ("£5", "GBP", 5_000_000),
        ("¥500", "JPY", 500_000_000),
        ("", "EUR", None),
    ],
)
def test_money_is_read_as_people_type_it(typed, currency, micros):
    form = sheet(currency, price=typed)
    assert form.validate(), form.errors
    assert form.price.data == micros


@pytest.mark.parametrize("typed", ["49,00", "0,020", "-1", "1e3", "abc", "0.0000001", "1.2.3", "$5", "9" * 20])
def test_money_that_could_mean_two_things_is_refused_and_kept(typed):
    form = sheet(price=typed)
    assert not form.validate()
    assert form.price.errors == ["Enter an amount such as 49.00, with a point for decimals."]
    assert form.price._value() == typed


@pytest.mark.parametrize(
    ("typed", "seconds"), [("1000", 60_000), ("1,000", 60_000), ("0", 0), ("0.5", 30), ("411:19", 24_679), ("", None)]
)
def test_minutes_typed_are_seconds_kept_and_empty_is_unlimited(typed, seconds):
    form = sheet(included=typed)
    assert form.validate(), form.errors
    assert form.included.data == seconds


@pytest.mark.parametrize("typed", ["-1", "0.001", "abc", "1:75", "١٢", "1" * 30, "1,00"])
def test_a_quantity_that_cannot_be_counted_is_refused(typed):
    form = sheet(included=typed)
    assert not form.validate()
    assert form.included.errors


def test_a_quantity_that_is_not_unlimited_must_be_given():
    form = sheet(pages="")
    assert not form.validate()
    assert form.pages.errors == ["Enter a number; 0 means none."]


@pytest.mark.parametrize("seconds", [0, 30, 60_000, 24_679, 3_600_000, None])
def test_what_a_field_shows_it_reads_back_as_the_same(seconds):
    shown = sheet(data={"included": seconds}).included._value()
    assert sheet(included=shown).included.data == seconds


@pytest.mark.parametrize(("currency", "shown"), [("EUR", "49.00"), ("JPY", "49"), ("KWD", "49.000")])
def test_an_amount_is_shown_with_the_decimals_of_its_currency(currency, shown):
    assert sheet(currency, data={"price": 49_000_000}).price._value() == shown


def test_text_is_stripped_and_bounded_and_a_password_is_not_stripped():
    form = sheet(name="  Acme  ", secret=" two words ", short="abcd")
    assert (form.name.data, form.secret.data) == ("Acme", " two words ")
    assert not form.validate()
    assert list(form.errors) == ["short"]
    assert not sheet(name="x" * 256).validate()
    assert 'maxlength="255"' in form.name()
    assert 'maxlength="3"' in form.short()


def test_selects_offer_what_is_in_use():
    english = Locale("en", "GB")
    assert ("Europe/Berlin", "Europe/Berlin") in time_zones()
    assert time_zones()[0][0] == "UTC"
    assert {"EUR", "USD", "JPY", "KWD"} <= {code for code, _ in currencies(english)}
    assert "DEM" not in {code for code, _ in currencies(english)}
    assert ("DE", "Germany") in countries(english)
    assert not {"EU", "ZZ", "150"} & {code for code, _ in countries(english)}

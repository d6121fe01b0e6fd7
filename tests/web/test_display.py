"""How a person and a tenant are shown numbers, dates, times and minutes; documents are the tenant's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import g
from sqlalchemy import select
from werkzeug.datastructures import MultiDict

from app.core.clock import utc_now
from app.core.display import LOCALES, Display
from app.core.errors import Invalid
from app.db import unit_of_work
from app.domain.accounts import display as displays
from app.domain.audit.models import AuditEntry
from app.domain.catalog.specs import LimitSpec
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.web.kit.display import written_in
from app.web.kit.formats import money, number, quantity, with_unit
from app.web.kit.forms import Form, MoneyField, QuantityField

NBSP = "\N{NO-BREAK SPACE}"
GERMAN = "de_DE"


class Minutes:
    unit_one, unit_many, factor = "minute", "minutes", 60


class Sheet(Form):
    price = MoneyField("Price")
    included = QuantityField("Included", factor=60)


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    limits = (LimitSpec("voice_minutes", 90_000, "charge", 20_000),)
    make.subscribe(tenant, make.package("gold", limits, name="Gold"), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def uma(make, acme):
    return make.user(acme)


def choose(person, **wanted):
    with unit_of_work() as session:
        displays.set_display(session, person.id, Display(**wanted), actor="test", now=utc_now())


def choose_for(tenant, **wanted):
    with unit_of_work() as session:
        found = session.get_one(Tenant, tenant.id)
        tenants.update(session, found, replace(tenants.profile_of(found), **wanted), actor="test", now=utc_now())


@pytest.mark.databases("sqlite")
def test_nothing_chosen_is_as_it_comes(app):
    with app.test_request_context():
        assert (money(1_234_560_000, "EUR"), with_unit(5_400, Minutes())) == ("€1,234.56", "90 minutes")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(5_400, "1:30"), (0, "0:00"), (-5_400, "-1:30"), (5_431, "1:30:31"), (3_600_000, "1.000:00"), (59, "0:00:59")],
)
def test_minutes_are_hours_to_who_wants_them(app, seconds, shown):
    with app.test_request_context():
        g.display = Display(GERMAN, "", "hours")
        assert quantity(seconds, 60) == with_unit(seconds, Minutes()) == f"{shown}{NBSP}h"
        assert quantity(1_234, 1) == "1.234"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("locale", LOCALES)
def test_what_is_shown_in_a_field_is_read_as_the_same_in_every_locale(app, locale):
    with app.test_request_context():
        g.display = Display(locale)
        for micros, seconds in (
            (1_125_000, 60_000),
            (1_234_560_000, 74_073_600),
            (21_500, 30),
            (1_234_000_000, 24_679),
        ):
            shown = Sheet(data={"price": micros, "included": seconds}, meta={"csrf": False})
            typed = {field.name: field._value() for field in shown}
            read = Sheet(formdata=MultiDict(typed), meta={"csrf": False})
            assert read.validate(), (typed, read.errors)
            assert read.data == {"price": micros, "included": seconds}
        whole = Sheet(formdata=MultiDict({"price": money(1_234_560_000, "EUR"), "included": "1"}), meta={"csrf": False})
        if locale in ("de_DE", "en_US", "nl_NL"):  # groups with points or commas: a page's amount can be pasted
            assert whole.price.data == 1_234_560_000


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("typed", "micros"), [("49,5", 49_500_000), ("1.200", 1_200_000_000), ("49.50", None)])
def test_amounts_are_typed_with_the_comma_that_is_shown(app, typed, micros):
    with app.test_request_context():
        g.display = Display(GERMAN)
        read = Sheet(formdata=MultiDict({"price": typed, "included": "1"}), meta={"csrf": False})
        read.validate()
        assert (read.price.data, bool(read.price.errors)) == (micros, micros is None)
        assert micros or "49,00" in read.price.errors[0]


def test_a_choice_is_kept_recorded_and_seen_on_the_next_page(login, uma, acme, session):
    client = login(uma)
    assert "1,500 minutes left" in client.get("/portal").text
    chosen = {"locale": GERMAN, "zone": "America/New_York", "units": "hours"}
    assert client.submit("/account/display", chosen).status_code == 303
    assert client.submit("/account/display", chosen).status_code == 303
    [entry] = session.scalars(select(AuditEntry).where(AuditEntry.act == "account.display")).all()
    assert entry.details["changed"] == {name: ["", value] for name, value in chosen.items()}
    assert f"<h1>25:00{NBSP}h left</h1>" in client.get("/portal").text
    assert f"25:00{NBSP}h left" in client.get("/portal/meters").text
    page = client.get("/account/display").text
    assert 'selected value="de_DE"' in page
    assert '<html lang="en">' in page  # the words are not German


def test_who_looks_beside_them_is_not_shown_what_they_chose(login, make, uma, acme):
    other = login(make.user(acme))
    choose(uma, units="hours")
    assert f"25:00{NBSP}h left" in login(uma).get("/portal").text
    assert "1,500 minutes left" in other.get("/portal").text


def test_the_person_goes_before_the_tenant(login, make, uma, acme):
    choose_for(acme, locale=GERMAN, units="hours")
    client = login(uma)
    assert f"25:00{NBSP}h left" in client.get("/portal").text
    choose(uma, units="minutes", locale="en_GB")
    assert "1,500 minutes left" in client.get("/portal").text
    choose(uma, units="minutes")
    assert "1.500 minutes left" in client.get("/portal").text


def test_times_are_those_of_the_chosen_zone_and_counted_days_the_tenants(login, uma, acme, make, clock):
    client = login(uma)
    assert "Europe/Berlin" in client.get("/portal/audit").text
    choose(uma, zone="Asia/Tokyo")
    log = client.get("/portal/audit").text
    assert "Times in Asia/Tokyo." in log
    assert "Today 06:0" in log  # 21:00 UTC is the next day there
    make.usage(acme, 60, source=make.source(), occurred_at=datetime(2026, 11, 22, 20, 30, tzinfo=UTC))
    usage = client.get("/portal/usage?from=2026-11-22&to=2026-11-22").text
    assert "Times in Asia/Tokyo. Its days are those of Europe/Berlin." in usage
    assert "23 Nov 2026, 05:30" in usage
    staff = make.staff()
    choose(staff, zone="America/New_York")
    assert "Times are in America/New York." in login(staff).get("/provider/people").text


def test_a_view_as_the_tenant_is_shown_as_to_the_tenant(login, make, acme):
    staff = make.staff()
    choose(staff, locale="fr_FR", units="minutes")
    choose_for(acme, units="hours")
    client = login(staff)
    assert client.submit("/provider/tenants/acme/view", {"reason": "asked", "role": "admin"}).status_code == 303
    assert f"25:00{NBSP}h left" in client.get("/portal").text


def test_the_provider_chooses_for_a_tenant(login, make, acme, session):
    client = login(make.staff())
    saved = client.submit(
        "/provider/tenants/acme/edit", {"name": "Acme", "slug": "acme", "locale": GERMAN, "units": "hours"}
    )
    assert saved.status_code == 303
    session.expire_all()
    found = session.get_one(Tenant, acme.id)
    assert (found.locale, found.units) == (GERMAN, "hours")


@pytest.mark.parametrize(("name", "value"), [("locale", "xx_XX"), ("zone", "Mars/Base"), ("units", "days")])
def test_what_there_is_not_cannot_be_chosen(login, uma, session, name, value):
    client = login(uma)
    assert client.submit("/account/display", {name: value}).status_code == 422
    with pytest.raises(Invalid) as refused:
        choose(uma, **{name: value})
    assert refused.value.details["field"] == name
    assert displays.display_of(session, uma.id) == Display()


@pytest.mark.databases("sqlite")
def test_a_document_is_written_for_whom_it_is_for(app):
    with app.test_request_context():
        g.display = Display("en_US", "Asia/Tokyo", "hours")
        with written_in(GERMAN):
            assert (number(1_234), quantity(5_400, 60)) == ("1.234", "90")
        assert (number(1_234), g.display.units) == ("1,234", "hours")

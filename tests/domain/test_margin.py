"""Retail, wholesale and margin out of issued invoices, with the cost as it was."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from app.db import unit_of_work
from app.domain.billing import profiles
from app.domain.billing.lines import Rate
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.profiles import Profile
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.insight import margin
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from tests.domain.test_billing import EURO, STARTED, credit, draft, finalise, issued

MONTH = date(2026, 10, 1)
CHARGED = [LimitSpec("voice_minutes", 6_000, "charge", 20_000)]


@pytest.fixture
def office(make):
    make.now = STARTED
    return make.package("office", CHARGED, price_micros=49 * EURO, cost_micros=20 * EURO, setup_fee_micros=10 * EURO)


@pytest.fixture
def acme(make, office):
    tenant = make.tenant()
    make.subscribe(tenant, office)
    return tenant


@pytest.fixture
def taxed(make, office):
    """Pays the tax within the prices."""
    tenant = make.tenant("Globex")
    make.subscribe(tenant, office)
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("gross", "VAT", 190_000, inclusive=True), actor="nora", now=STARTED)
        found = unit.get_one(Tenant, tenant.id)
        profiles.save_profile(unit, found, Profile("gross", 14), actor="nora", now=STARTED)
    return tenant


def figures(row):
    return row.retail_micros, row.wholesale_micros, row.margin_micros


def by_code(rows):
    return {row.about.code if row.about else "": figures(row) for row in rows}


def publish(code, **changed):
    with unit_of_work() as unit:
        package = catalog.by_code(unit, code)
        spec = replace(catalog.spec_of(package.revision), **changed)
        catalog.publish(unit, package, spec, actor="nora", now=STARTED + timedelta(days=5))


def test_the_cost_is_that_of_the_revision_the_line_was_charged_by(session, acme):
    issued(acme)  # September in advance, at 20.00, with the setup fee
    publish("office", cost_micros=25 * EURO, price_micros=59 * EURO)
    issued(acme, "period")  # October in advance, at 25.00
    publish("office", cost_micros=1 * EURO)
    session.rollback()
    rows = margin.by_month(session, "EUR", MONTH)
    assert (len(rows), rows[0].about, rows[-1].about) == (12, date(2025, 11, 1), MONTH)
    assert figures(rows[-1]) == (118 * EURO, 45 * EURO, 73 * EURO)
    assert [row.retail_micros for row in rows[:-1]] == [0] * 11
    kept = [(line.kind, line.cost_micros) for line in session.scalars(select(InvoiceLine).order_by(InvoiceLine.id))]
    assert kept == [("recurring", 20 * EURO), ("setup", 0), ("recurring", 25 * EURO)]


def test_what_lay_beyond_counts_for_the_package_and_a_change_for_both(session, make, acme):
    large = make.package("large", CHARGED, price_micros=69 * EURO, cost_micros=30 * EURO)
    issued(acme)
    make.usage(acme, 6_600, source=make.source(), occurred_at=STARTED + timedelta(days=1))  # 10 minutes at 0.02
    with unit_of_work() as unit:
        found, package = unit.get_one(Tenant, acme.id), unit.get_one(type(large), large.id)
        subscriptions.subscribe(unit, found, package, actor="nora", now=STARTED + timedelta(days=15))
    issued(acme, "period")
    session.rollback()
    assert by_code(margin.by_package(session, "EUR", MONTH)) == {
        # 15 of 30 days are 34.50 for 15.00; the coming period; 0.20 beyond as the period ended
        "large": (103_700_000, 45 * EURO, 58_700_000),
        "office": (34_500_000, 10 * EURO, 24_500_000),  # 49.00 + 10.00 setup - 24.50, 20.00 - 10.00
    }


def test_what_lay_beyond_costs_what_its_units_cost_as_the_period_was_charged(session, make):
    limits = [replace(CHARGED[0], unit_cost_micros=8_000)]  # bought at 0.008 a minute, sold at 0.02
    make.now = STARTED
    package = make.package("bought", limits, price_micros=49 * EURO, cost_micros=20 * EURO, loss_reason="growth")
    tenant = make.tenant()
    make.subscribe(tenant, package)
    make.usage(tenant, 66_000, source=make.source(), occurred_at=STARTED + timedelta(days=1))  # 1,000 minutes beyond
    publish("bought", limits=[replace(limits[0], unit_cost_micros=9_000)])  # from the next period on
    invoice_id = issued(tenant, "period")
    kept = select(InvoiceLine.kind, InvoiceLine.amount_micros, InvoiceLine.cost_micros).order_by(InvoiceLine.position)
    assert session.execute(kept).all() == [
        ("recurring", 49 * EURO, 20 * EURO),
        ("overage", 20 * EURO, 8 * EURO),
    ]
    assert by_code(margin.by_package(session, "EUR", MONTH)) == {"bought": (69 * EURO, 28 * EURO, 41 * EURO)}
    credit(tenant, invoice_id)
    session.rollback()
    assert by_code(margin.by_package(session, "EUR", MONTH)) == {"bought": (0, 0, 0)}


def test_tax_within_the_price_is_no_margin(session, acme, taxed):
    issued(taxed)
    issued(acme)
    session.rollback()
    found, more = margin.by_tenant(session, "EUR", MONTH)
    assert more is None
    # 59.00 with 19 % within are 49.58 and 9.42.
    assert [(row.about.name, *figures(row)) for row in found] == [
        ("Acme", 59 * EURO, 20 * EURO, 39 * EURO),
        ("Globex", 49_580_000, 20 * EURO, 29_580_000),
    ]
    assert by_code(margin.by_package(session, "EUR", MONTH)) == {"office": (108_580_000, 40 * EURO, 68_580_000)}


def test_a_credit_note_takes_retail_and_wholesale_back(session, acme):
    invoice_id = issued(acme)
    credit(acme, invoice_id)
    session.rollback()
    row = margin.by_month(session, "EUR", MONTH)[-1]
    assert (figures(row), row.invoices) == ((0, 0, 0), 2)


def test_drafts_and_other_months_and_currencies_do_not_count(session, make, acme):
    draft(acme, "start")
    session.rollback()
    assert margin.currencies(session) == []
    assert margin.by_package(session, "EUR", MONTH) == []
    finalise(acme, draft(acme, "start"))
    session.rollback()
    assert margin.currencies(session) == ["EUR"]
    assert margin.by_tenant(session, "EUR", date(2026, 9, 1)) == ([], None)
    assert margin.by_tenant(session, "USD", MONTH) == ([], None)


def test_every_sum_is_that_of_the_lines_it_leads_to(session, make, acme, taxed, monkeypatch):
    monkeypatch.setattr(margin, "PAGE_SIZE", 2)
    for tenant in (acme, taxed):
        issued(tenant)
        issued(tenant, "period")
    session.rollback()
    package = catalog.by_code(session, "office")
    found, after = [], None
    while True:
        rows, after = margin.lines_of(session, "EUR", MONTH, package, after=after)
        found += rows
        if after is None:
            break
    assert len({line.id for line, _ in found}) == len(found) == 6
    sums = sum(line.net_micros for line, _ in found), sum(line.cost_micros for line, _ in found)
    assert sums == by_code(margin.by_package(session, "EUR", MONTH))["office"][:2]
    by_tenant = [margin.by_tenant(session, "EUR", MONTH, start=start)[0] for start in (0, 2)]
    assert sum(row.retail_micros for rows in by_tenant for row in rows) == sums[0]


def test_figures_take_a_fixed_number_of_statements(session, make, office, count_statements):
    counts = []
    for number in range(4):
        tenant = make.tenant(f"T {number}")
        make.subscribe(tenant, office)
        issued(tenant)
        session.rollback()
        with count_statements() as seen:
            margin.by_month(session, "EUR", MONTH)
            margin.by_tenant(session, "EUR", MONTH)
            margin.by_package(session, "EUR", MONTH)
        counts.append(len(seen))
    assert counts[0] == counts[-1] <= 6, seen.texts


def test_a_redraft_keeps_the_sums_of_its_lines(session, make, acme):
    invoice_id = draft(acme)
    make.usage(acme, 6_600, source=make.source(), occurred_at=STARTED + timedelta(days=1))
    finalise(acme, invoice_id)
    session.rollback()
    invoice = session.get_one(Invoice, (acme.id, invoice_id))
    lines = session.scalars(select(InvoiceLine).where(InvoiceLine.invoice_id == invoice_id)).all()
    assert invoice.cost_micros == sum(line.cost_micros for line in lines) == 20 * EURO
    assert invoice.net_micros == sum(line.net_micros for line in lines) == 49_200_000

"""The margin pages: what they show, and where each figure leads."""

import re
from html import unescape

import pytest

from app.db import run_in_transaction
from app.domain.billing import service as billing
from app.domain.billing.terms import Issuer, Terms
from app.domain.subscriptions import service as subscriptions

EURO = 1_000_000


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def acme(make, now):
    """Invoiced 49.00 that cost 20.00, and a visit of 5.00."""
    tenant = make.tenant("Acme")
    make.subscribe(tenant, make.package("office", {}, price_micros=49 * EURO, cost_micros=20 * EURO))
    terms = Terms(Issuer("Northline"))

    def act(session):
        found = subscriptions.require_live(session, tenant)
        period = subscriptions.period_of(found, now)
        invoice = billing.draft(session, found, period, terms, now=now, reason="start")
        billing.add_line(session, invoice, "Visit", 1, 5 * EURO, terms, actor="t", now=now)
        return billing.finalise(session, invoice, terms, actor="t", now=now).number

    return run_in_transaction(act)


def test_figures_by_month_package_and_tenant(staff, acme):
    page = staff.get("/provider/margin").text
    assert "Margin in November 2026" in page
    assert "€54.00" in page and "€34.00" in page and "63 %" in page
    assert page.count('<rect class="cost"') == 12 and 'class="gain"' in page
    assert ">Office</a>" in page and "Of no package" in page and ">Acme</a>" in page
    assert "as invoiced" in staff.get("/provider").text


def test_each_figure_leads_to_what_it_sums(staff, acme):
    page = staff.get("/provider/margin").text
    links = {unescape(link) for link in re.findall(r'href="(/provider/(?:invoices|margin/lines)[^"]*)"', page)}
    assert len(links) >= 4
    for link in links - {"/provider/invoices"}:
        assert acme in staff.get(link).text, link
    office = staff.get("/provider/margin/lines?month=2026-11&currency=EUR&package=office").text
    assert "€29.00" in office and "Visit" not in office
    assert "Visit" in staff.get("/provider/margin/lines?month=2026-11&currency=EUR").text


def test_another_month_has_nothing(staff, acme):
    assert "Nothing was invoiced in this month." in staff.get("/provider/margin?month=2026-10").text
    assert acme not in staff.get("/provider/invoices?month=2026-10").text
    assert "No lines" in staff.get("/provider/margin/lines?month=2026-10&package=office").text


@pytest.mark.parametrize("query", ["month=nonsense", "month=0001-01", "month=9999-12", "currency=XXX", "after=x"])
def test_bad_input_falls_back(staff, acme, query):
    assert staff.get(f"/provider/margin?{query}").status_code == 200
    assert staff.get(f"/provider/margin/lines?{query}").status_code == 200
    assert staff.get(f"/provider/invoices?{query}").status_code == 200


def test_nothing_invoiced_is_said_so(staff):
    assert "Nothing was invoiced yet" in staff.get("/provider/margin").text


def test_an_unknown_package_is_not_found(staff, acme):
    assert staff.get("/provider/margin/lines?package=nothing").status_code == 404

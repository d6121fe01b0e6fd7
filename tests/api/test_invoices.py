"""Issued invoices over the API, as JSON and as PDF."""

from datetime import timedelta

import pytest

from app.db import unit_of_work
from app.domain.billing import service
from app.domain.billing.terms import Terms
from app.domain.subscriptions import service as subscriptions


@pytest.fixture
def invoice(app, acme, now):
    with unit_of_work() as unit:
        found = subscriptions.require_live(unit, acme)
        period = subscriptions.period_on_day(found, found.anchor_on)
        terms = Terms.of(app.config["RINGPLAN"])
        draft = service.draft(unit, found, period, terms, now=now, reason="start")
        later = now + timedelta(days=30)
        service.draft(unit, found, period, terms, now=later)  # a draft is nobody's business yet
        return service.finalise(unit, draft, terms, actor="nora", now=now)


def test_issued_invoices_are_listed(machine, invoice):
    found = machine("GET", "/api/v1/tenants/acme/invoices").json
    assert found["next"] is None
    assert [(row["number"], row["status"], row["total"], row["credits"]) for row in found["data"]] == [
        ("2026-00001", invoice.status, "0.00", None)
    ]


def test_one_invoice_as_json_or_as_pdf(machine, invoice):
    address = "/api/v1/tenants/acme-1/invoices/2026-00001"
    found = machine("GET", address).json
    assert found["currency"] == "EUR" and found["printed"]["customer"]["name"] == "Acme"
    assert [(line["kind"], line["name"], line["amount"]) for line in found["lines"]] == [("recurring", "Gold", "0.00")]
    document = machine("GET", address, headers={"Accept": "application/pdf"})
    assert (document.mimetype, document.data[:5]) == ("application/pdf", b"%PDF-")
    assert "Accept" in document.vary
    assert document.data == machine("GET", address, headers={"Accept": "application/pdf"}).data


def test_what_is_not_the_tenants_is_not_found(machine, make, invoice):
    make.tenant("Globex")
    assert machine("GET", "/api/v1/tenants/globex/invoices/2026-00001").status_code == 404
    assert machine("GET", "/api/v1/tenants/acme/invoices/2026-00002").status_code == 404
    assert machine("GET", "/api/v1/tenants/nobody/invoices").status_code == 404
    assert machine("GET", "/api/v1/tenants/globex/invoices").json["data"] == []


def test_a_cursor_that_was_not_made_here_is_refused_and_begins_no_list_anew(machine, invoice):
    answer = machine("GET", "/api/v1/tenants/acme/invoices?cursor=nonsense")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_cursor")

"""Invoices, payments, the ledger and the bill run, as staff and as the tenant see them."""

import io
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape

import pytest
from pypdf import PdfReader
from sqlalchemy import select

from app import jobs as work
from app.db import unit_of_work
from app.domain.billing import ledger, payments, profiles, run, service
from app.domain.billing.lines import Rate
from app.domain.billing.models import BillRun, Invoice
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Terms
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 5, 12, tzinfo=UTC)
HOSTILE = ('#read("/etc/passwd")', "*x* _y_ $z$ @w", "<script>alert(1)</script>")


@pytest.fixture
def now():
    return OCTOBER


@pytest.fixture
def settings(settings):
    return replace(
        settings, PROVIDER_ADDRESS="Hafenstraße 12|Hamburg", PROVIDER_TAX_ID="DE1", PROVIDER_IBAN="DE02 1203"
    )


@pytest.fixture
def acme(make):
    make.now = STARTED
    tenant = make.tenant("Acme", country="DE")
    limits = [LimitSpec("voice_minutes", 6_000, "charge", 20_000)]
    make.subscribe(tenant, make.package("office", limits, price_micros=49 * EURO, setup_fee_micros=10 * EURO))
    make.now = OCTOBER
    with unit_of_work() as unit:
        profiles.save_rate(unit, Rate("vat", "VAT", 190_000), actor="nora", now=STARTED)
        wanted = Profile("vat", 10, "Acme GmbH", "Gate 1\nBerlin")
        profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), wanted, actor="nora", now=STARTED)
    make.usage(tenant, 6_090, source=make.source(), occurred_at=STARTED + timedelta(days=2), caller="101")
    return tenant


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def customer(acme, make, login):
    return login(make.user(acme))


@pytest.fixture
def drafted(app, acme):
    """`drafted(reason)`: the id of a draft about the first period."""

    def draft(reason="period"):
        with unit_of_work() as unit:
            found = subscriptions.require_live(unit, acme)
            period = subscriptions.period_on_day(found, STARTED.date())
            terms = Terms.of(app.config["RINGPLAN"])
            return service.draft(unit, found, period, terms, now=OCTOBER, reason=reason).id

    return draft


@pytest.fixture
def issued(app, acme, drafted):
    """`issued(reason)`: the id of an invoice with its number."""

    def issue(reason="period"):
        invoice_id = drafted(reason)
        with unit_of_work() as unit:
            terms = Terms.of(app.config["RINGPLAN"])
            service.finalise(unit, service.get(unit, acme.id, invoice_id), terms, actor="nora", now=OCTOBER)
        return invoice_id

    return issue


def words(answer):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.get_data(as_text=True))))


def pdf_words(content):
    return " ".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)


def read(session, acme, invoice_id):
    session.rollback()
    return service.get(session, acme.id, invoice_id)


def path(invoice_id, rest=""):
    return f"/provider/tenants/acme/invoices/{invoice_id}{rest}"


def test_the_list_is_filtered_paged_and_swapped_alone(staff, issued, drafted):
    assert "No invoices yet" in words(staff.get("/provider/invoices"))
    issued("start")
    drafted()
    everything = words(staff.get("/provider/invoices"))
    assert "2026-00001" in everything and "Draft invoice" in everything and "€70.21" in everything
    for state, shown in (("draft", False), ("open", True), ("overdue", False), ("paid", False), ("odd", False)):
        assert ("2026-00001" in words(staff.get(f"/provider/invoices?state={state}"))) is shown
    fragment = staff.fragment("/provider/invoices?text=acm", "section#invoice_rows")
    assert "2026-00001" in words(fragment) and b"<html" not in fragment.data
    assert "No invoice fits" in words(staff.get("/provider/invoices?text=globex&tenant=acme&run=1"))
    assert staff.get("/provider/invoices?state=nonsense&after=x&run=x").status_code == 200


def test_page_and_pdf_say_the_same_for_both_sides(staff, customer, issued):
    invoice_id = issued()
    for page, document in (
        (staff.get(path(invoice_id)), staff.get(path(invoice_id, ".pdf"))),
        (customer.get("/portal/invoices/2026-00001"), customer.get("/portal/invoices/2026-00001.pdf")),
    ):
        assert document.mimetype == "application/pdf"
        shown, printed = words(page), pdf_words(document.data)
        for text in (
            "Invoice 2026-00001", "Hafenstraße 12", "VAT ID DE1", "Acme GmbH", "Gate 1", "15 October 2026",
            "Office, in advance", "1 to 31 October 2026", "beyond the allowance", "1:30 minutes", "€0.02 a minute",
            "€0.03", "VAT, 19 % of €49.03", "€9.32", "€58.35", "DE02 1203",
        ):  # fmt: skip
            assert text in shown, text
            assert text.replace(" ", "") in re.sub(r"\s+", "", printed), text


def test_a_document_is_the_same_bytes_whenever_it_is_asked_for(customer, issued, clock):
    issued()
    first = customer.get("/portal/invoices/2026-00001.pdf").data
    clock.shift(timedelta(days=3))
    assert customer.get("/portal/invoices/2026-00001.pdf").data == first


def test_what_is_typed_is_never_markup(app, staff, acme, drafted):
    invoice_id = drafted()
    for text in HOSTILE:
        form = {"name": text, "quantity": "1", "price": "1", "tax_code": "vat"}
        assert staff.submit(path(invoice_id, "/lines"), form).status_code == 303
    page, document = staff.get(path(invoice_id)), staff.get(path(invoice_id, ".pdf"))
    assert b"<script>alert" not in page.data
    for text in HOSTILE:
        assert text in unescape(page.get_data(as_text=True))
        assert text.replace(" ", "") in re.sub(r"\s+", "", pdf_words(document.data))


def test_a_usage_line_leads_to_its_records(staff, customer, issued):
    invoice_id = issued()
    for browser, page in ((staff, path(invoice_id)), (customer, "/portal/invoices/2026-00001")):
        link = re.search(r'href="([^"]*resource=voice_minutes[^"]*)"', browser.get(page).get_data(as_text=True))
        assert link is not None
        shown = words(browser.get(unescape(link[1])))
        assert "101:30" in shown and "101" in shown
    assert "Nothing used" in words(staff.get("/provider/tenants/acme/usage?period=2026-10-01&resource=fax_pages"))
    assert staff.get("/provider/tenants/acme/usage?period=x&resource=y").status_code == 200


def test_a_draft_gets_lines_and_loses_them(staff, session, acme, drafted):
    invoice_id = drafted("start")
    wrong = staff.submit(path(invoice_id, "/lines"), {"name": "", "quantity": "0", "price": "x", "tax_code": "vat"})
    assert wrong.status_code == 422 and "Say what the line is for" in words(wrong)
    zero = staff.submit(
        path(invoice_id, "/lines"), {"name": "Nothing", "quantity": "1", "price": "0", "tax_code": "vat"}
    )
    assert zero.status_code == 422
    form = {"name": "Visit", "quantity": "2", "price": "5", "tax_code": "vat", "takes_off": "y"}
    assert staff.submit(path(invoice_id, "/lines"), form).status_code == 303
    assert read(session, acme, invoice_id).net_micros == 49 * EURO
    assert "Visit" in words(staff.get(path(invoice_id)))
    line = next(line for line in service.lines_of(session, read(session, acme, invoice_id)) if line.kind == "one_off")
    assert staff.submit(path(invoice_id, f"/lines/{line.id}/remove")).status_code == 303
    assert read(session, acme, invoice_id).net_micros == 59 * EURO
    assert staff.submit(path(invoice_id, "/discard")).headers["Location"].endswith("/provider/invoices?tenant=acme")
    assert staff.get(path(invoice_id)).status_code == 404


def test_what_the_page_said_is_what_is_issued(staff, session, make, acme, drafted):
    invoice_id = drafted()
    seen = read(session, acme, invoice_id).total_micros
    assert "Issue: €58.35" in words(staff.get(path(invoice_id)))
    make.usage(acme, 60, source=make.source("pbx2"), occurred_at=STARTED + timedelta(days=5))
    stale = staff.submit(path(invoice_id, "/finalise"), {"seen": str(seen)})
    assert stale.status_code == 409 and "Issue: €58.37" in words(stale)
    fresh = str(read(session, acme, invoice_id).total_micros)
    assert staff.submit(path(invoice_id, "/finalise"), {"seen": fresh}).status_code == 303
    assert "is issued" in words(staff.get(path(invoice_id)))
    again = staff.submit(path(invoice_id, "/finalise"), {"seen": fresh})
    assert again.status_code == 409 and "finalised already" in words(again)


def test_an_odd_draft_says_why_and_is_accepted(staff, session, acme, drafted):
    invoice_id = drafted()
    with unit_of_work() as unit:
        service.get(unit, acme.id, invoice_id).odd = "open_quarantine"
    assert "usage waits in quarantine" in words(staff.get(path(invoice_id)))
    assert "usage waits in quarantine" in words(staff.get("/provider/billing"))
    assert staff.submit(path(invoice_id, "/accept")).status_code == 303
    assert read(session, acme, invoice_id).odd == ""
    assert staff.submit(path(invoice_id, "/refresh")).status_code == 303


def test_a_credit_note_on_some_lines(staff, session, acme, issued):
    invoice_id = issued()
    lines = service.lines_of(session, read(session, acme, invoice_id))
    assert "beyond the allowance" in words(staff.get(path(invoice_id, "/credit")))
    nothing = staff.submit(path(invoice_id, "/credit"), {})
    assert nothing.status_code == 409 and "nothing to credit" in words(nothing)
    done = staff.submit(path(invoice_id, "/credit"), {"line": [str(lines[1].id)]})
    note = staff.get(done.headers["Location"])
    assert "Credit note 2026-00002" in words(note) and "-€0.04" in words(note)
    assert "credited already" in words(staff.get(path(invoice_id, "/credit")))
    assert "2026-00002" in words(staff.get(path(invoice_id)))
    assert read(session, acme, invoice_id).open_micros == 58_350_000 - 40_000


def test_payments_are_entered_once_matched_and_paid_back(staff, session, acme, issued):
    invoice_id = issued()
    page = words(staff.get(f"/provider/tenants/acme/payments/new?invoice={invoice_id}"))
    assert "€58.35 is open" in page
    form = {
        "amount": "60",
        "method": "bank",
        "reference": "TX1",
        "received_on": "2026-10-05",
        "invoice": str(invoice_id),
    }
    bad = staff.submit("/provider/tenants/acme/payments/new", {**form, "amount": "", "received_on": "x"})
    assert bad.status_code == 422 and "Enter an amount" in words(bad)
    for _ in range(2):
        assert staff.submit("/provider/tenants/acme/payments/new", form).status_code == 303
    other = staff.submit("/provider/tenants/acme/payments/new", {**form, "amount": "61", "invoice": ""})
    assert other.status_code == 422 and "entered already" in words(other)
    shown = words(staff.get("/provider/tenants/acme/ledger"))
    assert "Has €1.65 to its credit" in shown and "Pay back" in shown
    assert "TX1" in words(staff.get(path(invoice_id)))
    assert "€1.65 can be paid back" in words(staff.get("/provider/tenants/acme/payments/new?back=1"))
    back = {**form, "amount": "1.65", "reference": "OUT1", "back": "1", "invoice": ""}
    too_much = staff.submit("/provider/tenants/acme/payments/new", {**back, "amount": "2"})
    assert too_much.status_code == 422 and "less than that" in words(too_much)
    assert staff.submit("/provider/tenants/acme/payments/new", back).status_code == 303
    session.rollback()
    assert ledger.balances_of(session, acme.id) == {"EUR": 0}
    assert payments.credit_of(session, acme.id, "EUR") == 0


def test_the_billing_profile_reaches_drafts_and_no_issued_invoice(staff, session, acme, issued, drafted):
    first = issued("start")
    second = drafted()
    form = {"legal_name": "Acme AG", "address": "New Street", "tax_code": "reverse-charge", "payment_days": "30"}
    assert staff.get("/provider/tenants/acme/billing").status_code == 200
    bad = staff.submit("/provider/tenants/acme/billing", {**form, "payment_days": "999"})
    assert bad.status_code == 422
    assert staff.submit("/provider/tenants/acme/billing", form).status_code == 303
    assert read(session, acme, first).printed["customer"]["name"] == "Acme GmbH"
    draft = read(session, acme, second)
    assert draft.printed["customer"]["name"] == "Acme AG" and draft.tax_micros == 0
    assert "the recipient is liable" in words(staff.get(path(second)))


def test_tax_rates_are_added_and_changed(staff, session):
    form = {"code": "city", "name": "City tax", "percent": "8.875", "category": "S", "note": ""}
    assert staff.submit("/provider/billing/tax", {**form, "code": "City tax"}).status_code == 422
    assert staff.submit("/provider/billing/tax", {**form, "percent": "101"}).status_code == 422
    assert staff.submit("/provider/billing/tax", form).status_code == 303
    assert "8.875 %" in words(staff.get("/provider/billing/tax"))
    assert 'value="8.875"' in staff.get("/provider/billing/tax?code=city").get_data(as_text=True)
    session.rollback()
    assert profiles.rates(session)["city"].ppm == 88_750


def test_a_bill_run_is_seen_from_start_to_end_also_after_a_reload(staff, session, acme):
    assert "Start a dry run" in words(staff.get("/provider/billing"))
    assert staff.submit("/provider/billing/start").status_code == 303
    staff.submit("/provider/billing/start")
    working = staff.get("/provider/billing")
    assert "Drafting" in words(working) and "There is a bill run already" in words(working)
    assert 'hx-get="/provider/billing"' in working.get_data(as_text=True)
    assert "<progress" in staff.fragment("/provider/billing", "div#progress").get_data(as_text=True)
    while job := work.claim_next(timedelta(minutes=1)):
        work.perform(job)
    review = words(staff.get("/provider/billing"))
    assert "Review" in review and "€128.56" in review
    session.rollback()
    run_id = session.scalars(select(BillRun.id)).one()
    assert staff.submit(f"/provider/billing/{run_id}/finalise").status_code == 303
    staff.submit(f"/provider/billing/{run_id}/close")
    assert "moved on meanwhile" in words(staff.get("/provider/billing"))
    while job := work.claim_next(timedelta(minutes=1)):
        work.perform(job)
    done = words(staff.get("/provider/billing"))
    assert "Runs so far" in done and "Start a dry run" in done
    assert "2026-00002" in words(staff.get(f"/provider/invoices?run={run_id}"))
    session.rollback()
    assert run.get(session, run_id).finalised == 2


def test_a_tenant_sees_its_own_issued_invoices_alone(make, login, customer, acme, issued, drafted):
    assert "No invoices yet" in words(customer.get("/portal/invoices"))
    issued("start")
    drafted()
    shown = words(customer.get("/portal/invoices"))
    assert "€70.21 to be paid" in shown and "Draft" not in shown
    globex = login(make.user(make.tenant("Globex")))
    for address in ("/portal/invoices/2026-00001", "/portal/invoices/2026-00001.pdf"):
        assert globex.get(address).status_code == 404
    assert "2026-00001" not in words(globex.get("/portal/invoices"))
    assert customer.get("/provider/invoices").status_code == 404
    assert customer.get("/portal/invoices/None").status_code == 404


def test_an_invoice_of_another_tenant_is_not_found_under_this_one(staff, make, issued):
    invoice_id = issued()
    make.tenant("Globex")
    assert staff.get(f"/provider/tenants/globex/invoices/{invoice_id}").status_code == 404
    assert staff.get("/provider/tenants/nobody/ledger").status_code == 404


def test_the_open_invoice_is_overdue_after_its_day(customer, staff, issued, clock, session):
    issued()
    assert "open" in words(customer.get("/portal/invoices"))
    clock.move_to(datetime(2026, 10, 16, tzinfo=UTC))
    assert "overdue" in words(customer.get("/portal/invoices"))
    assert '<a href="/provider/invoices?state=overdue">1</a>' in staff.get("/provider").text
    session.rollback()
    assert session.scalars(select(Invoice.due_on)).one() == date(2026, 10, 15)

"""Invoices and credit notes as documents: what stands in the PDF, in its metadata, in its XML and in the mail."""

import io
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from facturx import get_facturx_xml_from_pdf, parse_ubl_cii_xml, xml_check_xsd
from lxml import etree
from pypdf import PdfReader

from app import branding
from app.core.display import Display
from app.db import run_in_transaction, unit_of_work
from app.domain.accounts.display import set_display
from app.domain.billing import credit_notes, payments, profiles, service
from app.domain.billing.lines import Rate
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.settings import service as portal_settings
from app.domain.settings.service import Branding
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from tests.einvoices import broken_rules

EURO = 1_000_000
STARTED = datetime(2026, 9, 1, 9, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 5, 12, tzinfo=UTC)
IBAN = "DE02 1203 0000 0000 2020 51"
REVERSE = Rate("reverse", "Reverse charge", 0, category="AE", note="Reverse charge: the customer owes the tax.")
FX = "{urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#}"
ADDRESS = "/portal/invoices/2026-00001"


@pytest.fixture
def now():
    return OCTOBER


@pytest.fixture
def settings(settings):
    return replace(
        settings,
        PROVIDER_ADDRESS="Hafenstraße 12|20457 Hamburg",
        PROVIDER_EMAIL="billing@northline.example",
        PROVIDER_TAX_ID="DE123456789",
        PROVIDER_IBAN=IBAN,
        PROVIDER_BIC="BYLADEM1001",
    )


@pytest.fixture
def issued(app, make):
    """`issued(name, currency, rate)`: a tenant with an invoice about its first month."""
    source = make.source()

    def issue(name="Acme", currency="EUR", rate=None, locale="", **profile):
        make.now = STARTED
        tenant = make.tenant(name, country="AT", currency=currency, locale=locale)
        limits = [LimitSpec("voice_minutes", 6_000, "charge", 20_000)]
        package = make.package(f"office-{tenant.slug}", limits, price_micros=49 * EURO, currency=currency)
        make.subscribe(tenant, package)
        make.usage(tenant, 6_090, source=source, occurred_at=STARTED + timedelta(days=2))
        rate = rate or Rate("vat", "VAT", 190_000)
        with unit_of_work() as unit:
            profiles.save_rate(unit, rate, actor="nora", now=STARTED)
            wanted = Profile(rate.code, 10, f"{name} GmbH", "Gate 1\n1010 Wien", **{"tax_id": "ATU12345678", **profile})
            profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), wanted, actor="nora", now=STARTED)
        terms = Terms.of(app.config["RINGPLAN"])
        with unit_of_work() as unit:
            found = subscriptions.require_live(unit, unit.get_one(Tenant, tenant.id))
            period = subscriptions.period_on_day(found, STARTED.date())
            draft = service.draft(unit, found, period, terms, now=OCTOBER)
            service.finalise(unit, draft, terms, actor="nora", now=OCTOBER)
            return tenant, draft.id

    return issue


@pytest.fixture
def customer(issued, make, login):
    """Somebody of a tenant with an invoice in euros."""
    tenant, _ = issued()
    return login(make.user(tenant))


def pdf_of(answer):
    assert (answer.status_code, answer.mimetype) == (200, "application/pdf")
    return PdfReader(io.BytesIO(answer.data))


def metadata_of(reader):
    return etree.fromstring(reader.trailer["/Root"]["/Metadata"].get_object().get_data())


def test_the_pdf_claims_pdf_a_3b_and_says_what_is_attached(customer):
    reader = pdf_of(customer.get(f"{ADDRESS}.pdf"))
    root, metadata = reader.trailer["/Root"], metadata_of(reader)
    assert reader.pdf_header == "%PDF-1.7"
    assert [metadata.findtext(f".//{{http://www.aiim.org/pdfa/ns/id/}}{name}") for name in ("part", "conformance")] == [
        "3",
        "B",
    ]
    assert {name: metadata.findtext(f".//{FX}{name}") for name in ("DocumentType", "DocumentFileName", "Version")} == {
        "DocumentType": "INVOICE",
        "DocumentFileName": "factur-x.xml",
        "Version": "1.0",
    }
    assert metadata.findtext(f".//{FX}ConformanceLevel") == "EN 16931"
    described = {found.text for found in metadata.iter("{http://www.aiim.org/pdfa/ns/schema#}namespaceURI")}
    assert FX[1:-1] in described
    assert root["/OutputIntents"][0]["/S"] == "/GTS_PDFA1"
    (attached,) = root["/AF"]
    file = attached.get_object()
    assert (file["/F"], file["/UF"], file["/AFRelationship"]) == ("factur-x.xml", "factur-x.xml", "/Alternative")
    assert file["/EF"]["/F"].get_object()["/Subtype"] == "/text/xml"
    assert file["/EF"]["/F"].get_object()["/Params"]["/ModDate"].startswith("D:20261005")
    assert root["/Names"]["/EmbeddedFiles"]["/Names"] == ["factur-x.xml", attached]
    # The document's own properties are those of its metadata, as PDF/A demands.
    title = metadata.findtext(".//{http://purl.org/dc/elements/1.1/}title//{*}li")
    assert reader.metadata.title == title == "Invoice 2026-00001"
    fonts = {name: font.get_object() for page in reader.pages for name, font in page["/Resources"]["/Font"].items()}
    for font in fonts.values():
        inner = font["/DescendantFonts"][0].get_object()
        assert {"/FontFile2", "/FontFile3"} & set(inner["/FontDescriptor"].get_object())


def test_the_data_inside_are_those_of_the_invoice(customer):
    name, xml = get_facturx_xml_from_pdf(customer.get(f"{ADDRESS}.pdf").data)
    found = parse_ubl_cii_xml(xml)
    assert (name, found["BT-1"], found["BT-112"], found["BG-25"][0]["BT-153"]) == (
        "factur-x.xml", "2026-00001", "58.35", "Office Acme, in advance",
    )  # fmt: skip
    assert xml_check_xsd(xml) and broken_rules("cii", xml) == []


def test_the_same_data_are_downloaded_as_ubl(customer):
    answer = customer.get(f"{ADDRESS}.xml")
    assert (answer.status_code, answer.mimetype) == (200, "application/xml")
    assert "attachment; filename=invoice-2026-00001.xml" in answer.headers["Content-Disposition"]
    assert xml_check_xsd(answer.data) and broken_rules("ubl", answer.data) == []
    page = customer.get(ADDRESS).get_data(as_text=True)
    assert f'href="{ADDRESS}.xml"' in page and f'href="{ADDRESS}.pdf"' in page


def test_nobody_else_finds_them(issued, make, login, client):
    tenant, invoice_id = issued()
    stranger, staff = login(make.user(make.tenant("Globex"))), login(make.staff())
    for ending in ("", ".pdf", ".xml"):
        assert stranger.get(ADDRESS + ending).status_code == 404
        assert stranger.get(f"/provider/tenants/acme/invoices/{invoice_id}{ending}").status_code in (403, 404)
        assert client.get(ADDRESS + ending).status_code == 303
        assert staff.get(f"/provider/tenants/globex/invoices/{invoice_id}{ending}").status_code == 404
        assert login(make.user(tenant)).get(ADDRESS.replace("1", "9") + ending).status_code == 404


def test_both_sides_and_machines_get_the_same_bytes(issued, make, login, machine_get):
    tenant, invoice_id = issued()
    customer, staff = login(make.user(tenant)), login(make.staff())
    for ending, accept in ((".pdf", "application/pdf"), (".xml", "application/xml")):
        content = customer.get(ADDRESS + ending).data
        assert staff.get(f"/provider/tenants/acme/invoices/{invoice_id}{ending}").data == content
        assert machine_get(f"/acme/invoices/2026-00001{ending}").data == content
        assert machine_get("/acme/invoices/2026-00001", Accept=accept).data == content
    alias = machine_get("/acme/invoices/2026-00001", Accept="text/xml")
    assert (alias.mimetype, alias.data) == ("text/xml", content)
    assert machine_get("/acme/invoices/2026-00001.json").json["number"] == "2026-00001"
    assert machine_get("/acme/invoices/2026-00002.pdf").status_code == 404
    make.tenant("Globex")
    assert machine_get("/globex/invoices/2026-00001.xml").status_code == 404


@pytest.fixture
def machine_get(app, make):
    """`machine_get(path, Accept=…)` under the tenants of the API."""
    key = make.source("billing").key

    def get(path, **headers):
        headers["Authorization"] = f"Bearer {key}"
        return app.test_client().get(f"/api/v1/tenants{path}", headers=headers)

    return get


ELSEWHERE = """
import sys
from datetime import UTC, datetime
import time_machine
from app import create_app, wall
from app.config import Settings
from app.db import db
from app.domain.billing import reading, service
from app.domain.tenants import service as tenants

with time_machine.travel(datetime(2031, 2, 3, tzinfo=UTC), tick=True):
    app = create_app(Settings(RINGPLAN_INSTANCE=sys.argv[1], DATABASE_URL=sys.argv[2], PROVIDER_NAME="Renamed"))
    with app.test_request_context(headers={"Accept-Language": "de"}):
        wall.show(wall.EVERY_TENANT)
        session = db.session()
        found = reading.by_number(session, tenants.by_slug(session, "acme").id, "2026-00001")
        files = app.extensions["invoice_files"]
        sys.stdout.buffer.write(getattr(files, sys.argv[3])(found, service.lines_of(session, found)))
"""


def test_an_invoice_is_the_same_bytes_in_another_process_on_another_day(app, settings, customer, tmp_path):
    for kind, ending in (("pdf", ".pdf"), ("ubl", ".xml")):
        command = [sys.executable, "-c", ELSEWHERE, settings.RINGPLAN_INSTANCE, settings.DATABASE_URL, kind]
        elsewhere = subprocess.run(command, capture_output=True, check=False)
        assert elsewhere.returncode == 0, elsewhere.stderr.decode()
        assert elsewhere.stdout == customer.get(ADDRESS + ending).data


def test_the_code_to_pay_by_is_on_page_and_paper_for_euros_alone(issued, make, login):
    in_euros, _ = issued()
    in_dollars, _ = issued("Globex", "USD")
    page, paper = login(make.user(in_euros)).get(ADDRESS), login(make.user(in_euros)).get(f"{ADDRESS}.pdf")
    assert "Scan to pay" in page.get_data(as_text=True) and "Scan to pay" in pdf_of(paper).pages[0].extract_text()
    other = ADDRESS.replace("1", "2")
    page, paper = login(make.user(in_dollars)).get(other), login(make.user(in_dollars)).get(f"{other}.pdf")
    assert "Scan to pay" not in page.get_data(as_text=True) + pdf_of(paper).pages[0].extract_text()
    assert IBAN in page.get_data(as_text=True)
    _, xml = get_facturx_xml_from_pdf(paper.data)
    assert parse_ubl_cii_xml(xml)["BT-5"] == "USD" and broken_rules("cii", xml) == []


def test_the_page_shows_no_code_once_part_of_it_is_paid(issued, make, login):
    tenant, _ = issued()
    client = login(make.user(tenant))
    assert "Scan to pay" in client.get(ADDRESS).text

    def pay(unit):
        receipt = Receipt("p1", EURO, "EUR", "bank", "p1", OCTOBER.date())
        payments.receive(unit, unit.get_one(Tenant, tenant.id), receipt, actor="nora", now=OCTOBER)

    run_in_transaction(pay)
    assert "Scan to pay" not in client.get(ADDRESS).text
    assert "Scan to pay" in pdf_of(client.get(f"{ADDRESS}.pdf")).pages[0].extract_text()  # the same bytes as ever


def test_reverse_charge_and_its_credit_note(app, issued, make, login, session):
    tenant, invoice_id = issued(rate=REVERSE)
    customer = login(make.user(tenant))

    def act(unit):
        invoice = service.get(unit, tenant.id, invoice_id)
        return credit_notes.credit(unit, invoice, Terms.of(app.config["RINGPLAN"]), actor="nora", now=OCTOBER).number

    note = f"/portal/invoices/{run_in_transaction(act)}"
    for address, type_code in ((ADDRESS, "380"), (note, "381")):
        paper, ubl = customer.get(f"{address}.pdf"), customer.get(f"{address}.xml").data
        assert REVERSE.note in pdf_of(paper).pages[0].extract_text()
        _, cii = get_facturx_xml_from_pdf(paper.data)
        for kind, xml in (("cii", cii), ("ubl", ubl)):
            found = parse_ubl_cii_xml(xml)
            assert (found["BT-3"], found["BT-110"], found["BT-112"]) == (type_code, "0.00", "49.03")
            assert (found["BG-23"][0]["BT-118"], found["BG-23"][0]["BT-121"]) == ("AE", "VATEX-EU-AE")
            assert xml_check_xsd(xml) and broken_rules(kind, xml) == []
    assert "Scan to pay" not in customer.get(note).get_data(as_text=True)


def test_without_a_tax_id_there_is_paper_but_no_data(issued, make, login):
    tenant, invoice_id = issued(rate=REVERSE, tax_id="")
    customer, staff = login(make.user(tenant)), login(make.staff())
    assert "/AF" not in pdf_of(customer.get(f"{ADDRESS}.pdf")).trailer["/Root"]
    assert customer.get(f"{ADDRESS}.xml").status_code == 409
    assert f"{ADDRESS}.xml" not in customer.get(ADDRESS).get_data(as_text=True)
    page = staff.get(f"/provider/tenants/acme/invoices/{invoice_id}").get_data(as_text=True)
    assert "Reverse charge needs the customer&#39;s tax id." in page


def test_it_keeps_the_numbers_and_dates_of_its_customer_whoever_looks(issued, make, login):
    tenant, invoice_id = issued(locale="de_DE")
    client = login(make.user(tenant))
    printed, data = (client.get(f"{ADDRESS}.{kind}").data for kind in ("pdf", "xml"))
    text = PdfReader(io.BytesIO(printed)).pages[0].extract_text()
    assert "49,00" in text and "49.00" not in text
    with unit_of_work() as unit:
        found = unit.get_one(Tenant, tenant.id)
        tenants.update(unit, found, replace(tenants.profile_of(found), locale="en_US"), actor="nora", now=OCTOBER)
    staff = make.staff()
    with unit_of_work() as unit:
        set_display(unit, staff.id, Display("fr_FR", "Asia/Tokyo", "hours"), actor="nora", now=OCTOBER)
    assert client.get(f"{ADDRESS}.pdf").data == printed
    assert client.get(f"{ADDRESS}.xml").data == data
    assert login(staff).get(f"/provider/tenants/acme/invoices/{invoice_id}.pdf").data == printed


def test_both_documents_stay_the_same_bytes_whatever_is_called_otherwise_later(app, issued, make, login):
    tenant, invoice_id = issued()
    client = login(make.user(tenant))

    def credited(unit):
        invoice = service.get(unit, tenant.id, invoice_id)
        return credit_notes.credit(unit, invoice, Terms.of(app.config["RINGPLAN"]), actor="nora", now=OCTOBER).number

    pages = [ADDRESS, f"/portal/invoices/{run_in_transaction(credited)}"]
    addresses = [f"{page}.{ending}" for page in pages for ending in ("pdf", "xml")]
    before = [client.get(address).data for address in addresses]

    def renamed(unit):
        found, package = unit.get_one(Tenant, tenant.id), catalog.by_code(unit, "office-acme")
        elsewhere = replace(tenants.profile_of(found), name="Ajax", country="DE", timezone="Asia/Tokyo")
        tenants.update(unit, found, elsewhere, actor="nora", now=OCTOBER)
        catalog.publish(
            unit, package, replace(catalog.spec_of(package.revision), name="Bureau"), actor="nora", now=OCTOBER
        )
        profiles.save_profile(
            unit, found, Profile("vat", 30, "Ajax AG", "Gate 2\n10115 Berlin"), actor="nora", now=OCTOBER
        )
        profiles.save_rate(unit, Rate("vat", "Sales tax", 200_000), actor="nora", now=OCTOBER)
        wanted = Branding(product_name="Otherphone", legal_footer="Otherphone Ltd", accent="#123456")
        portal_settings.change(unit, wanted, branding.defaults(), actor="nora", now=OCTOBER)

    run_in_transaction(renamed)
    branding.forget()
    app.config["RINGPLAN"] = replace(
        app.config["RINGPLAN"],
        PROVIDER_NAME="Otherphone",
        PROVIDER_ADDRESS="Elsewhere 1",
        PROVIDER_IBAN="",
        PAYMENT_DAYS=7,
    )
    assert "Ajax" in client.get("/portal").text
    assert [client.get(address).data for address in addresses] == before

"""The pages of a bank file: chosen, looked at, entered."""

import html
import io
import re

import pytest
from sqlalchemy import select

from app.db import run_in_transaction
from app.domain.billing import due, issuing
from app.domain.billing.drafting import draft
from app.domain.billing.models import Invoice, Payment
from app.domain.billing.terms import Issuer, Terms
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"))
FILE = (
    "Buchungstag;Auftraggeber;Verwendungszweck;Betrag\r\n"
    '20.11.2026;Acme & Co;"Rechnung 2026-00001 ""danke""";49,00\r\n21.11.2026;Fremd;Miete;7,00\r\n'
)


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme")
    make.subscribe(tenant, make.package("gold", {}, price_micros=49 * EURO))

    def act(session):
        rows = [subscriptions.require_live(session, session.get_one(Tenant, tenant.id))]
        draft(session, due.find(session, rows, TERMS, now=now), TERMS, now=now)
        issuing.issue(session, session.scalars(select(Invoice)).all(), TERMS, actor="nora", now=now)

    run_in_transaction(act)
    return tenant


@pytest.fixture
def staff(make, login):
    return login(make.staff())


def look(staff, content=FILE):
    return staff.submit(
        "/provider/billing/bank",
        {"file": (io.BytesIO(content.encode("cp1252")), "umsatz.csv"), "currency": "EUR"},
        content_type="multipart/form-data",
    )


def form_of(page):
    content = re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", page, re.DOTALL)[1]
    mark = re.search(r'name="mark" value="(\w+)"', page)[1]
    # A browser sends line ends as CRLF.
    return {
        "content": html.unescape(content).replace("\r\n", "\n").replace("\n", "\r\n"),
        "mark": mark,
        "currency": "EUR",
    }


def test_a_file_is_looked_at_and_entered_once(staff, session, acme):
    assert "Bank file" in staff.get("/provider/billing").text
    assert "Payments from a bank file" in staff.get("/provider/billing/bank").text
    page = look(staff)
    assert page.status_code == 200 and "Enter 1 payment" in page.text
    assert "2026-00001" in page.text and "no invoice number in it" in page.text and "€49.00 open" in page.text
    assert session.scalar(select(Payment)) is None
    form = form_of(page.text)
    done = staff.submit("/provider/billing/bank/enter", form)
    assert done.status_code == 303
    assert "1 payment is entered." in staff.get("/provider/billing").text
    again = staff.submit("/provider/billing/bank/enter", form)
    assert again.status_code == 409 and "Something changed since you looked" in again.text
    assert "entered before" in again.text and "Enter 1 payment" not in again.text
    session.rollback()
    assert len(session.scalars(select(Payment)).all()) == 1


def test_what_is_no_bank_file_is_said_beside_the_field(staff, acme):
    page = look(staff, "a;b\n1;2\n")
    assert page.status_code == 422 and "The file needs a line that heads" in page.text
    assert staff.submit("/provider/billing/bank", {"text": "x", "currency": "EUR"}).status_code == 422
    assert staff.submit("/provider/billing/bank/enter", {"content": "x"}).status_code == 303


def test_tenants_have_no_such_page(make, login, acme):
    office = login(make.user(acme))
    assert office.get("/provider/billing/bank").status_code == 404
    assert office.submit("/provider/billing/bank/enter", {}).status_code == 404


def test_a_line_without_a_number_is_assigned_on_its_page(staff, session, acme):
    content = "Buchungstag;Auftraggeber;Verwendungszweck;Betrag\n21.11.2026;Acme & Co;Miete;49,00\n"
    page = look(staff, content)
    assert "Keep what is not matched" in page.text
    done = staff.submit("/provider/billing/bank/enter", form_of(page.text))
    assert done.location.endswith("/provider/billing/bank/lines")
    assert "1 payment from a bank file waits" in staff.get("/provider/billing").text
    found = staff.get("/provider/billing/bank/lines")
    assert "perhaps Acme, 2026-00001" in html.unescape(found.text)
    path = re.search(r'href="(/provider/billing/bank/lines/\d+)"', found.text)[1]
    assert "Acme · 2026-00001, €49.00 open · same amount and name" in html.unescape(staff.get(path).text)
    assert staff.submit(path, {"suggested": "", "target": "nobody"}).status_code == 422
    assert staff.submit(path, {"suggested": "2026-00001"}).status_code == 303
    assert "The payment is entered for Acme." in staff.get("/provider/billing/bank/lines").text
    assert staff.submit(path, {"suggested": "2026-00001"}).status_code == 422  # decided by now
    assert "Entered for" in staff.get(path).text
    assert "Acme" in staff.fragment("/provider/billing/bank/lines?state=assigned", "lines").text
    session.rollback()
    assert session.scalars(select(Invoice)).one().status == "paid"


def test_a_line_is_set_aside_with_a_reason_and_waits_again(staff, acme):
    page = look(staff, "Buchungstag;Auftraggeber;Verwendungszweck;Betrag\n21.11.2026;Fremd;Miete;7,00\n")
    staff.submit("/provider/billing/bank/enter", form_of(page.text))
    path = re.search(r'href="(/provider/billing/bank/lines/\d+)"', staff.get("/provider/billing/bank/lines").text)[1]
    assert staff.submit(f"{path}/ignore", {"reason": ""}).status_code == 422
    assert staff.submit(f"{path}/ignore", {"reason": "our own transfer"}).status_code == 303
    assert "our own transfer" in staff.get("/provider/billing/bank/lines?state=ignored").text
    assert staff.submit(f"{path}/reopen").status_code == 303
    assert "Fremd" in staff.get("/provider/billing/bank/lines").text
    assert staff.get("/provider/billing/bank/lines/1").status_code == 404
    assert staff.submit("/provider/billing/bank/lines/1", {"target": "acme"}).status_code == 404

"""Text that tries to be more than text – markup, SQL, typst, formulas, headers – in every column, on every way out."""

import csv
import io
import re
from dataclasses import replace

import pytest

from app import mail
from app.db import db
from app.domain.tenants.models import Tenant
from tests import world
from tests.web.test_canary import crawl, plant

MARKUP = "<script>zq()</script>\"'><img src=zq onerror=zq()>{{7*7}}"
CODE = 'zq\'; DROP TABLE tenant; -- #panic("zq") $zq$ *zq @zq <zq> \\ #eval("zq")'  # SQL and typst
FORMULAS = ["=zq()", "+zq", "-zq", "@zq", "\t=zq", "\r=zq"]


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)


@pytest.fixture
def w(app, make, now) -> world.World:
    return world.build(app, make, now)


def _plant(w: world.World, payload: str) -> None:
    planted = plant(w.acme.tenant, payload)
    assert {"tenant.name", "usage_record.caller", "allocation.name"} <= planted


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("payload", [MARKUP, CODE], ids=["markup", "code"])
def test_on_pages_and_in_documents_it_is_text(w, login, payload):
    browsers = {who: login(w.people[who]) for who in ("tenant:admin", "staff:owner")}
    _plant(w, payload)
    pages = {}
    for who, start in (
        ("tenant:admin", "/portal"),
        ("staff:owner", "/provider"),
        ("staff:owner", "/provider/tenants/acme"),
    ):
        pages |= crawl(browsers[who], start)
    assert len(pages) > 60 and any(address.endswith(".pdf") for address in pages)
    assert any("zq" in page for address, page in pages.items() if address.endswith(".pdf"))
    for address, page in pages.items():
        if "text/html" not in page[:200]:
            continue  # there it is text, whatever it says
        assert not re.search("<script>zq|<img src=zq|\"'>|Something went wrong", page), address
        assert "zq()&gt;49" not in page, address  # a template within the text
    assert db.session.query(Tenant).count() == 2


@pytest.mark.databases("sqlite")
def test_no_cell_of_an_export_is_a_formula(w, login):
    browsers = {"/portal": login(w.people["tenant:admin"]), "/provider": login(w.people["staff:owner"])}
    exports = [
        (browser, address)
        for start, browser in browsers.items()
        for address in crawl(browser, start)
        if ".csv" in address
    ]
    assert len(exports) > 4
    for payload in FORMULAS:
        _plant(w, payload)
        seen = 0
        for browser, address in exports:
            for row in csv.reader(io.StringIO(browser.get(address).get_data(as_text=True), newline="")):
                for cell in row:
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), (address, cell)
                    assert not re.match(r"-\D", cell), (address, cell)
                    seen += "zq" in cell
        assert seen > 0, payload


@pytest.mark.databases("sqlite")
def test_in_a_mail_it_is_neither_a_header_nor_markup(app):
    payload = "Acme\r\nBcc: zq@evil.example\r\n\r\n<script>zq()</script>"
    with app.test_request_context():
        words = mail.words("you@acme.example", "account_password", email=payload)
        assert "\n" not in words["subject"] and "\r" not in words["subject"]
        sent: list[object] = []
        app.extensions["mailman"].backend = "locmem"
        app.extensions["mailman"].outbox = sent
        mail.send("a key", {**words, "subject": f"{words['subject']} {' '.join(payload.split())}"})
    (message,) = sent
    source = message.message()  # type: ignore[attr-defined]
    assert source["Bcc"] is None and source.get_content_type() == "text/plain"

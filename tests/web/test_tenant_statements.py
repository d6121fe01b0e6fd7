"""The tenant's statements as pages and as PDF."""

import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import msgspec
import pytest
from pypdf import PdfReader

from app.db import db
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions import service as subscriptions
from app.web.kit import documents
from app.web.tenant import statements

HOSTILE = ('#read("/etc/passwd")', "*x* _y_ $z$ @w", "<script>alert(1)</script>", "\\u{41} // /* [ ] #")
CURRENT = "/portal/statements/current"


@pytest.fixture
def settings(settings):
    return replace(
        settings,
        PROVIDER_NAME="Northline Telecom",
        PROVIDER_ADDRESS="Hafenstraße 12|20457 Hamburg",
        PROVIDER_EMAIL="billing@northline.example",
    )


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin", country="DE")
    limits = (LimitSpec("voice_minutes", 120_000), LimitSpec("fax_pages", 100, "charge", 50_000))
    make.subscribe(tenant, make.package("office-2000", limits=limits), started_at=now - timedelta(days=40))
    source = make.source()
    numbers = {"caller": "101", "callee": "+442079460958", "direction": "outbound"}
    make.usage(tenant, 252, source=source, **numbers)
    make.usage(tenant, 131, "fax_pages", source=source, occurred_at=now - timedelta(hours=2), **numbers)
    return tenant


@pytest.fixture
def customer(acme, make, login):
    return login(make.user(acme))


def pdf_text(content):
    pages = [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]
    return re.sub(r"\s+", " ", " ".join(pages))


def page_text(answer):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def squeezed(text):
    return re.sub(r"\s+", "", text)


def test_page_and_pdf_say_the_same(customer):
    page, document = customer.get(CURRENT), customer.get(f"{CURRENT}.pdf")
    assert (page.status_code, document.status_code, document.mimetype) == (200, 200, "application/pdf")
    assert document.headers["Cache-Control"] == "no-store"
    for words in (
        "13 November to 12 December 2026 · Europe/Berlin",
        "so far, to 22 November",
        "Hafenstraße 12",
        "billing@northline.example",
        "Office 2000, revision 1",
        "2,000:00",
        "4:12",
        "1,995:48",
        "31 × €0.05 = €1.55",
        "22 Nov 20:00:00",
        "+44 20 7946 0958",
        "fax, 131 pages",
        "Minutes a day",
        "2 records",
    ):
        assert squeezed(words) in squeezed(page_text(page)), words
        assert squeezed(words) in squeezed(pdf_text(document.data)), words
    assert "Page 1 of 1" in pdf_text(document.data)


def test_the_list_leads_to_every_period_and_its_pdf(customer):
    text = customer.get("/portal/statements").text
    assert "so far" in text
    links = re.findall(r'href="(/portal/statements/[^"]+)"', text)
    assert links == [
        CURRENT,
        f"{CURRENT}.pdf",
        "/portal/statements/2026-10-13",
        "/portal/statements/2026-10-13.pdf",
    ]
    assert [customer.get(link).status_code for link in links] == [200] * 4


def test_the_first_day_names_the_running_period_too(customer):
    assert customer.get("/portal/statements/2026-11-13").text.count("31 × €0.05 = €1.55") == 2


@pytest.mark.parametrize(
    "day", ["2026-11-14", "2026-12-13", "2026-09-13", "20261113", "0001-01-01", "9999-12-31", "x", "2026-11-13x"]
)
@pytest.mark.databases("sqlite")
def test_there_is_no_statement_of_another_day(customer, day):
    assert customer.get(f"/portal/statements/{day}").status_code == 404
    assert customer.get(f"/portal/statements/{day}.pdf").status_code == 404


def test_the_same_figures_make_the_same_bytes(customer, clock):
    first = customer.get(f"{CURRENT}.pdf").data
    clock.shift(timedelta(minutes=5))
    assert customer.get(f"{CURRENT}.pdf").data == first


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_shown_as_they_are_and_do_nothing(make, login, now, name):
    tenant = make.tenant(name, slug="odd", contact_name=name)
    package = make.package("gold", limits={"voice_minutes": 600}, name=name)
    make.subscribe(tenant, package, started_at=now - timedelta(days=3))
    make.usage(tenant, 60, source=make.source(), caller=name[:60], callee="=1+1")
    customer = login(make.user(tenant))
    document = customer.get(f"{CURRENT}.pdf")
    assert document.status_code == 200
    text = squeezed(pdf_text(document.data))
    assert text.count(squeezed(name)) >= 4
    assert "root:" not in text
    page = customer.get(CURRENT)
    assert squeezed(name) in squeezed(unescape(page.text))
    assert "<script>alert" not in page.text


@pytest.mark.databases("sqlite")
def test_a_name_in_any_script_is_printed(make, login, now):
    name = "Łódź Ποσειδών Жук שלום شركة 株式会社 ไทย ☎ 😀 \x07"
    tenant = make.tenant(name, slug="odd")
    make.subscribe(tenant, make.package("gold", limits={"voice_minutes": 600}), started_at=now - timedelta(days=3))
    make.usage(tenant, 60, source=make.source(), caller=name)
    document = login(make.user(tenant)).get(f"{CURRENT}.pdf")
    assert document.status_code == 200
    assert "Łódź Ποσειδών Жук" in pdf_text(document.data)
    assert "שלום" in pdf_text(document.data)


@pytest.mark.databases("sqlite")
def test_fonts_of_the_instance_folder_come_before_boxes(tmp_path):
    ours = Path(documents.__file__).parents[3] / "static" / "vendor"
    shutil.copy(ours / "noto-sans-hebrew-5.3.0.ttf", tmp_path)
    families = msgspec.json.decode(documents._fonts(ours, tmp_path)[1])
    assert (
        families.index("Noto Sans Hebrew", len(documents.USUAL_FONTS))
        < families.index("Ringplan Boxes")
        == len(families) - 1
    )


def test_outsiders_see_nothing(acme, make, login, client, now):
    other = make.tenant("Globex")
    make.subscribe(other, make.package("tin", limits={"voice_minutes": 60}), started_at=now - timedelta(days=40))
    stranger, staff = login(make.user(other)), login(make.staff())
    for path in (CURRENT, f"{CURRENT}.pdf"):
        answer = stranger.get(path)
        text = pdf_text(answer.data) if path.endswith("pdf") else answer.text
        assert "Globex" in text
        assert "Acme" not in text
        assert "7946" not in text
        assert staff.get(path).status_code == 404
        assert client.get(path).status_code in (302, 303)
    assert staff.get("/portal/statements").status_code == 404


@pytest.mark.databases("sqlite")
def test_without_a_package_there_is_no_statement_yet(make, login):
    customer = login(make.user(make.tenant("Globex")))
    assert "No statements yet" in customer.get("/portal/statements").text
    assert customer.get(CURRENT).status_code == 404
    assert customer.get(f"{CURRENT}.pdf").status_code == 404


@pytest.mark.databases("sqlite")
def test_a_long_statement_says_what_the_page_leaves_out(customer, monkeypatch):
    monkeypatch.setattr(statements, "MOST_ON_PAGE", 1)
    text = page_text(customer.get(CURRENT))
    assert "The newest 1 of 2 records are listed here" in text
    assert "1 of 2 shown" in text
    assert text.count("€1.55") == 2  # the sums are still those of all
    assert "2 records" in pdf_text(customer.get(f"{CURRENT}.pdf").data)


@pytest.mark.databases("sqlite")
def test_paper_is_what_was_asked_for(customer):
    def width(query):
        return round(PdfReader(io.BytesIO(customer.get(f"{CURRENT}.pdf{query}").data)).pages[0].mediabox.width)

    assert (width(""), width("?paper=letter"), width("?paper=odd")) == (595, 612, 595)
    assert 'class="paper-letter"' in customer.get(f"{CURRENT}?paper=letter").text
    assert "paper-letter" not in customer.get(CURRENT).text


@pytest.mark.databases("sqlite")
def test_a_long_list_repeats_its_head_on_every_page(acme, customer, make):
    source = make.source("pbx2")
    for _ in range(120):
        make.usage(acme, 60, source=source)
    pages = PdfReader(io.BytesIO(customer.get(f"{CURRENT}.pdf").data)).pages
    assert len(pages) > 2
    for index, page in enumerate(pages, 1):
        text = page.extract_text()
        assert "Counted" in text
        assert f"Page {index} of {len(pages)}" in text


@pytest.mark.databases("sqlite")
def test_a_record_shows_an_amount_only_where_coins_can_pay_it(make, login, now):
    tenant = make.tenant("Coins")
    limits = (LimitSpec("voice_minutes", 0, "charge", 20_000),)
    make.subscribe(tenant, make.package("coins", limits=limits), started_at=now - timedelta(days=3))
    source = make.source("pbx2")
    make.usage(tenant, 298, source=source)
    make.usage(tenant, 180, source=source, occurred_at=now - timedelta(hours=1))
    page = login(make.user(tenant)).get(CURRENT)
    text = page_text(page)
    assert "4:58 × €0.02" in text and "4:58 × €0.02 =" not in text
    assert "3 × €0.02 = €0.06" in text
    assert "7:58 × €0.02 = €0.16" in text


ELSEWHERE = """
import sys
from datetime import UTC, datetime
import time_machine
from app import create_app
from app.config import Settings
from tests.browser_client import Browser

with time_machine.travel(datetime(2027, 2, 3, tzinfo=UTC), tick=True):
    instance, url, email, address = sys.argv[1:]
    app = create_app(
        Settings(
            RINGPLAN_INSTANCE=instance, DATABASE_URL=url, PROVIDER_NAME="Northline Telecom",
            PROVIDER_ADDRESS="Hafenstraße 12|20457 Hamburg", PROVIDER_EMAIL="billing@northline.example",
        )
    )
    app.test_client_class = Browser
    client = app.test_client()
    assert client.sign_in(email).status_code == 303
    sys.stdout.buffer.write(client.get(address, headers={"Accept-Language": "de"}).data)
"""


def test_a_statement_is_the_same_bytes_in_another_process_on_another_day(settings, acme, make, login, clock):
    user = make.user(acme)
    make.usage(acme, 777, source=make.source("pbx2"), occurred_at=make.now - timedelta(days=20))
    day = subscriptions.periods_of(subscriptions.require_live(db.session(), acme), make.now)[1].first_on.isoformat()
    address = f"/portal/statements/{day}.pdf"
    here = login(user).get(address)
    assert "12:57" in pdf_text(here.data)
    arguments = [settings.RINGPLAN_INSTANCE, settings.DATABASE_URL, user.email, address]
    elsewhere = subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], capture_output=True, check=False)
    assert elsewhere.returncode == 0, elsewhere.stderr.decode()
    assert elsewhere.stdout == here.data

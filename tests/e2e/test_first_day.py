"""The main job in a browser against the real server: a package is made and sold, calls come in, minutes go down."""

import re
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from pypdf import PdfReader

from app.db import run_in_transaction
from app.domain.billing import payments, profiles
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.catalog.specs import LimitSpec
from app.domain.tenants.models import Tenant
from tests.e2e.conftest import serious_findings, serious_findings_in_both_schemes
from tests.server import LiveServer

pytestmark = pytest.mark.e2e
STAFF, OFFICE, OTHER = "nora@northline.example", "office@acme.example", "office@globex.example"
STREAM = "**/meters/stream"


@pytest.fixture(scope="module")
def key(live_server: LiveServer) -> str:
    """A provider with two packages, two tenants and a source; returns the source's key."""
    with live_server.seeding() as make:
        make.staff(STAFF)
        limits = {"voice_minutes": 60_000, "fax_pages": 100, "extensions": 10, "concurrent_calls": 6}
        office = make.package("office", limits, name="Office", price_micros=49_000_000, cost_micros=20_000_000)
        make.package("team", {**limits, "voice_minutes": 120_000}, name="Team", price_micros=69_000_000)
        sold = {}
        for name, email in (("Acme", OFFICE), ("Globex", OTHER)):
            sold[name] = tenant = make.tenant(name, timezone="Europe/Berlin", domain=f"{name.lower()}.example")
            make.user(tenant, email)
            make.subscribe(tenant, office, started_at=make.now - timedelta(days=3))
        source = make.source("pbx1")
        for tenant in sold.values():
            make.call(tenant, source=source, at=make.now - timedelta(hours=1))  # expires before the next one
            granted = [make.call(tenant, source=source, caller="101", callee="+4930901820") for _ in range(7)]
            for call in granted[:6]:
                make.hang_up(call, source=source, seconds=0)
        for number in range(60):
            make.usage(
                sold["Acme"], 60, source=source, occurred_at=make.now - timedelta(minutes=number),
                direction="outbound", caller="101", callee=f"+4420794609{number:02d}",
            )  # fmt: skip
        return source.key


def pay_in_advance(unit: Any, tenant_id: int, now: datetime) -> None:
    """The tenant pays in advance from now on, and has paid 5.00."""
    tenant = unit.get_one(Tenant, tenant_id)
    profiles.save_profile(unit, tenant, Profile("none", 14, prepaid=True), actor="nora", now=now)
    receipt = Receipt("p1", 5_000_000, "EUR", "bank", "p1", now.date())
    payments.receive(unit, tenant, receipt, actor="nora", now=now)


def report(live_server: LiveServer, key: str, event_id: str, quantity: int, tenant: str = "acme") -> None:
    """One call of a PBX."""
    body = {
        "id": event_id,
        "tenant": tenant,
        "resource": "voice_minutes",
        "quantity": quantity,
        "occurred_at": datetime.now(UTC).isoformat(),
        "attributes": {"from": "102", "to": "+493012345678", "direction": "outbound"},
    }
    answer = requests.post(
        f"{live_server.url}/api/v1/usage", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=10
    )
    assert answer.json()["accepted"] == 1, answer.text


def call_control(live_server: LiveServer, key: str, act: str, **body: object) -> dict[str, Any]:
    """What the portal answers to a PBX that asks about a call."""
    url, headers = f"{live_server.url}/api/v1/calls/{act}", {"Authorization": f"Bearer {key}"}
    answer: dict[str, Any] = requests.post(url, json=body, headers=headers, timeout=10).json()
    return answer


def used(page: Page) -> int:
    """Base units that the page's voice meter says are used."""
    return int(page.locator("[data-meter=voice_minutes]").first.get_attribute("data-used") or "-1")


def meter_says(page: Page, seconds: int, timeout: float = 1_500) -> None:
    """The open page shows this within a second and the way there, without a reload."""
    expect(page.locator("[data-meter=voice_minutes]").first).to_have_attribute(
        "data-used", str(seconds), timeout=timeout
    )


def test_staff_makes_a_package_and_sees_the_margin_as_typed(open_as, key):
    page = open_as(STAFF)
    page.goto("/provider/packages/new")
    page.get_by_role("textbox", name="Name").fill("Office 1000")
    page.get_by_label("Price", exact=False).first.fill("49.00")
    page.get_by_label("Your cost").fill("21.50")
    expect(page.locator("[data-margin]")).to_contain_text("27.50")
    page.get_by_label("Voice minutes: how many minutes are included").fill("1000")
    page.get_by_role("button", name=re.compile("publish|create", re.IGNORECASE)).first.click()
    page.wait_for_url(re.compile(r"/provider/packages/office-1000"))
    expect(page.locator("main")).to_contain_text("1,000")


def test_a_form_that_cannot_be_read_keeps_its_input_and_takes_the_focus(open_as, key):
    page = open_as(STAFF)
    page.goto("/provider/packages/new")
    page.get_by_role("textbox", name="Name").fill("Broken")
    page.get_by_label("Your cost").fill("twelve")
    page.get_by_role("button", name=re.compile("publish|create", re.IGNORECASE)).first.click()
    expect(page.locator(".error-summary")).to_be_focused()
    expect(page).to_have_title(re.compile("^Error:"))
    expect(page.get_by_label("Your cost")).to_have_value("twelve")
    assert serious_findings(page) == []
    open_as.complaints.clear()  # a browser logs the 422 itself


def test_a_call_shows_on_every_open_page_within_a_second(open_as, live_server, key):
    tenant, staff, other = open_as(OFFICE), open_as(STAFF), open_as(OTHER)
    staff.goto("/provider/tenants/acme")
    before = used(tenant)
    others = used(other)
    expect(tenant.locator("[data-live]")).to_have_attribute("data-stream", "on")
    expect(staff.locator("[data-live]")).to_have_attribute("data-stream", "on")
    report(live_server, key, "live-1", 90)
    meter_says(tenant, before + 90)
    meter_says(staff, before + 90)
    assert used(other) == others


def test_a_call_in_progress_shows_on_every_open_page_within_a_second(open_as, live_server, key):
    tenant, staff = open_as(OFFICE), open_as(STAFF)
    staff.goto("/provider/tenants/acme")
    for page in (tenant, staff):
        expect(page.locator("[data-live]")).to_have_attribute("data-stream", "on")
    hold = call_control(live_server, key, "authorize", tenant="acme", call_id="held-1", seconds=600)["hold"]
    for page in (tenant, staff):
        voice, calls = (page.locator(f"[data-meter={code}]").first for code in ("voice_minutes", "concurrent_calls"))
        expect(voice).to_contain_text("10 held by calls in progress", timeout=1_500)
        expect(calls).to_contain_text("1 of 6 calls in progress", timeout=1_500)
        assert serious_findings(page) == []
    call_control(live_server, key, "end", hold=hold, seconds=0)
    for page in (tenant, staff):
        expect(page.locator("[data-meter=voice_minutes]").first).not_to_contain_text("held", timeout=1_500)


def test_an_edited_package_changes_every_open_page_at_once(open_as, live_server, key):
    tenant, staff = open_as(OFFICE), open_as(STAFF)
    expect(tenant.locator("[data-live]")).to_have_attribute("data-stream", "on")
    left = int(tenant.locator("[data-meter=voice_minutes]").first.get_attribute("data-remaining"))
    staff.goto("/provider/packages/office/edit")
    staff.get_by_label("Voice minutes: how many minutes are included").fill("1500")
    expect(staff.locator("#impact")).to_contain_text("Get 500 more minutes")
    staff.get_by_role("button", name=re.compile("Publish revision")).click()
    staff.wait_for_url(re.compile(r"/provider/packages/office$"))
    expect(tenant.locator("[data-meter=voice_minutes]").first).to_have_attribute(
        "data-remaining", str(left + 500 * 60), timeout=1_500
    )


def test_a_tenant_is_moved_to_another_package_and_keeps_its_usage(open_as, key):
    tenant, staff = open_as(OTHER), open_as(STAFF)
    before = used(tenant)
    staff.goto("/provider/tenants/globex/plan?package=team")
    staff.get_by_role("button", name="Change to Team now").click()
    staff.wait_for_url(re.compile(r"/provider/tenants/globex"))
    expect(tenant.locator("[data-meter=voice_minutes]").first).to_have_attribute(
        "data-remaining", str(120_000 - before), timeout=1_500
    )


def test_without_streams_the_page_polls(open_as, live_server, key):
    page = open_as(OFFICE)
    page.route(STREAM, lambda route: route.fulfill(status=204))
    page.goto("/portal")
    before = used(page)
    report(live_server, key, "polled-1", 30)
    meter_says(page, before + 30, timeout=8_000)
    expect(page.locator("[data-live]")).not_to_have_attribute("data-stream", "on")


def test_without_scripts_the_page_is_right_at_each_load(open_as, live_server, key):
    page = open_as(OFFICE, java_script_enabled=False)
    before = used(page)
    report(live_server, key, "plain-1", 15)
    page.goto("/portal")
    assert used(page) == before + 15


def test_the_history_is_filtered_paged_and_exported(open_as, key):
    page = open_as(OFFICE)
    page.goto("/portal/usage?number=%2B442079460907")
    expect(page.locator("#usage_rows table.cards tbody tr")).to_have_count(1)
    page.goto("/portal/usage")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url(re.compile("after="))
    expect(page.locator("#usage_rows table.cards tbody tr").first).to_be_visible()
    answer = page.request.get("/portal/usage.csv?number=%2B442079460907")
    lines = answer.text().strip().splitlines()
    assert len(lines) == 2
    assert "'+442079460907" in lines[1]


def test_a_prepaid_balance_falls_with_what_is_used_without_a_reload(open_as, live_server, key):
    with live_server.seeding() as make:
        sold = make.package("pay", [LimitSpec("voice_minutes", 0, "charge", 100_000)], price_micros=0)
        tenant = make.tenant("Prepaid")
        make.user(tenant, "office@prepaid.example")
        make.subscribe(tenant, sold, started_at=make.now - timedelta(days=3))
        run_in_transaction(lambda unit: pay_in_advance(unit, tenant.id, make.now))
    pages = [open_as("office@prepaid.example"), open_as(STAFF)]
    for page, path in zip(pages, ("/portal", "/provider/tenants/prepaid"), strict=True):
        page.goto(path)
        expect(page.locator("#balance")).to_contain_text("€5.00")
        page.evaluate("window.loadedOnce = true")
    report(live_server, key, "prepaid-1", 600, "prepaid")  # ten minutes at 0.10
    for page in pages:
        expect(page.locator("[data-balance]")).to_have_attribute("data-balance", "4000000")
    report(live_server, key, "prepaid-2", 2_400, "prepaid")
    for page in pages:
        expect(page.locator("#balance")).to_contain_text("spent")
        assert page.evaluate("window.loadedOnce")


def test_extensions_are_added_to_the_limit_and_released_without_a_reload(open_as, key):
    page, home = open_as(OFFICE), open_as(OFFICE)
    page.goto("/portal/lines/extensions")
    page.evaluate("window.isTheSamePage = true")
    for number in range(101, 111):
        page.get_by_role("textbox", name="Extension").fill(str(number))
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator("#line_rows tbody tr")).to_have_count(number - 100)
    expect(page.locator("#line_page .flash")).to_contain_text("All 10 are held.")
    page.get_by_role("textbox", name="Extension").fill("111")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".error-summary")).to_contain_text("there is no room for another one")
    expect(page).to_have_title(re.compile("^Error:"))
    assert page.evaluate("window.isTheSamePage")
    expect(home.locator("[data-meter=extensions]").first).to_have_attribute("data-used", "10", timeout=2_000)
    page.get_by_role("searchbox").fill("105")
    expect(page.locator("#line_rows tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Release 105").click()
    expect(page.locator("#flash")).to_contain_text("105 is released.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#line_rows tbody tr")).to_have_count(10)
    open_as.complaints.clear()  # a browser logs the 409 itself


def test_ones_own_account_is_reached_from_a_phone(open_as, key):
    page = open_as(OFFICE, viewport={"width": 390, "height": 800})
    page.get_by_role("link", name="Account", exact=True).click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()


def test_the_statement_reads_the_same_on_the_page_and_on_paper(open_as, key):
    page = open_as(OFFICE)
    page.goto("/portal/statements")
    page.goto("/portal/statements/current")
    expect(page.locator("main")).to_contain_text("so far")
    expect(page.locator("main")).to_contain_text("+44 20 7946 0907")
    page.emulate_media(media="print")
    expect(page.locator(".topbar")).to_be_hidden()
    answer = page.request.get("/portal/statements/current.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    text = "".join(sheet.extract_text() for sheet in PdfReader(BytesIO(answer.body())).pages)
    text = "".join(text.split())  # a narrow column wraps
    assert "+442079460907" in text
    assert "sofar" in text


PROVIDER_PAGES = (
    "/provider",
    "/provider/people/invite",
    "/provider/tenants/acme/people/invite",
    "/provider/packages",
    "/provider/packages/new",
    "/provider/packages/office",
    "/provider/packages/office/edit",
    "/provider/tenants",
    "/provider/tenants/new",
    "/provider/tenants/acme",
    "/provider/tenants/acme/edit",
    "/provider/tenants/acme/lines",
    "/provider/tenants/acme/lines/extensions",
    "/provider/tenants/acme/lines/extensions/import",
    "/provider/tenants/acme/plan",
    "/provider/tenants/acme/plan?package=team",
    "/provider/tenants/acme/plan?package=team&when=period_end",
    "/provider/requests",
    "/provider/margin",
    "/provider/margin/lines",
    "/provider/ready",
    "/provider/ready?show=down",
    "/provider/resources",
    "/provider/resources/new",
    "/provider/sources",
    "/provider/sources/new",
    "/provider/sources/pbx1",
    "/provider/keys",
    "/provider/keys/new",
    "/provider/audit",
    "/provider/webhooks",
    "/provider/webhooks/new",
    "/provider/calls",
    "/provider/calls?state=unsettled",
    "/provider/refused",
    "/provider/tenants/globex/refused",
    "/provider/quarantine",
    "/provider/tenants/acme/thresholds",
    "/provider/notifications",
    "/provider/jobs",
    "/provider/jobs?state=waiting",
    "/provider/invoices",
    "/provider/billing",
    "/provider/billing/tax",
    "/provider/tenants/acme/ledger",
    "/provider/tenants/acme/payments/new",
    "/provider/tenants/acme/billing",
    "/provider/tenants/acme/usage",
    "/account",
    "/account/email",
    "/account/password",
    "/account/sessions",
    "/account/security",
    "/provider/people/second-factor",
    "/account/security/passkeys/new",
    "/account/confirm",
)
TENANT_PAGES = (
    "/portal",
    "/portal/people/invite",
    "/portal/usage",
    "/portal/refused",
    "/portal/lines",
    "/portal/lines/extensions",
    "/portal/lines/dids/import",
    "/portal/plans",
    "/portal/plans?package=team",
    "/portal/statements",
    "/portal/statements/current",
    "/portal/notifications",
    "/portal/keys",
    "/portal/keys/new",
    "/portal/audit",
    "/portal/webhooks",
    "/portal/webhooks/new",
    "/portal/invoices",
    "/account",
    "/account/email",
    "/account/password",
    "/account/sessions",
    "/account/security",
    "/account/security/passkeys/new",
    "/account/confirm",
)


@pytest.mark.parametrize(("who", "pages"), [(STAFF, PROVIDER_PAGES), (OFFICE, TENANT_PAGES)])
def test_axe_finds_nothing_serious_and_nothing_overflows_a_phone(open_as, key, who, pages):
    page = open_as(who, reduced_motion="reduce", viewport={"width": 390, "height": 800})
    findings = []
    for path in pages:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        findings += serious_findings_in_both_schemes(page)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            findings.append(f"{path} overflows")
    assert findings == []


def test_a_webhook_is_set_up_and_tried_on_pages_without_barriers(open_as, key):
    page = open_as(OFFICE, reduced_motion="reduce", viewport={"width": 390, "height": 800})
    findings = []

    def look():
        findings.extend(serious_findings_in_both_schemes(page))
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            findings.append(f"{page.url} overflows")

    page.goto("/portal/webhooks/new")
    page.get_by_label("Address").fill("https://1.1.1.1/hook?of=the-office")
    page.get_by_label("A limit is reached").check()
    page.get_by_role("button", name="Add it and show the secret").click()
    expect(page.locator("#secret")).to_contain_text("whsec_")
    look()
    page.get_by_role("link", name="Done, I have the secret").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_role("article")).to_contain_text("waiting")
    page.get_by_text("What is sent").click()
    expect(page.get_by_text('"type":"ping"')).to_be_visible()
    look()
    assert findings == []


@pytest.mark.parametrize("path", ["/login", "/forgot", "/reset/nothing"])
def test_the_pages_before_signing_in_are_accessible_too(page, live_server, path):
    page.goto(live_server.url + path)
    assert serious_findings(page) == []


def test_sorting_by_keyboard_keeps_the_focus(open_as, key):
    page = open_as(STAFF)
    page.goto("/provider/tenants")
    page.get_by_role("link", name="Package", exact=True).press("Enter")
    expect(page.locator("th[aria-sort=ascending] a")).to_be_focused()


def test_a_filter_put_right_takes_the_error_out_of_the_title(open_as, key):
    page = open_as(OFFICE)
    page.goto("/portal/usage?from=nonsense")
    expect(page).to_have_title(re.compile("^Error:"))
    page.get_by_label("From day").fill("2026-11-01")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#usage_rows table.cards").first).to_be_visible()
    expect(page).to_have_title(re.compile("^Usage"))
    open_as.complaints.clear()  # a browser logs the 422 itself

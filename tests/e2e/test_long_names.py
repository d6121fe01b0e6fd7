"""Names as people make them: one word of 190 letters, or written from right to left."""

from datetime import timedelta

import pytest

from tests.server import LiveServer

pytestmark = pytest.mark.e2e
STAFF, OFFICE = "nora@northline.example", "office@long.example"
LONG, ARABIC = "W" * 190, "شركة الاتصالات المتحدة"
PROVIDER_PAGES = (
    "/provider",
    "/provider/tenants",
    "/provider/calls",
    "/provider/quarantine",
    "/provider/audit",
    "/provider/invoices",
    "/provider/tenants/long",
    "/provider/tenants/long/plan",
    "/provider/tenants/long/usage",
    "/provider/tenants/long/ledger",
    "/provider/tenants/long/billing",
    "/provider/tenants/long/people",
    "/provider/tenants/long/lines",
    "/provider/tenants/long/view",
)


@pytest.fixture(scope="module")
def named(live_server: LiveServer) -> None:
    """A tenant of each name, near its limit; one with a call in progress."""
    with live_server.seeding() as make:
        make.staff(STAFF)
        package = make.package("office", {"voice_minutes": 300, "concurrent_calls": 6})
        source = make.source("pbx1")
        for slug, name in (("long", LONG), ("arabic", ARABIC)):
            tenant = make.tenant(name, slug=slug)
            make.subscribe(tenant, package, started_at=make.now - timedelta(days=3))
            make.usage(tenant, 280, source=source, occurred_at=make.now - timedelta(hours=1))
            if slug == "long":
                make.user(tenant, OFFICE)
                make.call(tenant, source=source, caller="101", callee="+4930901820")


@pytest.mark.parametrize("width", [1280, 1000, 390])
def test_a_long_name_widens_no_page(open_as, named, width):
    wide = []
    for who, pages in ((STAFF, PROVIDER_PAGES), (OFFICE, ("/portal", "/portal/plans", "/portal/statements/current"))):
        page = open_as(who, viewport={"width": width, "height": 800})
        for path in pages:
            answer = page.goto(path)
            assert answer is not None
            assert answer.status == 200, path
            wide += [path] if page.evaluate("document.documentElement.scrollWidth > innerWidth") else []
    assert wide == []


def test_a_name_from_right_to_left_leaves_what_follows_in_its_place(open_as, named):
    page = open_as(STAFF, viewport={"width": 1280, "height": 800})
    page.goto("/provider")
    entry = page.locator("#crossed-title").locator("xpath=ancestor::section").locator("li", has_text=ARABIC).first
    name = entry.get_by_role("link", name=ARABIC)
    assert name.evaluate("link => getComputedStyle(link).unicodeBidi") == "isolate"

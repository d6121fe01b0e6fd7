"""Signed-in pages, and what every page must never do: log an error or break the content security policy."""

from collections.abc import Callable, Iterator
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.factories import PASSWORD
from tests.server import LiveServer

AXE = Axe().axe_script
SERIOUS = {"serious", "critical"}
ALL_RULES = {"resultTypes": ["violations"]}
COLOUR_RULES = {**ALL_RULES, "runOnly": ["color-contrast", "link-in-text-block"]}


@pytest.fixture
def open_as(browser: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """`open_as(email, **context options)`: a page of somebody signed in through the form."""
    contexts = []
    complaints: list[str] = []

    def sign_in(email: str, **options: object) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/login")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/login" not in url)
        return page

    sign_in.complaints = complaints  # type: ignore[attr-defined]
    yield sign_in
    for context in contexts:
        context.close()
    assert complaints == []


def serious_findings(page: Page) -> list[str]:
    """What axe finds serious or critical on the page as it stands."""
    return _findings(page, ALL_RULES)


def serious_findings_in_both_schemes(page: Page) -> list[str]:
    """The same in light, and in dark what may differ there: its colours."""
    _show_in(page, "light")
    light = serious_findings(page)
    _show_in(page, "dark")
    return [*light, *(f"dark: {each}" for each in _findings(page, COLOUR_RULES))]


def _show_in(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.locator(f"html[data-bs-theme={scheme}]").wait_for(state="attached")  # theme.js hears of it a little later


def _findings(page: Page, options: dict[str, list[str]]) -> list[str]:
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE)
    found = page.evaluate("options => axe.run(options).then(results => results.violations)", options)
    return [
        f"{page.url} {finding['id']}: {node['html'][:120]}"
        for finding in found
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]

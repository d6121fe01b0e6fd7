"""Passkeys in Chromium with its virtual authenticator: made, used as the second step and alone, and refused."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, expect

from tests.e2e.conftest import serious_findings
from tests.factories import PASSWORD
from tests.server import LiveServer

pytestmark = pytest.mark.e2e
ANN, BEN = "ann@northline.example", "ben@northline.example"


@pytest.fixture(scope="module")
def people(live_server: LiveServer) -> None:
    with live_server.seeding() as make:
        make.staff(ANN, "Ann")
        make.staff(BEN, "Ben")


@pytest.fixture
def context(browser, live_server: LiveServer, people: None) -> Iterator[BrowserContext]:
    """A browser at the portal's name: an address of numbers has no passkeys."""
    context = browser.new_context(base_url=live_server.url.replace("127.0.0.1", "localhost"))
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


class Device:
    """Chromium's authenticator: `holder` says whether the finger on it is the right one."""

    def __init__(self, page: Page) -> None:
        self.cdp: CDPSession = page.context.new_cdp_session(page)
        self.cdp.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        self.id = self.cdp.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def holder(self, is_right: bool) -> None:
        self.cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": is_right})

    @property
    def credentials(self) -> list[dict[str, object]]:
        found = self.cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        return list(found["credentials"])

    def set_back(self, count: int) -> None:
        """As a copy of the key would be that lags behind."""
        (credential,) = self.credentials
        self.cdp.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})
        changed = {**credential, "signCount": count}
        self.cdp.send("WebAuthn.addCredential", {"authenticatorId": self.id, "credential": changed})


def sign_in(page: Page, email: str) -> None:
    page.goto("/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/login"))


def add_passkey(page: Page, name: str) -> None:
    page.goto("/account/security/passkeys/new")
    page.get_by_label("Name of the device").fill(name)
    page.get_by_role("button", name="Make the passkey").click()


def home(page: Page) -> None:
    page.wait_for_url(re.compile("/provider$"))


def test_a_passkey_from_its_making_to_its_removal(page: Page):
    device = Device(page)
    sign_in(page, ANN)
    home(page)
    add_passkey(page, "Laptop")
    expect(page.locator("#recovery-codes")).to_have_text(re.compile(r"^(\w{4}-\w{4}-\w{4}-\w{4}\s*){10}$"))
    assert serious_findings(page) == []
    assert len(device.credentials) == 1

    sign_out(page)
    sign_in(page, ANN)
    page.wait_for_url(re.compile("/login/second"))
    assert serious_findings(page) == []
    page.goto("/provider")
    page.wait_for_url(re.compile(r"/login\?"))  # the password alone opens nothing
    sign_in(page, ANN)
    page.get_by_role("button", name="Use a passkey").click()
    home(page)

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()  # without a password
    home(page)

    sign_out(page)
    device.holder(False)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("[data-passkey-failed]")).to_be_visible()
    assert "/login" in page.url
    device.holder(True)
    device.set_back(1)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator(".error-summary")).to_contain_text("The passkey was not accepted.")
    device.set_back(100)
    page.get_by_role("button", name="Sign in with a passkey").click()
    home(page)

    page.goto("/account/confirm?next=/account/security")
    expect(page.get_by_role("button", name="Use a passkey")).to_be_visible()
    assert serious_findings(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(re.compile(r"^[^?]*/account/security$"))  # and not as the `next` of the page before
    assert serious_findings(page) == []
    expect(page.get_by_role("row", name=re.compile("Laptop"))).to_be_visible()
    page.get_by_role("row", name=re.compile("Laptop")).get_by_role("button", name="Remove").click()
    expect(page.locator("#flash")).to_contain_text("The passkey Laptop is removed.")
    sign_out(page)
    sign_in(page, ANN)
    home(page)


def test_one_device_is_registered_once_and_further_ones_beside_it(page: Page):
    Device(page)
    sign_in(page, BEN)
    home(page)
    add_passkey(page, "Laptop")
    expect(page.locator("#recovery-codes")).to_be_visible()
    add_passkey(page, "Laptop again")
    expect(page.locator("[data-passkey-failed]")).to_be_visible()


def test_without_script_no_passkey_is_offered(browser, live_server: LiveServer, people: None):
    named = live_server.url.replace("127.0.0.1", "localhost")
    context = browser.new_context(base_url=named, java_script_enabled=False)
    page = context.new_page()
    page.goto("/login")
    expect(page.locator("form[data-passkey]")).to_be_hidden()
    context.close()

"""Secrets never appear in the audit trail nor in what the process writes about itself."""

import json
import re
from dataclasses import replace
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
import requests
from sqlalchemy import select

from app import mail
from app.db import db, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.billing import profiles
from app.domain.billing.profiles import Profile
from app.domain.webhooks.models import WebhookEndpoint
from tests.factories import PASSWORD
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, oidc_server
from tests.receiver import receiving

pytestmark = pytest.mark.databases("sqlite")
NEW, OTHER, MISTYPED = "rosy pelican at dawn", "quiet harbour in may", "Tr0ub4dor but longer"
STRIPE_KEY, STRIPE_SIGNS, PORTAL_KEY = "sk_live_Lq29fhW3", "whsec_Xz81kdP0aa", "the portal's own key"
IN_ADDRESS = "hook-token-7fd2c81"


@pytest.fixture
def oidc():
    with oidc_server() as server:
        server.person = {"sub": "u-1", "email": "ann@northline.example", "email_verified": True}
        yield server


@pytest.fixture
def stripe():
    """It refuses the key, so that what goes wrong is logged."""
    with receiving() as receiver:
        receiver.says(401, b'{"error": {"message": "Invalid API Key provided: sk_live_Lq29fhW3"}}')
        yield receiver


@pytest.fixture
def settings(settings, oidc, stripe):
    return replace(
        settings, SECRET_KEY=PORTAL_KEY, PUBLIC_URL="https://portal.northline.example",
        OIDC_ISSUER=oidc.issuer, OIDC_CLIENT_ID=CLIENT_ID, OIDC_CLIENT_SECRET=CLIENT_SECRET, OIDC_NAME="Northline ID",
        STRIPE_SECRET_KEY=STRIPE_KEY, STRIPE_WEBHOOK_SECRET=STRIPE_SIGNS, STRIPE_API_URL=stripe.url,
        WEBHOOK_ALLOWED_RANGES="127.0.0.0/8", LOG_FORMAT="json",
    )  # fmt: skip


def holds(text, secret):
    """A code of six digits is no part of an id."""
    return secret in text and (not secret.isdigit() or re.search(rf"(?<!\d){secret}(?!\d)", text))


class Walk:
    """Does what handles secrets through the pages, as people and machines do, and keeps what is secret."""

    def __init__(self, app, clock, monkeypatch):
        self.app, self.clock, self.mails = app, clock, []
        self.known = {PASSWORD, NEW, OTHER, MISTYPED, STRIPE_KEY, STRIPE_SIGNS, PORTAL_KEY, CLIENT_SECRET, IN_ADDRESS}
        monkeypatch.setattr("app.mail.send", lambda key, payload, attached=(): self.mails.append(payload))
        monkeypatch.setitem(
            __import__("app.jobs", fromlist=["OUTSIDE"]).OUTSIDE,
            mail.KIND,
            lambda _, payload: self.mails.append(payload),
        )

    def do(self, browser, path, status, **fields):
        answer = browser.submit(path, fields)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer

    def found(self, pattern, text):
        """The secrets in a page or a mail."""
        got = re.findall(pattern, unescape(text))
        assert got, pattern
        self.known.update(got)
        return got

    def mailed(self, to):
        """The path of the link that went there."""
        self.mails.clear()
        done = self.app.test_cli_runner().invoke(args=["worker", "--once"])
        assert done.exit_code == 0, done.output
        assert not any(secret in done.output for secret in self.known)
        [body] = [each["body"] for each in self.mails if each["to"] == to]
        [path] = re.findall(r"https://portal\.northline\.example(/\S+)", body)
        self.known.add(path.rpartition("/")[2])
        return path

    def sign_in(self, email, password=PASSWORD):
        browser = self.app.test_client()
        browser.sign_in(email, password)
        with browser.session_transaction() as cookie:
            if "_user_id" in cookie:
                self.known.add(cookie["_user_id"])
        return browser

    def passwords(self, email):
        """Mistyped, typed where the address belongs, changed, forgotten and set anew, also by mistake."""
        self.sign_in(email, MISTYPED)
        self.sign_in(MISTYPED, email)
        self.sign_in(f"{MISTYPED}@example.org", PASSWORD)
        browser = self.sign_in(email)
        self.do(browser, "/account/password", 422, current=MISTYPED, new=NEW, repeat=NEW)
        self.do(browser, "/account/password", 303, current=PASSWORD, new=NEW, repeat=NEW)
        self.do(browser, "/account/email", 303, email=f"new.{email}", current=NEW)
        self.do(browser, self.mailed(f"new.{email}"), 303)
        visitor = self.app.test_client()
        self.do(visitor, "/forgot", 200, email=f"new.{email}")
        path = self.mailed(f"new.{email}")
        self.do(visitor, path, 422, new=NEW, repeat=MISTYPED)
        self.do(visitor, path, 303, new=OTHER, repeat=OTHER)
        assert visitor.get(path).status_code == 404
        return self.sign_in(f"new.{email}", OTHER)

    def second_factor(self, browser, email, password):
        """An app, recovery codes, and a sign-in with one of them."""
        self.do(browser, "/account/security/app/new", 303)
        [secret] = self.found(r'id="key">(\w+)<', browser.get("/account/security/app").text)
        code = pyotp.TOTP(secret).now()
        self.known.add(code)
        page = self.do(browser, "/account/security/app", 200, code=code).text
        codes = re.search(r'id="recovery-codes"[^>]*>([^<]*)<', page)[1].split()
        self.known.update(codes)
        again = self.sign_in(email, password)
        self.do(again, "/login/second", 422, code="000000")
        self.do(again, "/login/second", 303, recovery=codes[0])

    def keys(self, staff, office):
        """Issued, exchanged, used for what they may not, at the gate in the address, and revoked."""
        for browser, where, fields in (
            (staff, "/provider/keys", {"source": "pbx1", "scopes": "read"}),
            (office, "/portal/keys", {}),
        ):
            [key] = set(self.found(r'id="key">(rp_\w+)<', self.do(browser, f"{where}/new", 200, **fields).text))
            prefix = key.split("_")[1]
            self.known.add(key.split("_")[2])
            new = self.do(browser, f"{where}/{prefix}/rotate", 200, overlap="24").text
            self.found(r'id="key">(rp_\w+)<', new)
            machine = self.app.test_client()
            headers = {"Authorization": f"Bearer {key}"}
            assert machine.put("/api/v1/packages/x", json={}, headers=headers).status_code == 403
            assert machine.get(f"/billing/gate?tenant_id=acme&key={key}").status_code == 403
            assert machine.get("/api/v1/tenants/acme", headers={"Authorization": f"Bearer {key}x"}).status_code == 401
            self.do(browser, f"{where}/{prefix}/revoke", 303)

    def webhooks(self, browser, where, receiver):
        """Added, exchanged, moved; the address itself holds a token."""
        url = f"{receiver.url}?token={IN_ADDRESS}"
        fields = {"url": url, "types": ["invoice.final"], "note": ""}
        self.found(r"whsec_[\w+/=]{20,}", self.do(browser, f"{where}/new", 200, **fields).text)
        db.session.rollback()
        endpoint_id = db.session.scalars(select(WebhookEndpoint.id).order_by(WebhookEndpoint.id.desc())).first()
        self.found(r"whsec_[\w+/=]{20,}", self.do(browser, f"{where}/{endpoint_id}/secret", 200).text)
        self.do(browser, f"{where}/{endpoint_id}/edit", 303, **{**fields, "url": f"{url}&more=1"})
        receiver.says(500)
        self.do(browser, f"{where}/{endpoint_id}/ping", 303)
        assert self.app.test_cli_runner().invoke(args=["worker", "--once"]).exit_code == 0
        self.do(browser, f"{where}/{endpoint_id}/remove", 303)

    def invitations(self, staff):
        """Sent, sent again, taken with a password."""
        self.do(staff, "/provider/tenants/acme/people/invite", 303, email="nina@acme.example", role="member")
        path = self.mailed("nina@acme.example")
        self.do(self.app.test_client(), path, 303, name="Nina", new=OTHER, repeat=OTHER)

    def single_sign_on(self):
        """Signed in at the provider; the way back is tried a second time."""
        browser = self.app.test_client()
        sent = browser.get("/login/sso").location
        query = parse_qs(urlsplit(sent).query)
        self.known.update(query["state"] + query["nonce"])
        back = requests.get(sent, allow_redirects=False, timeout=10).headers["Location"]
        self.known.update(parse_qs(urlsplit(back).query)["code"])
        path = f"/login/sso/return?{urlsplit(back).query}"
        assert browser.get(path).location == "/provider"
        assert self.app.test_client().get(path).status_code in (303, 400, 403)

    def paying(self, office):
        """Stripe refuses the key, and somebody forges what it tells."""
        self.do(office, "/portal/balance", 303, amount="20.00")
        forged = {"Stripe-Signature": f"t=1,v1={STRIPE_SIGNS}"}
        answer = self.app.test_client().post("/webhooks/stripe", data=b"{}", headers=forged)
        assert answer.status_code == 400


@pytest.fixture
def walk(app, clock, monkeypatch):
    return Walk(app, clock, monkeypatch)


def test_no_secret_stands_in_the_audit_trail_or_in_a_log_line(app, make, walk, session, capsys, caplog, now):
    caplog.set_level("INFO")
    acme = make.tenant("Acme")
    make.subscribe(acme, make.package("gold", {"fax_pages": 10}))
    with unit_of_work() as unit:
        profiles.save_profile(unit, unit.merge(acme), Profile("none", 14, prepaid=True), actor="test", now=now)
    walk.known.add(make.source("pbx1").key)
    make.staff("ann@northline.example")
    make.staff("sue@northline.example")
    make.user(acme, "office@acme.example")
    staff, office = walk.sign_in("sue@northline.example"), walk.passwords("office@acme.example")
    with receiving() as receiver:
        walk.webhooks(staff, "/provider/webhooks", receiver)
        walk.webhooks(office, "/portal/webhooks", receiver)
    walk.keys(staff, office)
    walk.invitations(staff)
    walk.single_sign_on()
    walk.paying(office)
    walk.second_factor(office, "new.office@acme.example", OTHER)
    session.rollback()
    entries = session.scalars(select(AuditEntry)).all()
    said = capsys.readouterr()
    texts = {f"entry {entry.number} {entry.act}": json.dumps([entry.actor, entry.subject, entry.address, entry.details])
             for entry in entries}  # fmt: skip
    texts |= {
        f"line {number}": line for number, line in enumerate(f"{said.out}\n{said.err}\n{caplog.text}".splitlines())
    }
    found = [(where, secret, text) for where, text in texts.items() for secret in walk.known if holds(text, secret)]
    assert found == []
    assert len(walk.known) > 30 and len(texts) > 100
    assert "pay link for a top-up" in said.err
    assert {
        "account.password", "account.sign_in_refused", "account.email", "account.totp_add", "account.recovery_use",
        "account.bind", "invitation.send", "key.issue", "key.rotate", "key.revoke", "permission.refuse",
        "webhook.add", "webhook.rotate", "webhook.change",
    } <= {entry.act for entry in entries}  # fmt: skip

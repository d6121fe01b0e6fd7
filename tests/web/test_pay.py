"""Paying online, against a server on loopback that answers as Stripe's API does and signs as Stripe signs."""

import hashlib
import hmac
import json
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from sqlalchemy import func, select

from app import stripe
from app.core.clock import utc_now
from app.db import run_in_transaction
from app.domain.billing import credit_notes, due, issuing, ledger, payments, profiles
from app.domain.billing.drafting import draft
from app.domain.billing.models import GatewayEvent, Invoice, Payment
from app.domain.billing.online import GatewayError, PayRequest
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.insight import verify
from app.domain.subscriptions import life, service as subscriptions
from app.domain.tenants.models import Tenant
from app.stripe import TOLERANCE_SECONDS, of

EURO = 1_000_000
TERMS = Terms(Issuer("Northline"))
SECRET = "whsec_of_a_test"


class FakeStripe(ThreadingHTTPServer):
    """POST /v1/checkout/sessions with its key; the same idempotency key answers the same session."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sessions, self.refuse = {}, False
        self.url = f"http://127.0.0.1:{self.server_port}"

    def event(self, event_id="evt_1", kind="checkout.session.completed", **changed):
        """What Stripe would post about the newest session, paid."""
        session = {**list(self.sessions.values())[-1], "payment_status": "paid", "payment_intent": "pi_1", **changed}
        return json.dumps({"id": event_id, "type": kind, "data": {"object": session}}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        form = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        known = self.headers["Authorization"] == "Bearer sk_test_1" and self.path == "/v1/checkout/sessions"
        if not known or self.server.refuse:
            return self._answer(401 if not known else 500, {"error": {"type": "api_error"}})
        key = self.headers["Idempotency-Key"]
        number = len(self.server.sessions) + 1
        session = self.server.sessions.setdefault(
            key,
            {
                "id": f"cs_{number}",
                "url": f"https://checkout.stripe.com/c/pay/cs_{number}",
                "created": 1_795_000_000,
                "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
                "currency": form["line_items[0][price_data][currency]"],
                "metadata": {"tenant": form["metadata[tenant]"], "invoice": form["metadata[invoice]"]},
                "form": form,
            },
        )
        return self._answer(200, session)

    def _answer(self, status, body):
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def fake():
    server = FakeStripe()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings(settings, fake):
    return replace(
        settings, STRIPE_SECRET_KEY="sk_test_1", STRIPE_WEBHOOK_SECRET=SECRET, STRIPE_API_URL=fake.url,
        PUBLIC_URL="https://portal.northline.example",
    )  # fmt: skip


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", contact_email="office@acme.example")
    make.subscribe(tenant, make.package("gold", {}, price_micros=49 * EURO))

    def act(session):
        rows = [subscriptions.require_live(session, session.get_one(Tenant, tenant.id))]
        draft(session, due.find(session, rows, TERMS, now=now), TERMS, now=now)
        issuing.issue(session, session.scalars(select(Invoice)).all(), TERMS, actor="nora", now=now)

    run_in_transaction(act)
    return tenant


@pytest.fixture
def office(make, acme, login):
    return login(make.user(acme))


@pytest.fixture
def link(office):
    """The invoice's pay button was pressed."""
    return office.submit("/portal/invoices/2026-00001/pay")


def signature(body, at=None, secret=SECRET):
    stamp = int((at or utc_now()).timestamp())
    mark = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={'0' * 64},v1={mark},v0=of-a-test"


def tell(client, body, given=None):
    return client.post(
        "/webhooks/stripe", data=body, content_type="application/json",
        headers={"Stripe-Signature": signature(body) if given is None else given},
    )  # fmt: skip


def owed(session, tenant):
    session.rollback()
    return ledger.balances_of(session, tenant.id)["EUR"]


def test_the_button_leads_to_the_gateways_page(office, fake, link):
    page = office.get("/portal/invoices/2026-00001")
    assert "Pay €49.00" in page.text
    assert "form-action 'self' https://checkout.stripe.com;" in page.headers["Content-Security-Policy"]
    assert (link.status_code, link.location) == (303, "https://checkout.stripe.com/c/pay/cs_1")
    form = next(iter(fake.sessions.values()))["form"]
    assert form["line_items[0][price_data][unit_amount]"] == "4900" and form["mode"] == "payment"
    assert form["success_url"] == "https://portal.northline.example/portal/invoices/2026-00001/paid"
    assert form["customer_email"] == "office@acme.example"
    again = office.submit("/portal/invoices/2026-00001/pay")
    assert again.location == link.location and len(fake.sessions) == 1


def test_what_stripe_tells_is_entered_once(client, office, session, acme, fake, link):
    body = fake.event()
    assert (tell(client, body).status_code, tell(client, body).text) == (200, "nothing to do\n")
    # Another event about the same payment.
    assert tell(client, fake.event("evt_2", "checkout.session.async_payment_succeeded")).status_code == 200
    assert owed(session, acme) == 0
    found = session.scalars(select(Payment)).one()
    assert (found.method, found.reference, found.amount_micros, found.made_by) == ("card", "pi_1", 49 * EURO, "stripe")
    assert session.scalars(select(Invoice)).one().status == "paid"
    assert session.scalar(select(func.count()).select_from(GatewayEvent)) == 2
    assert office.get("/portal/invoices/2026-00001/paid").status_code == 303
    page = office.get("/portal/invoices/2026-00001").text
    assert "Thank you. The invoice is paid." in page and "Pay €" not in page
    assert "Nothing is to be paid here." in office.submit("/portal/invoices/2026-00001/pay", follow_redirects=True).text
    assert list(verify.differences(session, now=utc_now())) == []


def test_what_is_paid_by_then_is_credit(client, session, acme, fake, link, now):
    receipt = payments.Receipt("k", 20 * EURO, "EUR", "cash", "k", now.date())
    run_in_transaction(
        lambda unit: payments.receive(unit, unit.get_one(Tenant, acme.id), receipt, actor="nora", now=now)
    )
    assert tell(client, fake.event()).status_code == 200
    assert owed(session, acme) == -20 * EURO


def test_it_lifts_a_suspension_for_unpaid_invoices(client, session, acme, fake, link, now):
    run_in_transaction(
        lambda unit: life.suspend(unit, unit.get_one(Tenant, acme.id), "unpaid", actor="Ringplan", now=now)
    )
    assert tell(client, fake.event()).status_code == 200
    session.expire_all()
    assert session.get_one(Tenant, acme.id).status == "active"


@pytest.mark.parametrize(
    "forged",
    [
        lambda body: "",
        lambda body: "t=1,v1=00",
        lambda body: "t=x,v1=00",
        lambda body: signature(body, secret="another"),
        lambda body: signature(body + b" "),
        lambda body: signature(body, utc_now() - timedelta(seconds=TOLERANCE_SECONDS + 5)),
        lambda body: signature(body, utc_now() + timedelta(seconds=TOLERANCE_SECONDS + 5)),
        lambda body: signature(body).replace("v1=", "v0="),
        lambda body: "t=1,v1=\u00e9",
    ],
)
@pytest.mark.databases("sqlite")
def test_what_stripe_did_not_sign_just_now_is_refused(client, session, acme, fake, link, forged):
    body = fake.event()
    assert tell(client, body, forged(body)).status_code == 400
    assert owed(session, acme) == 49 * EURO


@pytest.mark.databases("sqlite")
def test_what_is_none_of_ours_is_acknowledged_and_forgotten(client, session, acme, fake, link):
    for number, changed in enumerate(
        (
            {"payment_status": "unpaid"}, {"metadata": {}}, {"metadata": {"tenant": "1", "invoice": "2"}},
            {"metadata": None},
        )
    ):  # fmt: skip
        assert tell(client, fake.event(f"evt_{number}", **changed)).text == "nothing to do\n"
    assert tell(client, fake.event("evt_x", "customer.created")).status_code == 200
    assert owed(session, acme) == 49 * EURO
    for body in (b"{", b"[]", b'{"id": "evt_y"}', b'{"id": "e", "type": "checkout.session.completed"}'):
        assert tell(client, body).status_code == 400


@pytest.mark.databases("sqlite")
def test_a_gateway_that_is_away_is_said_so(office, fake):
    fake.refuse = True
    answer = office.submit("/portal/invoices/2026-00001/pay", follow_redirects=True)
    assert "cannot be reached just now" in answer.text


@pytest.mark.databases("sqlite")
def test_an_invoice_of_others_cannot_be_paid(make, login, acme):
    stranger = login(make.user(make.tenant("Globex")))
    assert stranger.submit("/portal/invoices/2026-00001/pay").status_code == 404
    assert stranger.get("/portal/invoices/2026-00001/paid").status_code == 404


@pytest.mark.databases("sqlite")
def test_without_both_secrets_nobody_can_pay_here(settings):
    assert of(settings) is not None
    assert of(replace(settings, STRIPE_SECRET_KEY="")) is None
    assert of(replace(settings, STRIPE_WEBHOOK_SECRET="")) is None


@pytest.fixture
def in_advance(acme, now):
    """Acme pays in advance; its first invoice is open."""

    def act(unit):
        wanted = Profile("none", 14, prepaid=True, low_micros=5 * EURO)
        profiles.save_profile(unit, unit.get_one(Tenant, acme.id), wanted, actor="nora", now=now)

    run_in_transaction(act)
    return acme


def test_a_top_up_raises_the_balance_once_it_is_told(client, office, session, in_advance, fake):
    page = office.get("/portal/balance")
    assert "-€49.00" in page.text and "spent" in page.text and "2026-00001" in page.text
    assert "Prepaid balance" in office.get("/portal").text
    answer = office.submit("/portal/balance", {"amount": "60.00"})
    assert (answer.status_code, answer.location) == (303, "https://checkout.stripe.com/c/pay/cs_1")
    form = next(iter(fake.sessions.values()))["form"]
    assert form["line_items[0][price_data][unit_amount]"] == "6000"
    assert form["success_url"] == "https://portal.northline.example/portal/balance/paid"
    assert office.submit("/portal/balance", {"amount": "60.00"}).location != answer.location  # twice is two top-ups
    body = fake.event()
    assert tell(client, body).text == "taken\n" and tell(client, body).text == "nothing to do\n"
    assert owed(session, in_advance) == -11 * EURO
    assert 'data-balance="11000000"' in office.get("/portal").text
    assert session.scalars(select(Invoice)).one().status == "paid"
    assert list(verify.differences(session, now=utc_now())) == []


@pytest.mark.parametrize("amount", ["", "0", "100001", "x"])
def test_no_odd_amount_is_topped_up(office, in_advance, fake, amount):
    answer = office.submit("/portal/balance", {"amount": amount})
    assert answer.status_code == 422 and "There is a problem" in answer.text
    assert fake.sessions == {}


def test_a_gateway_that_is_away_is_said_to_whoever_tops_up(office, in_advance, fake):
    fake.refuse = True
    answer = office.submit("/portal/balance", {"amount": "5"}, follow_redirects=True)
    assert "cannot be reached just now" in answer.text


def test_who_pays_afterwards_has_no_balance(office, acme):
    assert office.get("/portal/balance").status_code == 404
    assert "Prepaid balance" not in office.get("/portal").text
    assert office.post("/portal/balance", data={"amount": "5"}).status_code in (400, 404)


def test_the_provider_makes_a_tenant_prepaid_and_sees_its_balance(make, login, acme, session):
    staff = login(make.staff())
    page = staff.submit(
        "/provider/tenants/acme/billing",
        {"tax_code": "none", "payment_days": "14", "prepaid": "1", "low_micros": "5.00"},
        follow_redirects=True,
    )
    assert page.status_code == 200
    assert 'data-balance="-49000000"' in staff.get("/provider/tenants/acme").text
    assert 'value="5.00"' in staff.get("/provider/tenants/acme/billing").text


def refunded(event_id="evt_r1", kind="refund.created", **changed):
    """What Stripe posts about 20.00 of pi_1 that went back."""
    refund = {
        "id": "re_1", "object": "refund", "amount": 2000, "currency": "eur", "payment_intent": "pi_1", "charge": "ch_1",
        "status": "succeeded", "created": 1_795_000_500, **changed,
    }  # fmt: skip
    return json.dumps({"id": event_id, "type": kind, "data": {"object": refund}}).encode()


def test_a_refund_opens_what_was_paid_again_and_counts_once(client, session, acme, fake, link):
    tell(client, fake.event())
    assert tell(client, refunded(status="pending")).text == "nothing to do\n"  # it has not gone back yet
    assert tell(client, refunded("evt_r2", "refund.updated")).text == "taken\n"
    assert tell(client, refunded("evt_r2", "refund.updated")).text == "nothing to do\n"  # sent again
    assert tell(client, refunded("evt_r3", "charge.refund.updated")).status_code == 200  # another about the same
    assert owed(session, acme) == 20 * EURO
    invoice = session.scalars(select(Invoice)).one()
    assert (invoice.status, invoice.open_micros) == ("final", 20 * EURO)
    rows = session.scalars(select(Payment).order_by(Payment.id)).all()
    assert [(row.reference, row.amount_micros) for row in rows] == [("pi_1", 49 * EURO), ("re_1", -20 * EURO)]
    assert list(verify.differences(session, now=utc_now())) == []
    # It did not reach the payer: it is ours again.
    assert tell(client, refunded("evt_r4", "refund.failed", status="failed")).text == "taken\n"
    assert tell(client, refunded("evt_r5", "refund.updated", status="failed")).status_code == 200
    assert owed(session, acme) == 0
    assert session.scalars(select(Invoice)).one().status == "paid"
    assert list(verify.differences(session, now=utc_now())) == []


def test_a_refund_uses_credit_first(client, session, acme, fake, link, now):
    receipt = payments.Receipt("k", 30 * EURO, "EUR", "cash", "k", now.date())
    tell(client, fake.event())
    run_in_transaction(
        lambda unit: payments.receive(unit, unit.get_one(Tenant, acme.id), receipt, actor="nora", now=now)
    )
    charge = {"id": "ch_1", "amount_refunded": 4900, "refunds": {"data": [
        {"id": "re_1", "amount": 2000, "currency": "eur", "payment_intent": "pi_1", "status": "succeeded", "created": 1},
        {"id": "re_2", "amount": 2900, "currency": "eur", "payment_intent": "pi_1", "status": "succeeded", "created": 1},
    ]}}  # fmt: skip
    body = json.dumps({"id": "evt_c", "type": "charge.refunded", "data": {"object": charge}}).encode()
    assert tell(client, body).text == "taken\n"
    assert owed(session, acme) == 19 * EURO
    assert session.scalars(select(Invoice)).one().open_micros == 19 * EURO
    assert list(verify.differences(session, now=utc_now())) == []


def test_what_goes_back_twice_is_owed_and_the_next_payment_settles_it_first(client, session, acme, fake, link, now):
    """Credited, paid back by staff, and refunded at the gateway as well."""
    edge = {"actor": "nora", "now": now}

    def act(do):
        run_in_transaction(lambda unit: do(unit, unit.get_one(Tenant, acme.id)))

    def receipt(key, euros):
        return payments.Receipt(key, euros * EURO, "EUR", "bank", key, now.date())

    tell(client, fake.event())
    act(lambda unit, _: credit_notes.credit(unit, unit.scalars(select(Invoice)).one(), TERMS, **edge))
    act(lambda unit, tenant: payments.repay(unit, tenant, receipt("back", 49), **edge))
    assert owed(session, acme) == 0
    assert tell(client, refunded(amount=4900)).text == "taken\n"
    assert tell(client, refunded("evt_r2", "refund.updated", amount=4900)).status_code == 200
    assert owed(session, acme) == 49 * EURO
    assert payments.credit_of(session, acme.id, "EUR") == 0
    assert list(verify.differences(session, now=utc_now())) == []

    act(lambda unit, tenant: payments.receive(unit, tenant, receipt("part", 20), **edge))
    assert (owed(session, acme), payments.credit_of(session, acme.id, "EUR")) == (29 * EURO, 0)
    assert list(verify.differences(session, now=utc_now())) == []
    # The refund did not reach the payer: what was paid meanwhile is to their credit.
    assert tell(client, refunded("evt_r3", "refund.failed", amount=4900, status="failed")).text == "taken\n"
    assert (owed(session, acme), payments.credit_of(session, acme.id, "EUR")) == (-20 * EURO, 20 * EURO)
    assert list(verify.differences(session, now=utc_now())) == []


@pytest.mark.databases("sqlite")
def test_refunds_of_others_are_none_of_ours(client, session, acme, fake, link):
    tell(client, fake.event())
    for number, changed in enumerate(({"payment_intent": "pi_x"}, {"payment_intent": None, "charge": None})):
        assert tell(client, refunded(f"evt_{number}", **changed)).text == "nothing to do\n"
    assert tell(client, refunded("evt_f", "refund.failed", status="failed")).text == "nothing to do\n"  # never entered
    bare = json.dumps({"id": "evt_b", "type": "charge.refunded", "data": {"object": {"id": "ch_1"}}}).encode()
    assert tell(client, bare).text == "nothing to do\n"
    assert owed(session, acme) == 0


@pytest.mark.parametrize(
    ("currency", "micros", "sent"),
    [("EUR", 49 * EURO, "4900"), ("JPY", 500 * EURO, "500"), ("ISK", 500 * EURO, "50000"), ("UGX", 5 * EURO, "500"),
     ("KWD", 1_230_000, "1230"), ("MGA", 1_000 * EURO, "1000"), ("HUF", 45_000_000, "4500"), ("KWD", 1_234_000, None),
     ("MGA", 1_200_000, None)],
)  # fmt: skip
def test_amounts_are_as_stripe_counts_them(currency, micros, sent):
    wanted = PayRequest(1, 2, "n", micros, currency, "", "https://a", "https://b", "w")
    if sent is None:
        with pytest.raises(GatewayError):
            stripe._form_of(wanted)
        return
    assert stripe._form_of(wanted)["line_items[0][price_data][unit_amount]"] == sent
    assert int(sent) * stripe.unit_micros(currency) == micros

"""Stripe Checkout: a payment gateway by redirect, over plain HTTP. Source: docs.stripe.com/api, "Checkout Sessions"."""

import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.config import Settings
from app.core.money import MICROS
from app.domain.billing.online import BadNotice, GatewayError, Notice, Paid, PayRequest, Refunded

TIMEOUT_SECONDS = 15
TOLERANCE_SECONDS = 300  # how old a signed notice may be
TOP_UP = "top-up"  # in place of an invoice
PAID_BY = ("checkout.session.completed", "checkout.session.async_payment_succeeded")
REFUNDED_BY = ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated")
GONE, FAILED = ("succeeded",), ("failed", "canceled")  # what the states of a refund mean here; any other: wait
# How Stripe counts amounts, which is not ISO 4217 throughout: ISK and UGX have no coins below one and are sent in
# hundredths all the same; amounts with three decimals end in 0. Source: docs.stripe.com/currencies.
_WHOLE = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())
_THOUSANDTHS = frozenset("BHD JOD KWD OMR TND".split())


@dataclass(frozen=True, slots=True)
class Stripe:
    """The provider's own account. `webhook_secret` signs what Stripe tells us."""

    secret_key: str
    webhook_secret: str
    api_url: str
    code: str = "stripe"
    pays_at: str = "https://checkout.stripe.com"

    def pay_link(self, wanted: PayRequest) -> str:
        """A Checkout Session for what is open. Raises GatewayError."""
        session = self._post("/v1/checkout/sessions", _form_of(wanted), f"{wanted.tenant_id}-{wanted.wish}")
        url = str(session.get("url", ""))
        if not url:
            raise GatewayError("the session has no address to pay at")
        return url

    def read_notice(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        """A webhook event whose signature is ours and fresh. Raises BadNotice."""
        self._check(body, headers.get("Stripe-Signature", ""), now)
        try:
            event = json.loads(body)
            return Notice(str(event["id"]), str(event["type"]), _paid(event), tuple(_refunds(event)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadNotice("the event cannot be read") from error

    def _check(self, body: bytes, signature: str, now: datetime) -> None:
        """`t=<seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`. Source: docs.stripe.com/webhooks."""
        parts = [part.strip().partition("=") for part in signature.split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
            raise BadNotice("no time is signed")
        expected = hmac.new(self.webhook_secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        given = [value.encode() for name, _, value in parts if name == "v1"]
        if not any(hmac.compare_digest(expected.encode(), each) for each in given):
            raise BadNotice("the signature is another one")
        if abs(now.timestamp() - int(stamp)) > TOLERANCE_SECONDS:
            raise BadNotice("the notice is too old")

    def _post(self, path: str, form: dict[str, str], key: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  the address is the operator's own setting
            self.api_url.rstrip("/") + path,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": f"Bearer {self.secret_key}", "Idempotency-Key": key},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise GatewayError(f"Stripe answers {error.code}") from error
        except (OSError, ValueError) as error:
            raise GatewayError("Stripe cannot be reached") from error
        return found if isinstance(found, dict) else {}


def of(settings: Settings) -> Stripe | None:
    """As the settings say; None where there is no key. Both secrets are needed: a payment must be told, too."""
    if not (settings.STRIPE_SECRET_KEY and settings.STRIPE_WEBHOOK_SECRET):
        return None
    return Stripe(settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET, settings.STRIPE_API_URL)


def unit_micros(currency: str) -> int:
    """What 1 in Stripe's amounts is worth.

    >>> unit_micros("EUR"), unit_micros("JPY"), unit_micros("ISK"), unit_micros("KWD")
    (10000, 1000000, 10000, 1000)
    """
    return MICROS if currency in _WHOLE else 1_000 if currency in _THOUSANDTHS else 10_000


def _form_of(wanted: PayRequest) -> dict[str, str]:
    unit = unit_micros(wanted.currency)
    if wanted.open_micros % (10 * unit if wanted.currency in _THOUSANDTHS else unit):
        raise GatewayError(f"Stripe takes no {wanted.currency} in coins as small as that")
    form = {
        "mode": "payment",
        "client_reference_id": wanted.number,
        "metadata[tenant]": str(wanted.tenant_id),
        "metadata[invoice]": TOP_UP if wanted.invoice_id is None else str(wanted.invoice_id),
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": wanted.currency.lower(),
        "line_items[0][price_data][unit_amount]": str(wanted.open_micros // unit),
        "line_items[0][price_data][product_data][name]": wanted.number,
        "success_url": wanted.paid_url,
        "cancel_url": wanted.back_url,
    }
    return {**form, "customer_email": wanted.email} if wanted.email else form


def _paid(event: dict[str, Any]) -> Paid | None:
    """The payment of an event that says one; Checkouts of others in the same account name no tenant."""
    if event["type"] not in PAID_BY:
        return None
    session, about = event["data"]["object"], event["data"]["object"].get("metadata") or {}
    if session.get("payment_status") != "paid" or not {"tenant", "invoice"} <= about.keys():
        return None
    currency = str(session["currency"]).upper()
    return Paid(
        tenant_id=int(about["tenant"]),
        invoice_id=None if about["invoice"] == TOP_UP else int(about["invoice"]),
        reference=str(session.get("payment_intent") or session["id"]),
        amount_micros=int(session["amount_total"]) * unit_micros(currency),
        currency=currency,
        received_on=datetime.fromtimestamp(int(session["created"]), UTC).date(),
    )


def _refunds(event: dict[str, Any]) -> Iterator[Refunded]:
    """What an event says went back to payers, or failed to. Newer versions of `charge.refunded` name no refunds."""
    found = event["data"]["object"] if event["type"] in (*REFUNDED_BY, "charge.refunded") else {}
    rows = (found.get("refunds") or {}).get("data", ()) if event["type"] == "charge.refunded" else [found]
    for row in rows:
        payment = row.get("payment_intent") or row.get("charge")
        if not payment or row.get("status") not in (*GONE, *FAILED):
            continue
        currency = str(row["currency"]).upper()
        yield Refunded(
            reference=str(row["id"]),
            payment=str(payment),
            amount_micros=int(row["amount"]) * unit_micros(currency),
            currency=currency,
            on=datetime.fromtimestamp(int(row["created"]), UTC).date(),
            failed=row["status"] in FAILED,
        )

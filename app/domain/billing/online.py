"""Payments through a gateway: a link to pay at, and the gateway's word that money came in. README.md, "Pay links".

No card ever comes near: the gateway's own page asks for it, and tells us an amount and a reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from sqlalchemy.orm import Session

from app.db import insert_new
from app.domain.billing import payments
from app.domain.billing.models import GatewayEvent, Invoice
from app.domain.billing.payments import Receipt
from app.domain.tenants.models import Tenant


class GatewayError(Exception):
    """The gateway could not be asked, or said no."""


class BadNotice(Exception):
    """What claims to come from the gateway is not signed by it, or is too old."""


@dataclass(frozen=True, slots=True)
class PayRequest:
    """What is to be paid, and where the payer comes back to."""

    tenant_id: int
    invoice_id: int | None  # None: paid in advance, for no invoice
    number: str
    open_micros: int
    currency: str
    email: str
    paid_url: str
    back_url: str
    wish: str  # the same wish of a tenant is the same link


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of the gateway. `paid`: that money came in, and for what; None for anything else it tells."""

    event_id: str
    kind: str
    paid: "Paid | None" = None


@dataclass(frozen=True, slots=True)
class Paid:
    """`reference` is the gateway's own and names the payment once, whatever event speaks of it."""

    tenant_id: int
    invoice_id: int | None
    reference: str
    amount_micros: int
    currency: str
    received_on: date


class PaymentGateway(Protocol):
    """Who takes payments for us."""

    code: str
    pays_at: str  # the origin of its pages

    def pay_link(self, wanted: PayRequest) -> str:
        """The address of the page to pay at. Raises GatewayError."""

    def read_notice(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        """What it told. Raises BadNotice."""


def take_notice(session: Session, gateway: PaymentGateway, notice: Notice, *, now: datetime) -> bool:
    """Enter the payment that a notice tells of; False for one that came before or tells of none of ours."""
    row = {"gateway": gateway.code, "event_id": notice.event_id, "kind": notice.kind[:64], "received_at": now}
    if not insert_new(session, GatewayEvent, [row], [GatewayEvent.gateway, GatewayEvent.event_id]):
        return False
    paid = notice.paid
    tenant = session.get(Tenant, paid.tenant_id) if paid else None
    if paid is None or tenant is None:
        return False
    if paid.invoice_id is not None and session.get(Invoice, (tenant.id, paid.invoice_id)) is None:
        return False
    receipt = Receipt(
        key=f"{gateway.code}:{paid.reference}",
        amount_micros=paid.amount_micros,
        currency=paid.currency,
        method="card",
        reference=paid.reference,
        received_on=paid.received_on,
        invoice_ids=() if paid.invoice_id is None else (paid.invoice_id,),
    )
    payments.receive(session, tenant, receipt, actor=gateway.code, now=now)
    return True

"""Payments through a gateway: a link to pay at, and the gateway's word that money came in. README.md, "Pay links".

No card ever comes near: the gateway's own page asks for it, and tells us an amount and a reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db import insert_new
from app.domain.billing import payments, refunds
from app.domain.billing.models import GatewayEvent, Invoice, Payment
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
    """One event of the gateway: that money came in (`paid`), that it went back (`refunds`), or anything else."""

    event_id: str
    kind: str
    paid: "Paid | None" = None
    refunds: tuple["Refunded", ...] = ()


@dataclass(frozen=True, slots=True)
class Paid:
    """`reference` is the gateway's own and names the payment once, whatever event speaks of it."""

    tenant_id: int
    invoice_id: int | None
    reference: str
    amount_micros: int
    currency: str
    received_on: date


@dataclass(frozen=True, slots=True)
class Refunded:
    """Money that went back to the payer. `reference` names the refund once, `payment` is that of what was paid.

    `failed`: it did not reach the payer after all, and is ours again.
    """

    reference: str
    payment: str
    amount_micros: int
    currency: str
    on: date
    failed: bool = False


class PaymentGateway(Protocol):
    """Who takes payments for us."""

    code: str
    pays_at: str  # the origin of its pages

    def pay_link(self, wanted: PayRequest) -> str:
        """The address of the page to pay at. Raises GatewayError."""

    def read_notice(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        """What it told. Raises BadNotice."""


def take_notice(session: Session, gateway: PaymentGateway, notice: Notice, *, now: datetime) -> bool:
    """Enter what a notice tells of; False for one that came before or tells of nothing of ours."""
    row = {"gateway": gateway.code, "event_id": notice.event_id, "kind": notice.kind[:64], "received_at": now}
    if not insert_new(session, GatewayEvent, [row], [GatewayEvent.gateway, GatewayEvent.event_id]):
        return False
    taken = notice.paid is not None and _take_payment(session, gateway, notice.paid, now)
    return any([taken, *(_take_refund(session, gateway, each, now) for each in notice.refunds)])


def _take_payment(session: Session, gateway: PaymentGateway, paid: Paid, now: datetime) -> bool:
    tenant = session.get(Tenant, paid.tenant_id)
    if tenant is None:
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


def _take_refund(session: Session, gateway: PaymentGateway, gone: Refunded, now: datetime) -> bool:
    """Enter it once, whatever events speak of it; what failed comes back only where it was entered."""
    payment_key, key = f"{gateway.code}:{gone.payment}", f"{gateway.code}:{gone.reference}"
    payment = session.scalar(select(Payment).where(Payment.key == payment_key, Payment.amount_micros > 0))
    if payment is None:
        return False
    tenant, actor = session.get_one(Tenant, payment.tenant_id), gateway.code
    receipt = Receipt(key, gone.amount_micros, gone.currency, "card", gone.reference, gone.on)
    if not gone.failed:
        refunds.refund(session, tenant, receipt, payment_key, actor=actor, now=now)
        return True
    entered = select(Payment.id).where(Payment.tenant_id == tenant.id, Payment.key == key)
    if session.scalar(entered) is None:
        return False
    payments.receive(session, tenant, replace(receipt, key=f"{key}:failed"), actor=actor, now=now)
    return True

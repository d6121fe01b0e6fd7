"""What people are told by mail: jobs that turn an event into a mail to each of its readers."""

from datetime import date, datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from app import branding, mail
from app.config import Settings
from app.core.clock import utc_now
from app.core.ids import new_id
from app.db import run_in_transaction, snapshot
from app.domain.accounts import key_ends, links, service as accounts
from app.domain.accounts.roles import Permission
from app.domain.billing import dunning, issuing, profiles, service as billing
from app.domain.billing.models import Invoice
from app.domain.changes import offers
from app.domain.metering import low_balance, meters, prepaid, thresholds
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from app.domain.webhooks import endpoints
from app.domain.webhooks.models import WebhookEndpoint

INVOICE_MAIL = "mail.invoice"  # a mail with an invoice, which is set as it is sent


def tell_of_offer(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to each of the tenant's people who get notices; none about an offer that is over by then."""
    offer = offers.get(session, payload["tenant_id"], payload["offer_id"])
    if offer.status != "open":
        return
    settings: Settings = current_app.config["RINGPLAN"]
    for reader in accounts.threshold_readers(session, offer.tenant_id):
        if not reader.is_staff:
            key = f"{offers.MAIL}/{offer.tenant_id}/{offer.id}/{reader.id}"
            shown: dict[str, Any] = {
                "tenant": offer.tenant,
                "package": offer.package,
                "provider": settings.PROVIDER_NAME,
            }
            mail.post(session, key, reader.email, "offer", now=now, **shown)


def tell_of_threshold(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to each person who wants to know; the mails' keys are the crossing's and the person's.

    None of a period that was over by then: an import of last month's calls is no news.
    """
    tenant_id, code, percent = payload["tenant_id"], payload["resource_code"], payload["percent"]
    about = thresholds.get(session, tenant_id, code, date.fromisoformat(payload["period_on"]), percent)
    subscription = subscriptions.live(session, tenant_id)
    if (
        subscription is None
        or about.crossing.period_on != subscriptions.period_of(subscription, about.crossing.crossed_at).first_on
    ):
        return
    shown = meters.current(session, about.tenant, now=now).meters
    for reader in accounts.threshold_readers(session, tenant_id):
        mail.post(
            session,
            f"{thresholds.MAIL}/{tenant_id}/{code}/{payload['period_on']}/{percent}/{reader.id}",
            reader.email,
            "threshold",
            now=now,
            crossing=about.crossing,
            resource=about.resource,
            tenant=about.tenant,
            meter=next((meter for meter in shown if meter.resource_code == code), None),
            for_staff=reader.is_staff,
        )


def tell_of_balance(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to those who get the invoices; none where money came in by then, or the tenant pays afterwards."""
    tenant_id = payload["tenant_id"]
    purse = prepaid.purse(session.connection(), tenant_id)
    if purse is None or purse.state != payload["state"]:
        return
    tenant = session.get_one(Tenant, tenant_id)
    profile = profiles.profile(session, tenant_id, branding.terms())
    for reader, address in _payers(session, tenant, profile.email).items():
        key = f"{low_balance.MAIL}/{tenant_id}/{now.isoformat()}/{reader}"
        mail.post(session, key, address, "balance", now=now, purse=purse, tenant=tenant)


def tell_of_dunning(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to those who get the invoices."""
    tenant_id, invoice_id, step = payload["tenant_id"], payload["invoice_id"], payload["step"]
    invoice = billing.get(session, tenant_id, invoice_id)
    if not invoice.open_micros:
        return  # paid since
    taken = next(each for each in dunning.steps_of(session, invoice) if each.step == step)
    for reader, address in _invoiced(session, invoice).items():
        key = f"{dunning.MAIL}/{tenant_id}/{invoice_id}/{step}/{reader}"
        mail.post(session, key, address, "dunning", now=now, invoice=invoice, tenant=invoice.tenant, taken=taken)


def tell_of_endpoint(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to each person of the endpoint's own side who may manage webhooks: it was turned off."""
    endpoint = session.get(WebhookEndpoint, payload["endpoint_id"])
    if endpoint is None or endpoint.disabled_at is None:
        return  # removed or turned on again since
    for reader in accounts.who_can(session, endpoint.tenant_id, Permission.CHANGE_WEBHOOKS):
        key = f"{endpoints.MAIL}/{endpoint.id}/{endpoint.disabled_at.isoformat()}/{reader.id}"
        mail.post(session, key, reader.email, "webhook", now=now, endpoint=endpoint)


def tell_of_key(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """One mail to each person of the key's own side who may exchange it: it ends soon."""
    key = key_ends.ending(session, payload["key_id"], now=now)
    if key is None:
        return
    assert key.expires_at is not None  # what ends soon ends
    zone = key.tenant.timezone if key.tenant else "UTC"
    for reader in accounts.who_can(session, key.tenant_id, Permission.CHANGE_KEYS):
        name = f"{key_ends.MAIL}/{key.id}/{key.expires_at.isoformat()}/{reader.id}"
        mail.post(session, name, reader.email, "key", now=now, api_key=key, zone=zone)


def tell_of_invoice(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """A mail with the document to where the tenant's invoices go, else to its contact, else to all of its people."""
    invoice = billing.get(session, payload["tenant_id"], payload["invoice_id"])
    for reader, address in _invoiced(session, invoice).items():
        mail.post(
            session,
            f"{issuing.MAIL}/{invoice.id}/{reader}",
            address,
            "invoice",
            now=now,
            kind=INVOICE_MAIL,
            about=payload,
            invoice=invoice,
        )


def send_invoice(key: str, payload: dict[str, Any]) -> None:
    """Send such a mail. The document is not kept with the job: it is the same bytes whenever it is set."""
    with snapshot() as session:
        invoice = billing.get(session, payload["tenant_id"], payload["invoice_id"])
        content = current_app.extensions["invoice_files"].pdf(invoice, billing.lines_of(session, invoice))
    mail.send(key, payload, [mail.Attachment(invoice.filename + ".pdf", content, "application/pdf")])


def send_link(key: str, payload: dict[str, Any]) -> None:
    """Send a link to whom it is for: its token is made here and stands in this mail alone, never in the database."""
    if words := run_in_transaction(lambda session: _link_words(session, payload["link_id"])):
        mail.send(key, words)


def _link_words(session: Session, link_id: int) -> dict[str, Any] | None:
    """The mail; none when the link was used or withdrawn meanwhile."""
    armed = links.arm(session, link_id, now=utc_now())
    if armed is None:
        return None
    sent, token = armed
    hours = links.LIFE[links.Purpose(sent.purpose)] // timedelta(hours=1)
    tenant = session.get(Tenant, sent.tenant_id) if sent.tenant_id else None
    return mail.words(sent.email, f"link_{sent.purpose}", token=token, sent=sent, tenant=tenant, hours=hours)


def tell_of_account(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """Tell somebody what happened to their account."""
    what, key = payload["what"], f"{links.NOTICE}/{new_id()}"
    mail.post(session, key, payload["to"], f"account_{what}", now=now, email=payload["to"], **payload["about"])


def _invoiced(session: Session, invoice: Invoice) -> dict[str, str]:
    return _payers(session, invoice.tenant, invoice.printed["customer"]["email"])


def _payers(session: Session, tenant: Tenant, email: str) -> dict[str, str]:
    """Addresses by what tells them apart in the mails' keys; `email` is where the tenant's invoices go."""
    if address := email or tenant.contact_email:
        return {"billing": address}
    users = accounts.users_of(session, tenant.id)
    return {str(user.id): user.email for user in users if user.disabled_at is None}

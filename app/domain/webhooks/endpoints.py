"""Who is told of what: endpoints of the provider and of tenants, their secrets, and what turns them off."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.audit import service as audit
from app.domain.jobs import service as jobs
from app.domain.webhooks import events, signing
from app.domain.webhooks.models import WebhookAttempt, WebhookEndpoint, WebhookMessage

MAIL = "webhook_mail"  # the job that tells the owner's side of an endpoint that was turned off
OVERLAP = timedelta(hours=24)  # how long the secret before signs, too
MOST = 20  # endpoints of one owner
PERSON, GONE, FAILING = "person", "gone", "failing"
MAX_URL, MAX_NOTE = 1000, 255


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person enters."""

    url: str
    types: tuple[str, ...]
    note: str = ""


def of_owner(session: Session, tenant_id: int | None) -> list[WebhookEndpoint]:
    """The tenant's endpoints, or the provider's own, oldest first."""
    return list(session.scalars(select(WebhookEndpoint).where(_owned_by(tenant_id)).order_by(WebhookEndpoint.id)))


def get(session: Session, tenant_id: int | None, endpoint_id: int) -> WebhookEndpoint:
    """One endpoint of this owner. Raises NotFound."""
    found = session.scalar(select(WebhookEndpoint).where(_owned_by(tenant_id), WebhookEndpoint.id == endpoint_id))
    if found is None:
        raise NotFound("unknown_endpoint", "There is no such endpoint.")
    return found


def add(session: Session, tenant_id: int | None, wanted: Wanted, *, actor: str, now: datetime) -> WebhookEndpoint:
    """Tell this address from now on; that it may be reached at all is for the edge to check, which knows the network.

    Raises Invalid for a bad field, Conflict (`too_many_endpoints`).
    """
    checked = _checked(tenant_id, wanted)
    if len(of_owner(session, tenant_id)) >= MOST:
        raise Conflict("too_many_endpoints", f"There are {MOST} endpoints already; remove one first.")
    made = WebhookEndpoint(id=new_id(), tenant_id=tenant_id, salt=signing.new_salt(), created_at=now, **checked)
    session.add(made)
    session.flush()
    record(session, "webhook.add", made, actor, now, types=made.event_types)
    return made


def change(session: Session, endpoint: WebhookEndpoint, wanted: Wanted, *, actor: str, now: datetime) -> None:
    """Tell another address, or of other events. Raises Invalid as `add`."""
    url, before = endpoint.url, _shown(endpoint)
    for name, value in _checked(endpoint.tenant_id, wanted).items():
        setattr(endpoint, name, value)
    session.flush()
    changed = audit.changes(before, _shown(endpoint))
    record(session, "webhook.change", endpoint, actor, now, changed=changed, another_address=url != endpoint.url)


def rotate(session: Session, endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> None:
    """Sign with a new secret; until OVERLAP is over with the one before, too."""
    endpoint.previous_salt, endpoint.previous_until = endpoint.salt, now + OVERLAP
    endpoint.salt = signing.new_salt()
    session.flush()
    record(session, "webhook.rotate", endpoint, actor, now)


def enable(session: Session, endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> None:
    """Tell it again, of what happens from now on; what failed meanwhile can be sent again."""
    if endpoint.disabled_at is None:
        return
    endpoint.disabled_at, endpoint.disabled_why, endpoint.failing_since = None, "", None
    session.flush()
    record(session, "webhook.enable", endpoint, actor, now)


def disable(session: Session, endpoint_id: int, why: str, *, actor: str, now: datetime) -> None:
    """Tell it no more, and give up what waits; unless a person did it, the owner's side gets a mail. Twice is once."""
    turned_off = session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.disabled_at.is_(None))
        .values(disabled_at=now, disabled_why=why)
        .execution_options(synchronize_session=False)
    )
    if rowcount(turned_off) != 1:
        return
    session.execute(
        update(WebhookMessage)
        .where(WebhookMessage.endpoint_id == endpoint_id, WebhookMessage.next_at.is_not(None))
        .values(next_at=None, leased_until=None)
        .execution_options(synchronize_session=False)
    )
    endpoint = session.get_one(WebhookEndpoint, endpoint_id, populate_existing=True)
    if why != PERSON:
        key = f"{MAIL}/{endpoint_id}/{now.isoformat()}"
        jobs.enqueue(session, MAIL, key, {"endpoint_id": endpoint_id, "why": why}, now=now)
    record(session, "webhook.disable", endpoint, actor, now, why=why)


def remove(session: Session, endpoint: WebhookEndpoint, *, actor: str, now: datetime) -> None:
    """Forget it with its messages and attempts."""
    of_it = endpoint.id
    for model in (WebhookAttempt, WebhookMessage):
        session.execute(model.__table__.delete().where(model.__table__.c.endpoint_id == of_it))  # type: ignore[attr-defined]
    record(session, "webhook.remove", endpoint, actor, now)
    session.delete(endpoint)
    session.flush()


def ping(session: Session, endpoint: WebhookEndpoint, slug: str, *, now: datetime) -> WebhookMessage:
    """Send it something, whatever it hears of. Raises Conflict (`endpoint_disabled`)."""
    if endpoint.disabled_at is not None:
        raise Conflict("endpoint_disabled", "This endpoint is turned off; turn it on first.")
    message_id = new_id()
    message = WebhookMessage(
        endpoint_id=endpoint.id, id=message_id, key=f"{events.PING}/{message_id}", type=events.PING, tenant=slug,
        data={"message": "This is a test."}, occurred_at=now, next_at=now,
    )  # fmt: skip
    session.add(message)
    session.flush()
    return message


def secrets_of(endpoint: WebhookEndpoint, installation_key: str, now: datetime) -> list[str]:
    """The secrets that sign at this moment, the newest first."""
    salts = [endpoint.salt]
    if endpoint.previous_until is not None and now < endpoint.previous_until:
        salts.append(endpoint.previous_salt)
    return [signing.secret_of(installation_key, endpoint.id, salt) for salt in salts]


def _checked(tenant_id: int | None, wanted: Wanted) -> dict[str, Any]:
    url, note = wanted.url.strip(), wanted.note.strip()
    if not url or len(url) > MAX_URL:
        raise Invalid("invalid_url", f"Enter an address of at most {MAX_URL} characters.", field="url")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Invalid("invalid_note", f"A note has at most {MAX_NOTE} characters.", field="note")
    known: Sequence[str] = events.TYPES if tenant_id is None else events.TENANT_TYPES
    chosen = [each for each in known if each in wanted.types]
    if not chosen or len(chosen) != len(set(wanted.types)):
        raise Invalid("invalid_types", "Choose at least one event.", field="types")
    return {"url": url, "note": note, "types": f" {' '.join(chosen)} "}


def _owned_by(tenant_id: int | None) -> Any:
    return WebhookEndpoint.tenant_id.is_(None) if tenant_id is None else WebhookEndpoint.tenant_id == tenant_id


def record(session: Session, act: str, endpoint: WebhookEndpoint, actor: str, now: datetime, **details: Any) -> None:
    """Enter what was done with an endpoint into the audit trail: by its host, since a path may hold a secret."""
    audit.record(session, actor, act, f"webhook:{_host(endpoint)}", now=now, tenant_id=endpoint.tenant_id, **details)


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {"host": _host(endpoint), "types": endpoint.event_types, "note": endpoint.note}


def _host(endpoint: WebhookEndpoint) -> str:
    return (urlsplit(endpoint.url).hostname or "")[:200]

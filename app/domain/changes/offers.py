"""What the provider suggests to a tenant: at most one package at a time, until taken, declined or withdrawn."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.core.ids import new_id
from app.db import insert_new, rowcount
from app.domain.audit import service as audit
from app.domain.catalog.models import Package
from app.domain.changes.models import Offer
from app.domain.jobs import service as jobs
from app.domain.subscriptions import moves, service as subscriptions
from app.domain.tenants.models import Tenant
from app.driver import read_once

MAIL = "offer_mail"  # the kind of the job that tells of it


def make(session: Session, tenant: Tenant, package: Package, *, actor: str, now: datetime) -> Offer:
    """Offer the package, and ask for a mail to the tenant's people who get notices.

    Raises NotFound (`no_subscription`), Conflict as `subscriptions.subscribe` and `has_it`, `offered_already`.
    """
    subscriptions.check_fit(tenant, package)
    subscription = subscriptions.require_live(session, tenant)
    moves.check_interval(subscription, package)
    if subscription.package_id == package.id:
        raise Conflict("has_it", f"{tenant.name} has {package.name} already.")
    row = {
        "tenant_id": tenant.id,
        "id": new_id(),
        "package_id": package.id,
        "status": "open",
        "offered_at": now,
        "offered_by": actor,
        "ended_by": "",
    }
    if open_of(session, tenant.id) is not None:
        raise Conflict("offered_already", f"{tenant.name} has an offer already; withdraw it first.")
    insert_new(session, Offer, [row], [Offer.tenant_id, Offer.id])  # the index keeps a second one out: try again
    payload = {"tenant_id": tenant.id, "offer_id": row["id"]}
    jobs.enqueue(session.connection(), MAIL, f"{MAIL}/{tenant.id}/{row['id']}", payload, now=now)
    _note(session, tenant, "offer.make", actor, now, package=package.code)
    return session.get_one(Offer, (tenant.id, row["id"]))


def end(session: Session, tenant: Tenant, status: str, *, actor: str, now: datetime) -> bool:
    """The open offer, if any, is `taken`, `declined` or `withdrawn`; whether there was one."""
    ended = session.execute(
        update(Offer)
        .where(Offer.tenant_id == tenant.id, Offer.status == "open")
        .values(status=status, ended_at=now, ended_by=actor)
        .execution_options(synchronize_session=False)
    )
    if not rowcount(ended):
        return False
    _note(session, tenant, f"offer.{status}", actor, now)
    return True


def settle(session: Session, tenant: Tenant, package: Package, *, actor: str, now: datetime) -> None:
    """The tenant moves to `package`: an open offer of it is taken by that, one of another package withdrawn."""
    offered = is_offered(session, tenant.id, package)
    end(session, tenant, "taken" if offered else "withdrawn", actor=actor, now=now)


def get(session: Session, tenant_id: int, offer_id: int) -> Offer:
    """One offer, which must be there, as it stands."""
    return session.get_one(Offer, (tenant_id, offer_id), populate_existing=True)


def open_of(session: Session, tenant_id: int) -> Offer | None:
    """What the tenant is offered now."""
    return session.scalar(select(Offer).where(Offer.tenant_id == tenant_id, Offer.status == "open"))


def open_id(tenant_id: int) -> int | None:
    """Which offer is open, for what is asked at every look: outside the session."""
    rows = read_once("SELECT id FROM offer WHERE tenant_id = :tenant_id AND status = 'open'", {"tenant_id": tenant_id})
    return int(rows[0][0]) if rows else None


def is_offered(session: Session, tenant_id: int, package: Package) -> bool:
    """Whether the tenant may take the package because it is offered."""
    found = open_of(session, tenant_id)
    return found is not None and found.package_id == package.id


def all_open(session: Session) -> Mapping[int, int]:
    """The package offered, by tenant. One statement."""
    rows = session.execute(select(Offer.tenant_id, Offer.package_id).where(Offer.status == "open"))
    return {row.tenant_id: row.package_id for row in rows}


def _note(session: Session, tenant: Tenant, act: str, actor: str, now: datetime, **details: str) -> None:
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, **details)

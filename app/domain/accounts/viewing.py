"""Staff look at the portal as a tenant's people see it: for a reason, for half an hour, and in the tenant's own log.

The view belongs to one sign-in and ends with it. What it may not do is the guard's business: it changes nothing.
"""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.core.errors import Invalid, NotFound
from app.db import rowcount
from app.domain.accounts.models import SignIn
from app.domain.accounts.roles import Role, fits
from app.domain.accounts.sessions import hash_of
from app.domain.audit import service as audit
from app.domain.tenants.models import Tenant

LASTS = timedelta(minutes=30)
MAX_REASON = 500


def start(
    session: Session, token: str, tenant: Tenant, role: Role, reason: str, *, actor: str, now: datetime
) -> datetime:
    """Let this sign-in see the tenant's pages as this role; returns until when.

    Raises Invalid (`missing_reason`, `wrong_role`), NotFound for a sign-in that is over.
    """
    why = " ".join(reason.replace("\0", "").split())
    if not why or len(why) > MAX_REASON:
        raise Invalid("missing_reason", "Say why, for the tenant to read.", field="reason")
    if not fits(role, is_staff=False):
        raise Invalid("wrong_role", f"“{role}” is no role of a tenant.", field="role")
    until = now + LASTS
    begun = session.execute(
        update(SignIn)
        .where(SignIn.token_hash == hash_of(token), SignIn.ended_at.is_(None))
        .values(viewed_tenant_id=tenant.id, viewed_as=role, viewed_until=until)
    )
    if rowcount(begun) != 1:
        raise NotFound("unknown_sign_in", "This sign-in is over.")
    audit.record(
        session, actor, "tenant.view", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id,
        reason=why, role=role, until=until.isoformat(timespec="seconds"),
    )  # fmt: skip
    return until


def end(session: Session, token: str, *, actor: str, now: datetime) -> Tenant | None:
    """End this sign-in's view; returns the tenant that it was of. Ending it twice is ending it once."""
    which = (SignIn.token_hash == hash_of(token), SignIn.viewed_tenant_id.is_not(None))
    viewed = select(Tenant).join(SignIn, SignIn.viewed_tenant_id == Tenant.id).where(*which)
    tenant = session.scalar(viewed)
    ended = session.execute(
        update(SignIn).where(*which).values(viewed_tenant_id=None, viewed_as=None, viewed_until=None)
    )
    if tenant is None or rowcount(ended) != 1:
        return None
    audit.record(session, actor, "tenant.view_end", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id)
    return tenant

"""Of which roles a second factor is demanded. Read with every sign-in, so a change holds at the next request."""

from datetime import datetime

from sqlalchemy import case, delete, func, insert, select
from sqlalchemy.orm import Session

from app.core.errors import Invalid
from app.domain.accounts.models import Account, SecondFactorDemand
from app.domain.accounts.roles import Role, fits
from app.domain.audit import service as audit


def demanded(session: Session, *, of_staff: bool) -> frozenset[Role]:
    """The roles of one side that must have a second factor."""
    roles = select(SecondFactorDemand.role).where(SecondFactorDemand.of_staff == of_staff)
    return frozenset(map(Role, session.scalars(roles)))


def demand(session: Session, roles: frozenset[Role], *, of_staff: bool, actor: str, now: datetime) -> None:
    """Demand it of just these roles of one side; the same ones again change and record nothing.

    Raises Invalid `wrong_role` for a role of the other side.
    """
    if not all(fits(role, is_staff=of_staff) for role in roles):
        raise Invalid("wrong_role", "That is a role of the other side.")
    before = demanded(session, of_staff=of_staff)
    if roles == before:
        return
    session.execute(delete(SecondFactorDemand).where(SecondFactorDemand.of_staff == of_staff))
    if roles:
        session.execute(insert(SecondFactorDemand), [{"of_staff": of_staff, "role": str(role)} for role in roles])
    side, changed = "staff" if of_staff else "tenants", {"roles": [sorted(before), sorted(roles)]}
    audit.record(session, actor, "second_factor.demand", f"second_factor:{side}", now=now, changed=changed)


def coverage(session: Session, *, of_staff: bool) -> dict[Role, tuple[int, int]]:
    """For each role of one side how many people have it, and how many of those have a second factor too."""
    side = Account.tenant_id.is_(None) if of_staff else Account.tenant_id.is_not(None)
    having = func.sum(case((Account.has_second_factor, 1), else_=0))
    rows = session.execute(
        select(Account.role, func.count(), having).where(side, Account.disabled_at.is_(None)).group_by(Account.role)
    )
    return {Role(role): (people, int(with_one)) for role, people, with_one in rows}

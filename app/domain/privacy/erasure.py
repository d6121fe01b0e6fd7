"""Delete a person: who they were goes, their row stays, so that books and trail keep their reference. README.md."""

import json
from datetime import datetime

from sqlalchemy import Column, Text, cast, delete, func, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.db import Base
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account, MailedLink, SignIn, SignInAttempt, StaffIdentity
from app.domain.accounts.roles import Role
from app.domain.audit import service as audit
from app.domain.audit.models import AuditEntry
from app.domain.factors import passkeys, recovery, totp
from app.domain.jobs.models import Job


def erase(session: Session, account: Account, *, actor: str, now: datetime) -> str:
    """Delete the person behind the account; returns what it is called from now on.

    Raises Conflict where nobody else would be left who can sign in as the owner (`last_owner`) or as the tenant's
    admin (`last_admin`).
    """
    _keep_an_admin(session, account)
    accounts.disable_account(session, account, actor=actor, now=now)
    email, name = account.email, _next_name(session)
    _forget_sign_ins(session, account)
    _forget_mail(session, account, email)
    _rename_elsewhere(session, email, name)
    account.email, account.name, account.password_hash = name.lower(), name, ""
    account.locale = account.timezone = account.units = ""
    account.wants_threshold_mail, account.has_second_factor = False, False
    account.disabled_at = account.deleted_at = now
    session.flush()
    subject = f"account:{account.email}"
    audit.record(session, actor, "account.erase", subject, now=now, tenant_id=account.tenant_id, role=account.role)
    return name


def actor_columns() -> list[Column[str]]:
    """Where an address says who did something, outside the audit trail: `…_by` and `actor`."""
    return [
        column
        for table in Base.metadata.sorted_tables
        if table is not AuditEntry.__table__
        for column in table.columns
        if (column.name.endswith("_by") or column.name == "actor") and not column.foreign_keys
    ]


def _keep_an_admin(session: Session, account: Account) -> None:
    """Of two admins who delete each other the second one is refused: both wait for the same rows."""
    if account.tenant_id is None or account.role != Role.ADMIN or account.disabled_at:
        return
    admins = select(Account.id).where(
        Account.tenant_id == account.tenant_id, Account.role == Role.ADMIN, Account.disabled_at.is_(None)
    )
    found = set(session.scalars(admins.order_by(Account.id).with_for_update()))
    if not found - {account.id}:
        raise Conflict("last_admin", "Somebody has to stay admin: make someone else an admin first.")


def _next_name(session: Session) -> str:
    """A number of its own; where two take the same, the unique address lets one of them try again."""
    gone = session.scalar(select(func.count()).select_from(Account).where(Account.deleted_at.is_not(None))) or 0
    return f"Deleted person {gone + 1}"


def _forget_sign_ins(session: Session, account: Account) -> None:
    """The sign-ins ended; their rows stay until what they had open has heard of it, without place and browser."""
    session.execute(update(SignIn).where(SignIn.account_id == account.id).values(address="", user_agent=""))
    session.execute(delete(StaffIdentity).where(StaffIdentity.account_id == account.id))
    session.execute(delete(SignInAttempt).where(SignInAttempt.email == account.email))
    totp.remove(session, account.id)
    passkeys.remove_all(session, account.id)
    recovery.remove(session, account.id)


def _forget_mail(session: Session, account: Account, email: str) -> None:
    """Links and jobs that name the address: sent, waiting or given up. Somebody else may be invited there anew."""
    place = MailedLink.tenant_id.is_not_distinct_from(account.tenant_id)
    theirs = or_(MailedLink.account_id == account.id, (MailedLink.email == email) & place)
    session.execute(delete(MailedLink).where(theirs))
    named = cast(Job.payload, Text).contains(json.dumps(email), autoescape=True)
    session.execute(delete(Job).where(named).execution_options(synchronize_session=False))


def _rename_elsewhere(session: Session, email: str, name: str) -> None:
    for column in actor_columns():
        session.execute(update(column.table).where(column == email).values({column.name: name}))

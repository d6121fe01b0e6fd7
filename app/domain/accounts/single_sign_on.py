"""Which of the staff signed in at the OpenID Connect provider. Nobody gets an account that way."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Invalid
from app.domain.accounts.models import Account, StaffIdentity
from app.domain.accounts.sign_in import normal_email
from app.domain.audit import service as audit


def account_of(session: Session, issuer: str, subject: str, *, email: str, is_verified: bool, now: datetime) -> Account:
    """The account that this subject was bound to at its first use: the one of its verified address.

    Later the address counts no more, so that whoever gets it at the issuer after somebody left gets no account here.
    Raises Invalid: `email_unverified`, `no_such_staff`, `bound_to_another`, `account_disabled`.
    """
    account = session.scalar(
        select(Account)
        .join(StaffIdentity, StaffIdentity.account_id == Account.id)
        .where(StaffIdentity.issuer == issuer, StaffIdentity.subject == subject)
    )
    if account is None:
        account = _bind(session, issuer, subject, normal_email(email), is_verified, now)
    if account.disabled_at is not None:
        raise Invalid("account_disabled", "This account is closed.")
    return account


def _bind(session: Session, issuer: str, subject: str, email: str, is_verified: bool, now: datetime) -> Account:
    if not email or not is_verified:
        raise Invalid("email_unverified", "The address is not verified there.")
    account = session.scalar(select(Account).where(Account.email == email, Account.tenant_id.is_(None)))
    if account is None:
        raise Invalid("no_such_staff", "None of the staff has this address.")
    if account.disabled_at is not None:
        raise Invalid("account_disabled", "This account is closed.")
    taken = (StaffIdentity.issuer == issuer, StaffIdentity.account_id == account.id)
    if session.scalar(select(StaffIdentity.subject).where(*taken)) is not None:
        raise Invalid("bound_to_another", "This account belongs to somebody else there.")
    session.add(StaffIdentity(issuer=issuer, subject=subject, account_id=account.id, bound_at=now))
    session.flush()
    audit.record(session, account.email, "account.bind", f"account:{account.email}", now=now, issuer=issuer)
    return account

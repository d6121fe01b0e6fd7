"""Look through the people of one side."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.core.errors import NotFound
from app.domain.accounts.models import Account, SignIn


class Person(NamedTuple):
    """An account, and when any of its browsers was last seen."""

    account: Account
    seen_at: datetime | None


def of(session: Session, tenant_id: int | None) -> list[Person]:
    """The people of one side by address: the disabled ones too, the deleted ones not. One statement."""
    seen = (
        select(SignIn.account_id, func.max(SignIn.seen_at).label("at"))
        .where(SignIn.account_id.in_(select(Account.id).where(Account.tenant_id.is_not_distinct_from(tenant_id))))
        .group_by(SignIn.account_id)
        .subquery()
    )
    found = (
        select(Account, seen.c.at)
        .outerjoin(seen, seen.c.account_id == Account.id)
        .where(Account.tenant_id.is_not_distinct_from(tenant_id), Account.deleted_at.is_(None))
        .order_by(Account.email)
    )
    return [Person(account, seen_at) for account, seen_at in session.execute(found)]


def get(session: Session, tenant_id: int | None, account_id: int) -> Account:
    """One of these people. Raises NotFound for somebody else's as for nobody's."""
    account = session.get(Account, account_id)
    if account is None or account.tenant_id != tenant_id or account.deleted_at:
        raise NotFound("unknown_account", "There is no such person here.")
    return account


def is_one_of(session: Session, tenant_id: int | None, actor: str) -> bool:
    """Whether `actor`, as rows and the audit trail name who acted, is one of these people, gone ones included."""
    found = select(Account.id).where(Account.tenant_id.is_not_distinct_from(tenant_id), Account.email == actor.lower())
    return session.scalar(found) is not None


def as_told(session: Session, tenant_id: int, actors: Iterable[str], provider: str) -> dict[str, str]:
    """Each of `actors` as the tenant may know it: it learns that the provider acted, and not who of its people.

    One statement, where any of them is a person.
    """
    people = {actor for actor in actors if "@" in actor}
    own = select(Account.email).where(Account.tenant_id == tenant_id, Account.email.in_(people))
    strangers = people.difference(session.scalars(own)) if people else set()
    return {actor: provider if actor in strangers else actor for actor in actors}

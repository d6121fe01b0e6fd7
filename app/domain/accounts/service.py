"""Who may sign in, and the front door of this package: what others call stands here or is named here."""

import re
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, not_, or_, select, update
from sqlalchemy.orm import Session, aliased

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.accounts import links, passwords
from app.domain.accounts.keys import (
    SCOPES,
    KnownKey,
    change_end,
    find_key,
    issue_key,
    issue_tenant_key,
    note_refused,
    revoke_key,
    rotate_key,
    verify_basic,
    verify_key,
)
from app.domain.accounts.models import Account, ApiKey, SignIn, Source
from app.domain.accounts.roles import Permission, Role, fits, who_may
from app.domain.accounts.sessions import (
    end_all,
    end_others,
    end_own,
    end_session,
    ended_since,
    find_session,
    is_due,
    mark_of,
    note_confirmed,
    open_session,
    sign_ins_of,
    sign_out,
    touch,
)
from app.domain.accounts.sign_in import authenticate, change_password, normal_email, set_password, unchanged
from app.domain.accounts.sources import create_source, settings_of, source_by_code, update_source
from app.domain.audit import service as audit
from app.domain.tenants.models import Tenant

__all__ = [
    "SCOPES",
    "Account",
    "ApiKey",
    "KnownKey",
    "SignIn",
    "Source",
    "add",
    "authenticate",
    "by_email",
    "change_end",
    "change_password",
    "change_role",
    "check_role",
    "checked_email",
    "create_source",
    "create_staff",
    "create_user",
    "disable_account",
    "enable_account",
    "end_all",
    "end_others",
    "end_own",
    "end_session",
    "ended_since",
    "find_key",
    "find_session",
    "is_due",
    "issue_key",
    "issue_tenant_key",
    "mark_of",
    "note_confirmed",
    "note_refused",
    "open_session",
    "rename",
    "reset_password",
    "revoke_key",
    "rotate_key",
    "set_threshold_mail",
    "settings_of",
    "sign_ins_of",
    "sign_out",
    "source_by_code",
    "threshold_readers",
    "touch",
    "unchanged",
    "update_source",
    "users_of",
    "verify_basic",
    "verify_key",
    "who_can",
]

_EMAIL = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")


def create_staff(
    session: Session,
    email: str,
    name: str,
    password: str,
    *,
    role: Role = Role.OWNER,
    actor: str,
    now: datetime,
) -> Account:
    """Add one of the provider's people. Raises Invalid for a bad field, Conflict (`email_taken`)."""
    return _create(session, None, email, name, password, role=role, actor=actor, now=now)


def create_user(
    session: Session,
    tenant: Tenant,
    email: str,
    name: str,
    password: str,
    *,
    role: Role = Role.ADMIN,
    actor: str,
    now: datetime,
) -> Account:
    """Add a user of one tenant; raises as `create_staff`."""
    return _create(session, tenant.id, email, name, password, role=role, actor=actor, now=now)


def by_email(session: Session, email: str) -> Account:
    """The account of this address, whatever its case. Raises NotFound."""
    account = session.scalar(select(Account).where(Account.email == normal_email(email)))
    if account is None:
        raise NotFound("unknown_account", f"Nobody signs in as “{email}”.")
    return account


def users_of(session: Session, tenant_id: int) -> list[Account]:
    """A tenant's users by address, the disabled ones included, the deleted ones not."""
    users = select(Account).where(Account.tenant_id == tenant_id, Account.deleted_at.is_(None))
    return list(session.scalars(users.order_by(Account.email)))


def threshold_readers(session: Session, tenant_id: int) -> list[Account]:
    """Who wants mail when this tenant crosses a threshold: its own people and staff, none of them disabled."""
    return list(
        session.scalars(
            select(Account)
            .where(
                Account.wants_threshold_mail,
                Account.disabled_at.is_(None),
                or_(Account.tenant_id == tenant_id, Account.tenant_id.is_(None)),
            )
            .order_by(Account.id)
        )
    )


def who_can(session: Session, tenant_id: int | None, permission: Permission) -> list[Account]:
    """The people of a tenant, or of the provider, whose role has the permission: none of them disabled."""
    of_side = Account.tenant_id.is_(None) if tenant_id is None else Account.tenant_id == tenant_id
    may = Account.role.in_(who_may(permission, is_staff=tenant_id is None))
    return list(
        session.scalars(select(Account).where(of_side, may, Account.disabled_at.is_(None)).order_by(Account.id))
    )


def set_threshold_mail(session: Session, account_id: int, wanted: bool, *, actor: str, now: datetime) -> None:
    """Whether this person wants such mail; the same choice again changes and records nothing."""
    changed = session.scalar(
        update(Account)
        .where(Account.id == account_id, Account.wants_threshold_mail != wanted)
        .values(wants_threshold_mail=wanted)
        .returning(Account)
    )
    if changed is not None:
        told = {"threshold_mail": [not wanted, wanted]}
        _record(session, "account.notifications", changed, actor, now, changed=told)


def change_role(session: Session, account: Account, role: Role, *, actor: str, now: datetime) -> None:
    """Give the account another role; the same again changes and records nothing.

    Raises Invalid (`wrong_role`) for a role of the other side, Conflict (`last_owner`).
    """
    check_role(role, is_staff=account.is_staff)
    _lock_with_owners(session, account)
    before = account.role
    if _change(session, account, Account.role != role, role=role):
        _record(session, "account.role", account, actor, now, changed={"role": [before, role]})


def rename(session: Session, account_id: int, name: str, *, actor: str, now: datetime) -> None:
    """Call the person by another name; the same one again changes and records nothing. Raises Invalid (`name`)."""
    account, name = session.get_one(Account, account_id), name.strip()[:255]
    if not name:
        raise Invalid("no_name", "Give a name.", field="name")
    if account.name != name:
        before, account.name = account.name, name
        _record(session, "account.name", account, actor, now, changed={"name": [before, name]})


def disable_account(session: Session, account: Account, *, actor: str, now: datetime) -> None:
    """Refuse the account from now on, also where it is signed in; doing it twice is doing it once.

    Raises Conflict (`last_owner`).
    """
    _lock_with_owners(session, account)
    if _change(session, account, Account.disabled_at.is_(None), disabled_at=now):
        end_all(session, account.id, now=now)
        links.withdraw_all(session, account, now=now)
        _record(session, "account.disable", account, actor, now)


def enable_account(session: Session, account: Account, *, actor: str, now: datetime) -> None:
    """Let a disabled account sign in again, unless the person was deleted."""
    if account.disabled_at is None or account.deleted_at:
        return
    account.disabled_at = None
    _record(session, "account.enable", account, actor, now)


def _lock_with_owners(session: Session, account: Account) -> None:
    """Read the account anew and keep it and all owners from being changed meanwhile.

    Two owners who demote each other would each still see the other on PostgreSQL; SQLite has one writer at a time.
    """
    session.flush()
    found = select(Account).where(or_(Account.id == account.id, _is_owner(Account))).order_by(Account.id)
    session.execute(found.with_for_update(), execution_options={"populate_existing": True}).all()


def _change(session: Session, account: Account, differs: ColumnElement[bool], **values: Any) -> bool:
    """Change the account where it `differs`, unless that left the provider without an owner who can sign in.

    Returns False when it was like that already. Raises Conflict (`last_owner`).
    """
    this, other = Account.id == account.id, aliased(Account)
    stays = exists().where(other.id != account.id, _is_owner(other))
    done = session.execute(update(Account).where(this, differs, or_(not_(_is_owner(Account)), stays)).values(**values))
    if rowcount(done):
        session.refresh(account)
        return True
    if session.scalar(select(Account.id).where(this, differs)):
        raise Conflict("last_owner", "Somebody has to stay owner: make someone else an owner first.", field="role")
    return False


def _is_owner(account: Any) -> ColumnElement[bool]:
    """An owner who can sign in, of the account table or an alias of it."""
    return and_(account.tenant_id.is_(None), account.role == Role.OWNER, account.disabled_at.is_(None))


def check_role(role: Role, *, is_staff: bool) -> None:
    """Raise Invalid (`wrong_role`) for a role of the other side."""
    if not fits(role, is_staff=is_staff):
        raise Invalid("wrong_role", f"“{role}” is no role of this side.", field="role")


def reset_password(session: Session, account: Account, new: str, *, actor: str, now: datetime) -> None:
    """Give somebody else a new password, which ends all their sign-ins. Raises Invalid (field `new`)."""
    set_password(session, account.id, passwords.make_hash(new, account.email), actor=actor, now=now)


def checked_email(email: str) -> str:
    """The address as it is kept. Raises Invalid (`invalid_email`) for what is none."""
    address = normal_email(email)
    if not _EMAIL.fullmatch(address):
        raise Invalid("invalid_email", f"“{email}” is not an e-mail address.", field="email")
    return address


def add(
    session: Session,
    tenant_id: int | None,
    email: str,
    name: str,
    password_hash: str,
    *,
    role: Role,
    actor: str,
    now: datetime,
) -> Account:
    """An account with a password that was hashed before. Raises Conflict (`email_taken`)."""
    if session.scalar(select(Account.id).where(Account.email == email)):
        raise Conflict("email_taken", f"“{email}” already has an account.", field="email")
    account = Account(
        id=new_id(),
        email=email,
        name=name.strip()[:255] or email,
        password_hash=password_hash,
        tenant_id=tenant_id,
        role=role,
        created_at=now,
    )
    session.add(account)
    session.flush()
    _record(session, "account.create", account, actor, now, role=role)
    return account


def _create(
    session: Session,
    tenant_id: int | None,
    email: str,
    name: str,
    password: str,
    *,
    role: Role,
    actor: str,
    now: datetime,
) -> Account:
    address = checked_email(email)
    check_role(role, is_staff=tenant_id is None)
    password_hash = passwords.make_hash(password, address)
    return add(session, tenant_id, address, name, password_hash, role=role, actor=actor, now=now)


def _record(session: Session, act: str, account: Account, actor: str, now: datetime, **details: Any) -> None:
    session.flush()
    subject = f"account:{account.email}"
    audit.record(session, actor, act, subject, now=now, tenant_id=account.tenant_id, **details)

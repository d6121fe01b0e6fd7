"""A new password for whoever reads the account's mail, and a new address once its mail was read."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.core.ids import new_id
from app.db import run_in_transaction
from app.domain.accounts import links, passwords, service as accounts, sign_in, throttle
from app.domain.accounts.links import Purpose
from app.domain.accounts.models import Account, MailedLink
from app.domain.audit import service as audit
from app.domain.jobs import service as jobs

RESET = "account.reset"  # a job: looks whether there is such an account
MOST_RESETS = 10  # to one address within the throttle's window: each is a mail to somebody
ASKER = "sign-in page"  # in the audit trail: whoever typed the address


def ask_reset(session: Session, email: str, *, address: str, now: datetime) -> None:
    """Ask for a link by which to choose a new password. Raises Throttled. Commits by itself.

    The same work whether or not somebody has that address: the worker looks, when nobody waits any more.
    """
    name, place = sign_in.normal_email(email), throttle.network_of(address)
    who = f"reset {name}"  # counted by itself: whoever guesses passwords does not keep the owner from a new one
    throttle.refuse_if_throttled(session, who, place, now, most=MOST_RESETS)
    throttle.count_attempt(who, place, now, most=MOST_RESETS)
    payload = {"email": name, "address": place}
    run_in_transaction(lambda act: jobs.enqueue(act, RESET, f"{RESET}/{new_id()}", payload, now=now))


def begin_reset(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """The job: a link for the account of that address, if there is one that may sign in."""
    account = session.scalar(select(Account).where(Account.email == payload["email"], Account.disabled_at.is_(None)))
    if account is not None:
        links.make(session, Purpose.RESET, account.email, account=account, asked_by=ASKER, now=now)
        _record(session, "account.reset_asked", account, ASKER, now, from_address=payload["address"])


def reset_password(session: Session, token: str, new: str, *, now: datetime) -> None:
    """Choose the new password; every sign-in of the account ends, and so do its other links. Commits by itself.

    Raises NotFound (`link_over`) and Invalid (field `new`).
    """
    email = links.find(session, Purpose.RESET, token, now=now).email
    new_hash = passwords.make_hash(new, email)
    session.rollback()

    def act(unit: Session) -> None:
        used = links.use(unit, Purpose.RESET, token, now=now)
        sign_in.set_password(unit, _account_of(used), new_hash, actor=email, now=now)

    run_in_transaction(act)


def ask_new_email(session: Session, email: str, password: str, new: str, *, address: str, now: datetime) -> None:
    """Send a link to the new address, and word of it to the one in use. Commits by itself.

    Raises Invalid (field `email` or `current`) and Throttled. Whether the new address has an account is told to its
    owner alone.
    """
    wanted = accounts.checked_email(new)
    if wanted == email:
        raise Invalid("same_email", "This is your address already.", field="email")

    def act(unit: Session, account: Account) -> None:
        links.withdraw(unit, MailedLink.account_id == account.id, MailedLink.purpose == Purpose.EMAIL, now=now)
        links.make(unit, Purpose.EMAIL, wanted, account=account, asked_by=email, now=now)
        links.tell(unit, email, "email_asked", now=now, new=wanted)
        _record(unit, "account.email_asked", account, email, now, after=wanted)

    sign_in.with_password(session, email, password, act, address=address, now=now)


def confirm_email(session: Session, token: str, *, now: datetime) -> str:
    """Put the new address in place and tell the old one; returns the new one.

    Raises NotFound (`link_over`) and Conflict (`email_taken`).
    """
    used = links.use(session, Purpose.EMAIL, token, now=now)
    account = session.get_one(Account, _account_of(used))
    if session.scalar(select(Account.id).where(Account.email == used.email)):
        raise Conflict("email_taken", f"“{used.email}” already has an account.", field="email")
    before, account.email = account.email, used.email
    session.flush()
    links.withdraw(session, MailedLink.account_id == account.id, now=now)  # what went to the old address
    links.tell(session, before, "email_changed", now=now, new=account.email)
    _record(session, "account.email", account, before, now, changed={"email": [before, account.email]})
    return account.email


def _account_of(link: MailedLink) -> int:
    assert link.account_id is not None  # a constraint of the table
    return link.account_id


def _record(session: Session, act: str, account: Account, actor: str, now: datetime, **details: Any) -> None:
    subject = f"account:{account.email}"
    audit.record(session, actor, act, subject, now=now, tenant_id=account.tenant_id, **details)

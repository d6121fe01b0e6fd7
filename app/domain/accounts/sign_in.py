"""Signing in with a password, saying it again, and changing it."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Invalid, Throttled
from app.db import run_in_transaction
from app.domain.accounts import links, passwords
from app.domain.accounts.models import Account, MailedLink
from app.domain.accounts.sessions import end_all
from app.domain.accounts.throttle import accept_attempt, count_attempt, network_of, refuse_if_throttled
from app.domain.audit import service as audit

REFUSED = "account.sign_in_refused"
NOTED_EVERY = timedelta(minutes=1)  # of refusals by the throttle


def normal_email(email: str) -> str:
    """The address as it is kept and compared: lower case, without the blanks around it."""
    return email.replace("\0", "").strip().lower()[:255]


def authenticate(session: Session, email: str, password: str, *, address: str, now: datetime) -> Account:
    """The account of this address and password.

    Raises Invalid (`wrong_credentials`) for a wrong, unknown or disabled one alike, and Throttled.
    Commits by itself: the attempt counts before the password is looked at, so that parallel guesses
    cannot slip through together. Not to be called inside a unit of work.
    """
    name, place = normal_email(email), network_of(address)
    try:
        return _authenticate(session, name, password, place, now)
    except (Invalid, Throttled) as error:
        code = error.code
        run_in_transaction(lambda act: note_refused(act, name, code, now))
        raise


def note_refused(session: Session, name: str, code: str, now: datetime) -> None:
    """What was typed stands in the trail only where it is an address we know: people type passwords there, too."""
    known = session.execute(select(Account.email, Account.tenant_id).where(Account.email == name)).first()
    actor, tenant_id = known or ("unknown", None)
    if code == "too_many_attempts" and audit.was_just(session, actor, REFUSED, since=now - NOTED_EVERY):
        return  # whoever is told to wait and goes on cannot fill the disk
    audit.record(session, actor, REFUSED, f"account:{actor}", now=now, tenant_id=tenant_id, reason=code)


def _authenticate(session: Session, name: str, password: str, place: str, now: datetime) -> Account:
    refuse_if_throttled(session, name, place, now)
    session.rollback()  # hold no connection while waiting for a turn
    with passwords.turn():
        attempt_id = count_attempt(name, place, now)
        account = session.scalar(select(Account).where(Account.email == name, Account.disabled_at.is_(None)))
        known = account.password_hash if account else None
        fits, stronger = passwords.verify(password, known)
    if account is None or not fits:
        raise _refusal()
    account_id = account.id
    return run_in_transaction(lambda act: _accept(act, account_id, known, attempt_id, stronger, now))


def _accept(
    session: Session, account_id: int, known: str | None, attempt_id: int, stronger: str | None, now: datetime
) -> Account:
    account = unchanged(session, account_id, known)
    accept_attempt(session, attempt_id, now)
    if stronger:
        account.password_hash = stronger
    return account


def unchanged(session: Session, account_id: int, known: str | None) -> Account:
    """The account, kept as it is until the commit. Raises Invalid (`wrong_credentials`) where it was closed or got
    another password since the `known` hash was read: to check one takes a while, and a second factor longer.
    """
    same = (Account.id == account_id, Account.password_hash == known, Account.disabled_at.is_(None))
    account = session.scalar(
        select(Account).where(*same).with_for_update(), execution_options={"populate_existing": True}
    )
    if account is None:
        raise _refusal()
    return account


def _refusal() -> Invalid:
    return Invalid("wrong_credentials", "The e-mail address or the password is not right.")


def change_password(
    session: Session, email: str, current: str, new: str, *, address: str, keep: str, now: datetime
) -> None:
    """Change one's own password and sign out everywhere but in the browser whose token is `keep`.

    Raises Invalid (field `current` or `new`) and Throttled: guesses of the current password count as
    attempts to sign in. Commits by itself.
    """
    new_hash = passwords.make_hash(new, normal_email(email))

    def change(unit: Session, account: Account) -> None:
        set_password(unit, account.id, new_hash, actor=email, now=now, keep=keep)

    with_password(session, email, current, change, address=address, now=now)


def with_password(
    session: Session,
    email: str,
    current: str,
    act: Callable[[Session, Account], object],
    *,
    address: str,
    now: datetime,
) -> None:
    """Do `act` with one's own account once its password was said again, and is still the same. Commits by itself.

    Raises Invalid (field `current`) and Throttled: guesses count as attempts to sign in.
    """
    try:
        found = authenticate(session, email, current, address=address, now=now)
        account_id, known = found.id, found.password_hash
        run_in_transaction(lambda unit: act(unit, unchanged(unit, account_id, known)))
    except Invalid as error:
        if error.code != "wrong_credentials":
            raise
        raise Invalid("wrong_password", "This is not your current password.", field="current") from error


def set_password(
    session: Session, account_id: int, new_hash: str, *, actor: str, now: datetime, keep: str = ""
) -> None:
    """Put the new hash in place, end every sign-in but `keep`, close the links to choose another one, and say so."""
    account = session.get_one(Account, account_id)
    account.password_hash = new_hash
    session.flush()  # the row is locked from here on: nobody signs in behind the end of all sign-ins
    links.withdraw(session, MailedLink.account_id == account_id, now=now)
    end_all(session, account_id, now=now, but=keep)
    links.tell(session, account.email, "password", now=now)
    audit.record(session, actor, "account.password", f"account:{account.email}", now=now, tenant_id=account.tenant_id)

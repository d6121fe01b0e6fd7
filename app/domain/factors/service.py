"""The second factor of an account: set up, proven, taken away. The front door of this package."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import exists, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound, Throttled
from app.db import db, run_in_transaction
from app.domain.accounts import sessions, sign_in, throttle
from app.domain.accounts.links import tell
from app.domain.accounts.models import Account
from app.domain.audit import service as audit
from app.domain.factors import passkeys, recovery, totp
from app.domain.factors.models import Passkey, Totp
from app.domain.factors.passkeys import Ceremony

T = TypeVar("T")
MOST_FAILURES = 10  # for an account, from wherever they come: six digits bear fewer guesses than a password


@dataclass(frozen=True, slots=True)
class Factors:
    """What an account has: `app` is None without an authenticator app, `codes_left` counts unused recovery codes."""

    app: Totp | None
    passkeys: list[Passkey]
    codes_left: int

    @property
    def any(self) -> bool:
        """True when signing in takes more than the password."""
        return bool(self.app or self.passkeys)


def factors_of(session: Session, account_id: int) -> Factors:
    """What this account has set up. Three statements."""
    app = totp.find(session, account_id)
    return Factors(
        app if app and app.confirmed_at else None,
        passkeys.list_of(session, account_id),
        recovery.left(session, account_id),
    )


def add_totp(
    session: Session, account_id: int, code: str, *, secret_key: str, actor: str, now: datetime
) -> list[str] | None:
    """Let the drafted app count. Returns recovery codes to show once, with the first factor of an account alone."""
    totp.confirm(session, account_id, code, secret_key=secret_key, now=now)
    return _added(session, account_id, "account.totp_add", actor, now)


def add_passkey(
    session: Session, where: Ceremony, account_id: int, answer: str, name: str, *, actor: str, now: datetime
) -> list[str] | None:
    """Keep a new passkey; returns as `add_totp`, raises as `passkeys.register`."""
    passkeys.register(session, where, account_id, answer, name, now=now)
    return _added(session, account_id, "account.passkey_add", actor, now, name=name)


def remove_totp(session: Session, account_id: int, *, actor: str, now: datetime) -> None:
    """Take the app away; doing it twice is doing it once."""
    if totp.remove(session, account_id):
        _removed(session, account_id, "account.totp_remove", actor, now)


def remove_passkey(session: Session, account_id: int, passkey_id: int, *, actor: str, now: datetime) -> str:
    """Take one passkey away and return its name. Raises NotFound."""
    name = passkeys.remove(session, account_id, passkey_id)
    if name is None:
        raise NotFound("unknown_passkey", "There is no such passkey.")
    _removed(session, account_id, "account.passkey_remove", actor, now, name=name)
    return name


def new_recovery_codes(session: Session, account_id: int, *, actor: str, now: datetime) -> list[str]:
    """A new set in place of the old one, to be shown once. Raises Conflict `no_factor` where nothing needs recovery."""
    if not factors_of(session, account_id).any:
        raise Conflict("no_factor", "Recovery codes come with a second factor. Set one up first.")
    codes = recovery.replace(session, account_id, now=now)
    _record(session, account_id, "account.recovery_codes", actor, now)
    return codes


def reset(session: Session, account: Account, *, actor: str, now: datetime) -> None:
    """Take everything away from somebody who lost it, and end all their sign-ins: the password alone opens again."""
    totp.remove(session, account.id)
    passkeys.remove_all(session, account.id)
    recovery.remove(session, account.id)
    _note_on_account(session, account.id)
    sessions.end_all(session, account.id, now=now)
    _record(session, account.id, "account.factor_reset", actor, now)


def prove(account_id: int | None, spend: Callable[[Session], T], *, address: str, now: datetime) -> T:
    """What `spend` returns, which accepts a proof of this account, or of any by a passkey, or raises Invalid.

    Commits by itself: the try counts as failed before it is looked at, as with passwords, so that parallel guesses
    cannot slip through together. Raises Throttled. Not to be called inside a unit of work.
    """
    try:
        return _prove(account_id, spend, throttle.network_of(address), now)
    except (Invalid, Throttled) as error:
        code = error.code
        run_in_transaction(lambda session: _note_refused(session, account_id, code, now))
        raise


def _prove(account_id: int | None, spend: Callable[[Session], T], place: str, now: datetime) -> T:
    who = f"factor of {account_id}" if account_id else f"passkey from {place}"
    throttle.refuse_if_throttled(db.session(), who, place, now, most=MOST_FAILURES)
    attempt_id = throttle.count_attempt(who, place, now, most=MOST_FAILURES)

    def act(session: Session) -> T:
        found = spend(session)
        throttle.accept_attempt(session, attempt_id, now)
        return found

    return run_in_transaction(act)


def _note_refused(session: Session, account_id: int | None, code: str, now: datetime) -> None:
    email = session.get_one(Account, account_id).email if account_id else ""
    sign_in.note_refused(session, email, code, now)


def spend_recovery_code(session: Session, account_id: int, code: str, *, now: datetime) -> int:
    """Accept a recovery code, once; returns how many are left. Raises Invalid `wrong_code`."""
    recovery.spend(session, account_id, code, now=now)
    left = recovery.left(session, account_id)
    email = session.get_one(Account, account_id).email
    _record(session, account_id, "account.recovery_use", email, now, left=left)
    return left


def _added(session: Session, account_id: int, act: str, actor: str, now: datetime, **details: str) -> list[str] | None:
    _note_on_account(session, account_id)
    _record(session, account_id, act, actor, now, **details)
    return None if recovery.left(session, account_id) else recovery.replace(session, account_id, now=now)


def _removed(session: Session, account_id: int, act: str, actor: str, now: datetime, **details: str) -> None:
    _record(session, account_id, act, actor, now, **details)
    if not _note_on_account(session, account_id):
        recovery.remove(session, account_id)  # with the last factor nothing is left to recover


def _note_on_account(session: Session, account_id: int) -> bool:
    """Bring `Account.has_second_factor` up to date, which every request reads; returns it."""
    # By itself, so that the next statement sees what a change of another factor at the same time has left.
    session.execute(select(Account.id).where(Account.id == account_id).with_for_update())
    has = or_(
        exists().where(Totp.account_id == account_id, Totp.confirmed_at.is_not(None)),
        exists().where(Passkey.account_id == account_id),
    )
    noted = update(Account).where(Account.id == account_id).values(has_second_factor=select(has).scalar_subquery())
    return bool(session.scalar(noted.returning(Account.has_second_factor)))


def _record(session: Session, account_id: int, act: str, actor: str, now: datetime, **details: Any) -> None:
    """In the audit trail, and by mail to the person: a change that was not theirs must not go unseen."""
    session.flush()
    account = session.get_one(Account, account_id)
    audit.record(session, actor, act, f"account:{account.email}", now=now, tenant_id=account.tenant_id, **details)
    change = act.removeprefix("account.")
    tell(session, account.email, "second_factor", now=now, change=change, name=details.get("name", ""))

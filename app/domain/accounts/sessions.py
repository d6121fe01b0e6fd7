"""Sign-ins kept on the server: which browser is whose, since when, until when. Only the hash of their tokens is."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.core.display import Display
from app.core.errors import NotFound
from app.core.statements import as_moment
from app.db import rowcount
from app.domain.accounts.models import MARK_LENGTH, Account, SignIn
from app.domain.accounts.roles import Role
from app.domain.accounts.throttle import network_of
from app.domain.audit import service as audit
from app.driver import read_once

SEEN_EVERY = timedelta(minutes=5)


def open_session(session: Session, account: Account, *, address: str, user_agent: str, now: datetime) -> str:
    """Sign a browser in and return its token: 256 random bits, of which only the SHA-256 is kept."""
    token = secrets.token_urlsafe(32)
    session.add(
        SignIn(
            token_hash=hash_of(token),
            account_id=account.id,
            address=network_of(address),
            user_agent=user_agent.replace("\0", "")[:255],
            created_at=now,
            seen_at=now,
            confirmed_at=now,
        )
    )
    audit.record(
        session, account.email, "account.sign_in", f"account:{account.email}", now=now, tenant_id=account.tenant_id
    )
    session.flush()
    return token


class View(NamedTuple):
    """The tenant whose pages a sign-in of staff looks at; see viewing.py."""

    tenant_id: int
    slug: str
    tenant_name: str
    role: Role
    until: datetime


class FoundSignIn(NamedTuple):
    """Who signed in, as plain values."""

    account_id: int
    email: str
    name: str
    tenant_id: int | None
    role: Role
    seen_at: datetime
    confirmed_at: datetime
    lacks_second_factor: bool  # one is demanded of the role, and the account has none
    view: View | None  # of a tenant's pages, by staff
    display: Display  # the person's choice, else the tenant's; in a view the tenant's alone


# Runs before every page: text costs the driver's work, a statement built by the ORM several times that.
_FIND = """
SELECT a.id, a.email, a.name, a.tenant_id, a.role, s.seen_at, s.confirmed_at,
  NOT a.has_second_factor AND EXISTS (
    SELECT 1 FROM second_factor_demand d WHERE d.of_staff = (a.tenant_id IS NULL) AND d.role = a.role),
  a.locale, a.timezone, a.units, t.locale, t.units,
  s.viewed_tenant_id, s.viewed_as, s.viewed_until, t.slug, t.name
FROM sign_in s JOIN account a ON a.id = s.account_id
  LEFT JOIN tenant t ON t.id = COALESCE(s.viewed_tenant_id, a.tenant_id)
WHERE s.token_hash = :token_hash AND s.ended_at IS NULL AND s.seen_at > :seen_after AND a.disabled_at IS NULL"""


def find_session(token: str, *, now: datetime, idle: timedelta) -> FoundSignIn | None:
    """The sign-in with what is needed of its account, in one statement outside any transaction.

    None once it was ended, unused for `idle`, or the account is disabled: the absence is the answer here.
    """
    for row in read_once(_FIND, {"token_hash": hash_of(token), "seen_after": now - idle}):
        account_id, email, name, tenant_id, role, seen, confirmed, lacks, *shown = row[:13]
        view = _view(now, *row[13:]) if row[13] is not None else None
        return FoundSignIn(
            account_id,
            email,
            name,
            tenant_id,
            Role(role),
            as_moment(seen),
            as_moment(confirmed),
            bool(lacks),
            view,
            _display(*shown, is_viewing=view is not None, is_staff=tenant_id is None),
        )
    return None


def _view(now: datetime, tenant_id: int, role: str, until: datetime | str, slug: str, name: str) -> View | None:
    """The view, unless its time is over."""
    ends_at = as_moment(until)
    return View(tenant_id, slug, name, Role(role), ends_at) if now < ends_at else None


def _display(
    locale: str, zone: str, units: str, tenants_locale: str, tenants_units: str, *, is_viewing: bool, is_staff: bool
) -> Display:
    """Who views as a tenant sees what that tenant's people do; staff have no tenant whose choice would be theirs."""
    if is_viewing:
        return Display(tenants_locale, "", tenants_units)
    if is_staff:
        return Display(locale, zone, units)
    return Display(locale or tenants_locale, zone, units or tenants_units)


def is_due(sign_in: FoundSignIn, now: datetime) -> bool:
    """True when `touch` should be called: a page view writes at most every five minutes."""
    return sign_in.seen_at <= now - SEEN_EVERY


def touch(session: Session, token: str, *, now: datetime) -> None:
    """Note that the browser was seen. Of several requests at once, the first one writes."""
    session.execute(
        update(SignIn)
        .where(SignIn.token_hash == hash_of(token), SignIn.seen_at <= now - SEEN_EVERY)
        .values(seen_at=now)
    )


def note_confirmed(session: Session, token: str, *, now: datetime) -> None:
    """Note that whoever sits at this browser has just proven who they are, again."""
    session.execute(update(SignIn).where(SignIn.token_hash == hash_of(token)).values(confirmed_at=now))


def end_session(session: Session, token: str, *, now: datetime) -> None:
    """Sign one browser out; doing it twice is doing it once."""
    _end(session, SignIn.token_hash == hash_of(token), now=now)


def sign_out(session: Session, token: str, *, now: datetime) -> None:
    """As `end_session`, by the person: an entry in the trail, once."""
    account_id = session.scalar(select(SignIn.account_id).where(SignIn.token_hash == hash_of(token)))
    ended = _end(session, SignIn.token_hash == hash_of(token), now=now)
    if account_id and ended:
        _note_ended(session, account_id, ended, session.get_one(Account, account_id).email, now)


def end_all(session: Session, account_id: int, *, now: datetime, but: str = "") -> int:
    """Sign the account out everywhere, except where the token is `but`. Returns how many were ended."""
    return _end(session, SignIn.account_id == account_id, SignIn.token_hash != hash_of(but), now=now)


def _end(session: Session, *which: ColumnElement[bool], now: datetime) -> int:
    return rowcount(session.execute(update(SignIn).where(*which, SignIn.ended_at.is_(None)).values(ended_at=now)))


def mark_of(token: str) -> str:
    """What names a sign-in to its owner, and opens nothing: the beginning of the token's hash."""
    return hash_of(token)[:MARK_LENGTH]


def sign_ins_of(session: Session, account_id: int, *, now: datetime, idle: timedelta) -> list[SignIn]:
    """Where the account is signed in, the one seen last first."""
    open_ones = (SignIn.account_id == account_id, SignIn.ended_at.is_(None), SignIn.seen_at > now - idle)
    return list(session.scalars(select(SignIn).where(*open_ones).order_by(SignIn.seen_at.desc(), SignIn.token_hash)))


def ended_since(moment: datetime) -> set[str]:
    """The marks of the sign-ins that ended after `moment`, in one statement outside any transaction."""
    statement = "SELECT token_hash FROM sign_in WHERE ended_at > :moment"
    return {token_hash[:MARK_LENGTH] for (token_hash,) in read_once(statement, {"moment": moment})}


def end_own(session: Session, account_id: int, mark: str, *, actor: str, now: datetime) -> None:
    """Sign out the browser of that mark; one that is signed out already changes nothing. Raises NotFound."""
    ones = SignIn.account_id == account_id, func.substr(SignIn.token_hash, 1, MARK_LENGTH) == mark
    if session.scalar(select(SignIn.token_hash).where(*ones)) is None:
        raise NotFound("unknown_sign_in", "You are not signed in there.")
    _note_ended(session, account_id, _end(session, *ones, now=now), actor, now)


def end_others(session: Session, account_id: int, keep: str, *, actor: str, now: datetime) -> int:
    """Sign out everywhere but in the browser whose token is `keep`; returns in how many."""
    ended = end_all(session, account_id, now=now, but=keep)
    _note_ended(session, account_id, ended, actor, now)
    return ended


def _note_ended(session: Session, account_id: int, ended: int, actor: str, now: datetime) -> None:
    if ended:
        account = session.get_one(Account, account_id)
        subject = f"account:{account.email}"
        audit.record(session, actor, "account.sign_out", subject, now=now, tenant_id=account.tenant_id, browsers=ended)


def hash_of(token: str) -> str:
    """What is kept of a sign-in's token."""
    return hashlib.sha256(token.encode()).hexdigest()

"""API keys: `rp_<prefix>_<secret>`, shown once, found by prefix, compared in constant time."""

import hashlib
import hmac
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import case, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.statements import as_json, as_moment
from app.db import db, rowcount, run_in_transaction
from app.domain.accounts.models import ApiKey, Source
from app.domain.accounts.sources import NOBODY, KnownSource
from app.domain.audit import service as audit
from app.domain.tenants.models import Tenant
from app.driver import read_once

SCOPES = ("usage", "calls", "provision", "read")
MAX_LABEL = 100
USE_NOTED_EVERY = timedelta(minutes=1)

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # 256 bits in 62 letters
_NO_HASH = hashlib.sha256(b"").hexdigest()
_refused: dict[tuple[int, str], datetime] = {}  # key and scope: when its refusal was last entered
_noted: dict[int, datetime] = {}  # when this process last noted the use of a key


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key as it was presented."""

    id: int
    prefix: str
    scopes: tuple[str, ...]
    source: KnownSource  # nobody for a tenant's key
    tenant_id: int | None = None  # whose data alone it reads

    @property
    def actor(self) -> str:
        """Who acts with it, for the audit trail."""
        return f"source {self.source.code}" if self.tenant_id is None else f"key rp_{self.prefix}"


def issue_key(
    session: Session,
    source: Source,
    scopes: Sequence[str],
    *,
    label: str = "",
    expires_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> str:
    """A further key of the source, in the only moment it can be read. `all` stands for every scope.

    The older keys stay valid until they end, so that machines can be moved over one by one.
    Raises Invalid (field `scopes`, `label`, `expires_at`).
    """
    lasting = Lasting(_known_scopes(scopes), label, expires_at)
    return _issue(session, lasting, actor, now, source=source).plain


def issue_tenant_key(
    session: Session, tenant: Tenant, *, label: str = "", expires_at: datetime | None = None, actor: str, now: datetime
) -> str:
    """A key that reads what is the tenant's, and nothing else. Raises Invalid (field `label`, `expires_at`)."""
    return _issue(session, Lasting(["read"], label, expires_at), actor, now, tenant=tenant).plain


@dataclass(frozen=True, slots=True)
class Lasting:
    """What a key keeps when it is exchanged."""

    scopes: list[str]
    label: str
    expires_at: datetime | None


class Issued(NamedTuple):
    """A new key, and how it reads in full."""

    key: ApiKey
    plain: str


def _issue(
    session: Session,
    lasting: Lasting,
    actor: str,
    now: datetime,
    *,
    source: Source | None = None,
    tenant: Tenant | None = None,
) -> Issued:
    label = lasting.label.strip()
    if len(label) > MAX_LABEL or "\0" in label:
        raise Invalid("invalid_label", f"Use at most {MAX_LABEL} characters.", field="label")
    _check_end(lasting.expires_at, now)
    prefix, secret = secrets.token_hex(5), "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    key = ApiKey(
        id=new_id(), prefix=prefix, secret_hash=_hash(secret), scopes=lasting.scopes, created_at=now,
        label=label, expires_at=lasting.expires_at,
        source_id=source.id if source else None, tenant_id=tenant.id if tenant else None,
    )  # fmt: skip
    key.source, key.tenant = source, tenant
    session.add(key)
    session.flush()
    until = {"expires_at": _in_text(lasting.expires_at)} if lasting.expires_at else {}
    _note(session, "key.issue", key, actor, now, scopes=lasting.scopes, **until)
    return Issued(key, f"rp_{prefix}_{secret}")


def find_key(session: Session, prefix: str, *, source: Source | None = None, tenant_id: int | None = None) -> ApiKey:
    """The key of this prefix: the source's, the tenant's, or anybody's. Raises NotFound."""
    statement = select(ApiKey).where(ApiKey.prefix == prefix)
    if source:
        statement = statement.where(ApiKey.source_id == source.id)
    if tenant_id is not None:
        statement = statement.where(ApiKey.tenant_id == tenant_id)
    key = session.scalar(statement)
    if key is None:
        raise NotFound("unknown_key", f"There is no key {prefix} here.")
    return key


def revoke_key(session: Session, key: ApiKey, *, actor: str, now: datetime) -> None:
    """Refuse the key from now on; doing it twice is doing it once."""
    if key.revoked_at is not None:
        return
    key.revoked_at = max(now, key.created_at)
    session.flush()
    _note(session, "key.revoke", key, actor, now)


def change_end(session: Session, key: ApiKey, expires_at: datetime | None, *, actor: str, now: datetime) -> None:
    """Let the key end then, or never (None). The same again changes nothing.

    Raises Invalid (field `expires_at`) for the past and Conflict (`key_ended`) for a key that has ended.
    """
    before = key.expires_at
    if expires_at == before:
        return
    _check_end(expires_at, now)
    _change_valid(session, key, now, {"expires_at": expires_at})
    _note(session, "key.end", key, actor, now, changed={"expires_at": [_in_text(before), _in_text(expires_at)]})


def rotate_key(session: Session, key: ApiKey, overlap: timedelta, *, actor: str, now: datetime) -> str:
    """A new key that may what the old one may and lasts as long; the old one ends after `overlap`, at the latest.

    Raises Conflict (`key_ended`) for a key that opens nothing any more, or whose replacement was issued already.
    """
    lasts = key.expires_at - key.created_at if key.expires_at else None
    lasting = Lasting(list(key.scopes), key.label, now + lasts if lasts else None)
    new = _issue(session, lasting, actor, now, source=key.source, tenant=key.tenant)
    before, ends_at = key.expires_at, now + overlap
    at_the_latest = case((ApiKey.expires_at < ends_at, ApiKey.expires_at), else_=ends_at)
    _change_valid(session, key, now, {"expires_at": at_the_latest, "replaced_by": new.key.prefix})
    changed = {"expires_at": [_in_text(before), _in_text(key.expires_at)]}
    _note(session, "key.rotate", key, actor, now, replaced_by=new.key.prefix, changed=changed)
    return new.plain


def _change_valid(session: Session, key: ApiKey, now: datetime, values: dict[str, Any]) -> None:
    """Change a key that opens something and was not exchanged: of two clicks at once the second changes nothing."""
    is_valid = ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    not_yet = (ApiKey.replaced_by.is_(None),) if "replaced_by" in values else ()
    changed = session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, *is_valid, *not_yet)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise Conflict("key_ended", "This key has ended, or was exchanged already.")
    session.refresh(key)


def _check_end(expires_at: datetime | None, now: datetime) -> None:
    if expires_at and expires_at <= now:
        raise Invalid("invalid_expiry", "A key ends in the future.", field="expires_at")


def _in_text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _note(session: Session, act: str, key: ApiKey, actor: str, now: datetime, **details: Any) -> None:
    subject = f"source:{key.source.code}" if key.source else f"tenant:{key.tenant.slug if key.tenant else ''}"
    if key.label:
        details["label"] = key.label
    audit.record(session, actor, act, subject, now=now, tenant_id=key.tenant_id, prefix=key.prefix, **details)


_BY_PREFIX = """
SELECT k.id, k.secret_hash, k.scopes, k.used_at, k.revoked_at, k.expires_at, k.tenant_id, s.id, s.code, s.settings
FROM api_key k LEFT JOIN source s ON s.id = k.source_id WHERE k.prefix = :prefix"""


def verify_key(session: Session, presented: str, now: datetime) -> KnownKey | None:
    """What the key opens, in one statement outside any transaction, or None for a wrong or ended one.

    An unknown prefix costs the same comparison as a wrong secret. Notes the use in a transaction of
    its own, at most once a minute; nothing is noted inside a unit of work.
    """
    start, _, rest = presented.partition("_")
    prefix, _, secret = rest.partition("_")
    readable = prefix.isascii() and prefix.isalnum()
    found = next(iter(read_once(_BY_PREFIX, {"prefix": prefix}) if readable else ()), None)
    same = hmac.compare_digest(_hash(secret), found[1] if found else _NO_HASH)
    if found is None or not same or start != "rp":
        return None
    key_id, _, scopes, used_at, revoked_at, expires_at, tenant_id, source_id, code, settings = found
    if any(at and as_moment(at) <= now for at in (revoked_at, expires_at)):
        return None
    _note_use(session, key_id, used_at and as_moment(used_at), now)
    source = KnownSource(source_id, code, as_json(settings)) if tenant_id is None else NOBODY
    return KnownKey(key_id, prefix, tuple(as_json(scopes)), source, tenant_id)


def verify_basic(session: Session, username: str, password: str, now: datetime) -> KnownKey | None:
    """As `verify_key`, for HTTP Basic: the user name must be the code of the key's source."""
    key = verify_key(session, password, now)
    if key is None or not hmac.compare_digest(username.encode(), key.source.code.encode()):
        return None
    return key


def _note_use(session: Session, key_id: int, used_at: datetime | None, now: datetime) -> None:
    noted = max((at for at in (used_at, _noted.get(key_id)) if at), default=None)
    if noted and now - noted < USE_NOTED_EVERY:
        return
    if session.in_transaction() and session.connection().get_execution_options().get("writes"):
        return  # a second writer of this thread would wait for the first for ever
    _noted[key_id] = now
    try:
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))
    except SQLAlchemyError:
        _noted.pop(key_id, None)  # a remark for people; the request it came with goes on


def note_refused(key: KnownKey, scope: str, path: str, now: datetime) -> None:
    """Enter that the key lacks the scope: of each key and scope at most once a minute in a process. Commits."""
    last = _refused.get((key.id, scope))
    if last and now - last < USE_NOTED_EVERY:
        return
    _refused[key.id, scope] = now
    subject = f"page:{path}"

    def enter(session: Session) -> None:
        audit.record(
            session, key.actor, "permission.refuse", subject, now=now, tenant_id=key.tenant_id, permission=scope
        )

    run_in_transaction(enter)


def _known_scopes(scopes: Sequence[str]) -> list[str]:
    if unknown := sorted(set(scopes) - {*SCOPES, "all"}):
        raise Invalid("unknown_scope", f"There is no scope “{unknown[0]}”.", field="scopes")
    if not scopes:
        raise Invalid("missing_scope", "Choose at least one scope.", field="scopes")
    return [scope for scope in SCOPES if scope in scopes or "all" in scopes]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()

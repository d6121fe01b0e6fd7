"""Sources and their API keys: `rp_<prefix>_<secret>`, shown once, found by prefix, compared in constant time."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.usage import SourceSettings
from app.db import as_json, as_moment, db, read_once, run_in_transaction
from app.domain.accounts.models import ApiKey, Source
from app.domain.audit import service as audit

SCOPES = ("usage", "calls", "provision", "read")
DIRECTIONS = ("outbound", "inbound", "internal")
CODE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
USE_NOTED_EVERY = timedelta(minutes=1)
DEFAULT_SETTINGS = SourceSettings()

_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 43  # 256 bits in 62 letters
_NO_HASH = hashlib.sha256(b"").hexdigest()
_ZONES = available_timezones()
_refused: dict[tuple[int, str], datetime] = {}  # key and scope: when its refusal was last entered
_noted: dict[int, datetime] = {}  # when this process last noted the use of a key


@dataclass(frozen=True, slots=True)
class KnownSource:
    """The source behind a key."""

    id: int
    code: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A valid key as it was presented."""

    id: int
    scopes: tuple[str, ...]
    source: KnownSource


def create_source(
    session: Session,
    code: str,
    name: str = "",
    *,
    settings: SourceSettings = DEFAULT_SETTINGS,
    actor: str,
    now: datetime,
) -> Source:
    """Add a source. Raises Invalid for a bad field and Conflict (`code_taken`) for a code in use."""
    if not CODE.fullmatch(code):
        raise Invalid("invalid_code", "Use small letters, digits, dots and hyphens, at most 64.", field="code")
    if session.scalar(select(Source.id).where(Source.code == code)):
        raise Conflict("code_taken", f"There is already a source “{code}”.", field="code")
    source = Source(id=new_id(), code=code, name=_name(name or code), settings=_to_json(settings), created_at=now)
    session.add(source)
    session.flush()
    audit.record(session, actor, "source.create", f"source:{code}", now=now)
    return source


def update_source(
    session: Session, source: Source, *, name: str, settings: SourceSettings, actor: str, now: datetime
) -> None:
    """Change the name and how reports are read. Raises Invalid; the same again changes and records nothing."""
    before = {"name": source.name, **source.settings}
    after = {"name": _name(name), **_to_json(settings)}
    changed = {key: [before.get(key), value] for key, value in after.items() if before.get(key) != value}
    if not changed:
        return
    source.name, source.settings = after["name"], _to_json(settings)
    session.flush()
    audit.record(session, actor, "source.update", f"source:{source.code}", now=now, changed=changed)


def settings_of(source: Source | KnownSource) -> SourceSettings:
    """How the source's reports are read; what the row does not say has its default."""
    known = {field.name for field in fields(SourceSettings)}
    values: dict[str, Any] = {name: value for name, value in source.settings.items() if name in known}
    return SourceSettings(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def source_by_code(session: Session, code: str) -> Source:
    """The source with this code. Raises NotFound."""
    source = session.scalar(select(Source).where(Source.code == code))
    if source is None:
        raise NotFound("unknown_source", f"There is no source “{code}”.")
    return source


def issue_key(session: Session, source: Source, scopes: Sequence[str], *, actor: str, now: datetime) -> str:
    """A further key of the source, in the only moment it can be read. `all` stands for every scope.

    The older keys stay valid until they are revoked, so that machines can be moved over one by one.
    Raises Invalid (field `scopes`).
    """
    wanted = _known_scopes(scopes)
    prefix, secret = secrets.token_hex(5), "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    key = ApiKey(
        id=new_id(), source_id=source.id, prefix=prefix, secret_hash=_hash(secret), scopes=wanted, created_at=now
    )
    session.add(key)
    session.flush()
    audit.record(session, actor, "key.issue", f"source:{source.code}", now=now, prefix=prefix, scopes=wanted)
    return f"rp_{prefix}_{secret}"


def find_key(session: Session, source: Source, prefix: str) -> ApiKey:
    """The source's key of this prefix, for revoking. Raises NotFound."""
    key = session.scalar(select(ApiKey).where(ApiKey.source_id == source.id, ApiKey.prefix == prefix))
    if key is None:
        raise NotFound("unknown_key", f"The source “{source.code}” has no key {prefix}.")
    return key


def revoke_key(session: Session, key: ApiKey, *, actor: str, now: datetime) -> None:
    """Refuse the key from now on; doing it twice is doing it once."""
    if key.revoked_at is not None:
        return
    key.revoked_at = max(now, key.created_at)
    session.flush()
    audit.record(session, actor, "key.revoke", f"source:{key.source.code}", now=now, prefix=key.prefix)


_BY_PREFIX = """
SELECT k.id, k.secret_hash, k.scopes, k.used_at, k.revoked_at, s.id, s.code, s.settings
FROM api_key k JOIN source s ON s.id = k.source_id WHERE k.prefix = :prefix"""


def verify_key(session: Session, presented: str, now: datetime) -> KnownKey | None:
    """What the key opens, in one statement outside any transaction, or None for a wrong or revoked one.

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
    key_id, _, scopes, used_at, revoked_at, source_id, code, settings = found
    if revoked_at and as_moment(revoked_at) <= now:
        return None
    _note_use(session, key_id, used_at and as_moment(used_at), now)
    return KnownKey(key_id, tuple(as_json(scopes)), KnownSource(source_id, code, as_json(settings)))


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
    actor = f"source {key.source.code}"
    run_in_transaction(
        lambda act: audit.record(act, actor, "permission.refuse", f"page:{path}", now=now, permission=scope)
    )


def _name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 255:
        raise Invalid("invalid_name", "Give a name of at most 255 characters.", field="name")
    return name


def _to_json(settings: SourceSettings) -> dict[str, Any]:
    if not set(settings.metered_directions) <= set(DIRECTIONS):
        raise Invalid("unknown_direction", "A direction is outbound, inbound or internal.", field="metered_directions")
    if settings.time_zone not in _ZONES:
        raise Invalid("unknown_timezone", f"“{settings.time_zone}” is not a time zone.", field="time_zone")
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}


def _known_scopes(scopes: Sequence[str]) -> list[str]:
    if unknown := sorted(set(scopes) - {*SCOPES, "all"}):
        raise Invalid("unknown_scope", f"There is no scope “{unknown[0]}”.", field="scopes")
    if not scopes:
        raise Invalid("missing_scope", "Choose at least one scope.", field="scopes")
    return [scope for scope in SCOPES if scope in scopes or "all" in scopes]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()

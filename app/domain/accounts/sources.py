"""Sources: the PBXs and tools that report, and how their reports are read."""

import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.core.usage import SourceSettings
from app.domain.accounts.models import Source
from app.domain.audit import service as audit

DIRECTIONS = ("outbound", "inbound", "internal")
CODE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
DEFAULT_SETTINGS = SourceSettings()

_ZONES = available_timezones()


@dataclass(frozen=True, slots=True)
class KnownSource:
    """The source behind a key."""

    id: int
    code: str
    settings: dict[str, Any]


NOBODY = KnownSource(0, "", {})


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
    made = audit.changes({}, {"name": source.name, **source.settings})
    audit.record(session, actor, "source.create", f"source:{code}", now=now, changed=made)
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

"""Look through the sources, and through the keys."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, not_, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.domain.accounts.models import ApiKey, Source


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """Which keys: everybody's in any state, unless it says."""

    tenant_id: int | None = None
    whose: str = ""  # sources, tenants
    state: str = ""  # valid, ended


def list_sources(session: Session) -> list[Source]:
    """Every source by code, its keys with it. Two statements."""
    return list(session.scalars(select(Source).options(selectinload(Source.keys)).order_by(Source.code)))


def matching(query: KeyQuery, now: datetime) -> Select[ApiKey]:
    """The statement of the keys that fit, with whose they are, in no order yet."""
    is_valid = and_(
        or_(ApiKey.revoked_at.is_(None), ApiKey.revoked_at > now),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
    )
    statement = select(ApiKey).options(joinedload(ApiKey.tenant))
    if query.tenant_id is not None:
        statement = statement.where(ApiKey.tenant_id == query.tenant_id)
    if query.whose:
        statement = statement.where(
            ApiKey.source_id.is_not(None) if query.whose == "sources" else ApiKey.tenant_id.is_not(None)
        )
    if query.state:
        statement = statement.where(is_valid if query.state == "valid" else not_(is_valid))
    return statement

"""Look through the sources."""

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.domain.accounts.models import Source


def list_sources(session: Session) -> list[Source]:
    """Every source by code, its keys with it. Two statements."""
    return list(session.scalars(select(Source).options(selectinload(Source.keys)).order_by(Source.code)))

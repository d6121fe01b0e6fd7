"""How far one page of a search reads, so that a filter which hardly anything fits does not read every record."""

from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.metering.models import UsageDay

MOST_READ = 100_000  # records; from a disk that is not warm it takes a second


def reached_day(session: Session, tenant_id: int, start: date | None, most: int, *, backwards: bool) -> date | None:
    """The day on which the records since `start` have become `most`, towards the past or (`backwards`) the present.

    None where there are not so many, or none beyond that day. Without `start` from the newest day on. One statement,
    out of the daily rollup.
    """
    day = UsageDay.day
    order = day if backwards else day.desc()
    by_day = (
        select(day, func.sum(func.sum(UsageDay.records)).over(order_by=order).label("records"))
        .where(UsageDay.tenant_id == tenant_id)
        .group_by(day)
    )
    if start is not None:
        by_day = by_day.where(day >= start if backwards else day <= start)
    read = by_day.cte("read")
    nearest, last = (func.min, func.max) if backwards else (func.max, func.min)
    beyond = read.c.day != select(last(read.c.day)).scalar_subquery()
    found: date | None = session.scalar(select(nearest(read.c.day)).where(read.c.records >= most, beyond))
    return found

"""When a prepaid balance runs low, and when it is spent: told once each time. README.md, "Prepaid"."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.db import rowcount
from app.domain.jobs import service as jobs
from app.domain.metering import prepaid
from app.domain.metering.models import Prepaid
from app.domain.metering.prepaid import EMPTY, FINE, LOW

MAIL = "balance.mail"  # the kind of the job that tells of it
_WORSE = {"": 0, LOW: 1, EMPTY: 2}


def tell(session: Session, *, now: datetime) -> int:
    """Ask for a mail about each balance that is lower than was told; returns how many. That it is better is noted.

    Two statements and what changed; looked at every so often, so that no call and no record waits for it.
    """
    asked = 0
    for tenant_id, purse in sorted(prepaid.purses(session.connection()).items()):
        state = "" if purse.state == FINE else purse.state
        if state == purse.told or not _note(session, tenant_id, purse.told, state):
            continue
        if _WORSE[state] > _WORSE[purse.told]:
            key = f"{MAIL}/{tenant_id}/{state}/{now.isoformat()}"
            asked += jobs.enqueue(session, MAIL, key, {"tenant_id": tenant_id, "state": state}, now=now)
    return asked


def _note(session: Session, tenant_id: int, before: str, after: str) -> bool:
    """Whether this look is the one that noted it."""
    noted = session.execute(
        update(Prepaid)
        .where(Prepaid.tenant_id == tenant_id, Prepaid.told == before)
        .values(told=after)
        .execution_options(synchronize_session=False)
    )
    return rowcount(noted) == 1

"""`flask worker` with two kinds of jobs of the tests' own: run by test_worker.py in processes that it kills."""

import time
from datetime import datetime
from typing import Any

from flask.cli import main
from sqlalchemy.orm import Session

from app import jobs
from app.domain.audit import service as audit


def note(session: Session, payload: dict[str, Any], now: datetime) -> None:
    """Half an effect, a while in which to be killed, and the other half."""
    for half in ("first", "second"):
        audit.record(session, "worker", f"note.{half}", payload["said"], now=now)
        session.flush()
        time.sleep(payload["seconds"])


def refuse(session: Session, payload: dict[str, Any], now: datetime) -> None:
    audit.record(session, "worker", "refuse", "", now=now)
    session.flush()
    raise OSError("not today")


jobs.HANDLERS.update(note=note, refuse=refuse)
main()

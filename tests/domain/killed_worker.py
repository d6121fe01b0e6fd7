"""A worker that does jobs until there are none, and is killed (SIGKILL, by itself) at its n-th statement."""

import os
import signal
import sys
from datetime import timedelta

from sqlalchemy import event

from app import create_app, jobs
from app.db import db
from app.domain.billing import run

run.CHUNK, dies_at = 3, int(sys.argv[1])
seen = 0


def count(*_: object) -> None:
    global seen  # noqa: PLW0603
    seen += 1
    if seen == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)


with create_app().app_context():
    event.listen(db.engine, "before_cursor_execute", count)
    event.listen(db.engine, "commit", count)
    while job := jobs.claim_next(timedelta(milliseconds=1)):
        print(job.key, jobs.perform(job), flush=True)

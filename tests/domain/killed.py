"""Workers that are killed (SIGKILL, by themselves) at their n-th step, one after the other."""

import os
import signal
import sys
from collections.abc import Callable

from sqlalchemy import event

from app import create_app
from app.db import db

Step = Callable[..., None]


def one_after_the_other(work: Callable[[Step], None]) -> None:
    """For each number of the command line a process that does `work(step)` and dies at that step; 0: at none.

    Each is forked off the app as it is made, before it is connected to anything. Every statement and every commit is a
    step, and whatever `work` calls one. Ends with 1 where a process ended otherwise than it should.
    """
    app = create_app()
    for dies_at in map(int, sys.argv[1:]):
        if (child := os.fork()) == 0:
            step = _counted(dies_at)
            with app.app_context():
                event.listen(db.engine, "before_cursor_execute", step)
                event.listen(db.engine, "commit", step)
                work(step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != (-signal.SIGKILL if dies_at else 0):
            sys.exit(f"told to die at {dies_at}: {os.waitstatus_to_exitcode(status)}")


def _counted(dies_at: int) -> Step:
    seen = 0

    def step(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return step

"""A worker that delivers webhooks until there are none, and is killed (SIGKILL, by itself) at its n-th step."""

import os
import signal
import sys
from datetime import timedelta

from sqlalchemy import event

from app import create_app, deliveries, webhooks
from app.db import db, run_in_transaction
from app.domain.webhooks import delivery
from tests.conftest import NOW

dies_at, post = int(sys.argv[1]), webhooks.post
seen = 0


def count(*_: object) -> None:
    global seen  # noqa: PLW0603
    seen += 1
    if seen == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)


def counted_post(*arguments):
    count()
    outcome = post(*arguments)
    count()  # the receiver has it, and nobody has noted that yet
    return outcome


webhooks.post = counted_post
deliveries.utc_now = lambda: NOW
with create_app().app_context():
    event.listen(db.engine, "before_cursor_execute", count)
    event.listen(db.engine, "commit", count)
    lease = timedelta()
    while claimed := run_in_transaction(lambda session: delivery.claim(session, now=NOW, lease=lease)):
        deliveries.deliver(claimed)
        print("delivered", flush=True)

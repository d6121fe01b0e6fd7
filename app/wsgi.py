"""What the server serves: the portal, in a process of its own that is tuned for it."""

import sys

from flask import Flask

from app import create_app, log, memory, one_cpu
from app.db import db
from app.lanes import LANES, Lanes

# A thread that waits for Python's lock asks for it after so long. The 5 ms that are usual made sixteen short requests
# at once switch threads hundreds of times a second, and cost each of them two thirds more CPU.
SWITCH_SECONDS = 0.05


def create_served_app() -> Flask:
    """The portal as `flask serve` runs it."""
    memory.give_back()
    app = create_app()
    log.write_behind()
    with app.app_context():
        lanes = LANES[db.engine.dialect.name]
    app.wsgi_app = Lanes(app.wsgi_app, lanes)  # type: ignore[assignment, method-assign]
    sys.setswitchinterval(SWITCH_SECONDS)
    memory.collect_rarely()
    if app.config["RINGPLAN"].ONE_CPU:
        one_cpu.keep()
    return app

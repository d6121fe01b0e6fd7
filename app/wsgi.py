"""What the server serves: the portal, in a process of its own that is tuned for it."""

import gc
import sys

from flask import Flask

from app import create_app

# A thread that waits for Python's lock asks for it after so long. The 5 ms that are usual made sixteen short requests
# at once switch threads hundreds of times a second, and cost each of them two thirds more CPU.
SWITCH_SECONDS = 0.05
# A batch of a thousand events makes some ten thousand objects, none of them in a cycle: at the usual 700 the collector
# looked through them dozens of times, for a quarter of the batch's CPU.
COLLECT_AFTER = 50_000


def create_served_app() -> Flask:
    """The portal as `flask serve` runs it."""
    app = create_app()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    return app

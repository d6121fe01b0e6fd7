"""What the server serves: the portal, in a process of its own that is tuned for it."""

import ctypes
import gc
import sys
from contextlib import suppress

from flask import Flask

from app import create_app, log

# A thread that waits for Python's lock asks for it after so long. The 5 ms that are usual made sixteen short requests
# at once switch threads hundreds of times a second, and cost each of them two thirds more CPU.
SWITCH_SECONDS = 0.05
# A batch of a thousand events makes some ten thousand objects, none of them in a cycle: at the usual 700 the collector
# looked through them dozens of times, for a quarter of the batch's CPU.
COLLECT_AFTER = 50_000
# What the C library keeps of memory that was freed, for each of its arenas, grows with the largest piece that ever was
# freed, up to 64 MB: with hundreds of threads and bodies of 10 MB that was memory for good. Fixed limits do not grow.
ARENAS = 2
GIVE_BACK_FROM = 256 * 1024  # bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def create_served_app() -> Flask:
    """The portal as `flask serve` runs it."""
    _give_memory_back()
    app = create_app()
    log.write_behind()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    return app


def _give_memory_back() -> None:
    with suppress(AttributeError, OSError):  # another C library has no such options
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, ARENAS)
        library.mallopt(_MMAP_THRESHOLD, GIVE_BACK_FROM)
        library.mallopt(_TRIM_THRESHOLD, GIVE_BACK_FROM)

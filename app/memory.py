"""How a process that lives long deals with memory."""

import ctypes
import gc
from contextlib import suppress

# A batch of a thousand events makes some ten thousand objects, a chunk of a bill run a hundred thousand, none of them
# in a cycle: at the usual 700 the collector looked through them dozens of times, for a quarter of the CPU.
COLLECT_AFTER = 50_000
# What the C library keeps of memory that was freed, for each of its arenas, grows with the largest piece that ever was
# freed, up to 64 MB: with hundreds of threads and bodies of 10 MB that was memory for good. Fixed limits do not grow.
ARENAS = 2
GIVE_BACK_FROM = 256 * 1024  # bytes
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def collect_rarely() -> None:
    """Call once everything is loaded: that stays, and of the rest only many new objects are worth a look."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def give_back() -> None:
    """Call before the threads begin: have the C library return what was freed."""
    with suppress(AttributeError, OSError):  # another C library has no such options
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, ARENAS)
        library.mallopt(_MMAP_THRESHOLD, GIVE_BACK_FROM)
        library.mallopt(_TRIM_THRESHOLD, GIVE_BACK_FROM)

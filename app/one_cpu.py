"""A process whose threads take turns at Python keeps to one CPU, and moves when that one is taken by others.

Threads that pass Python's lock on across CPUs leave warm caches behind and wake a sleeping CPU each time: sixteen short
requests at once cost half as much again as on one CPU. What works without the lock may run `anywhere`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread, get_native_id
from time import monotonic, process_time, sleep

LOOK_SECONDS = 2.0
CROWDED = 0.25  # of a CPU that others take from this process and would not take elsewhere
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

_everywhere: frozenset[int] = frozenset()  # the CPUs that the process may use; empty until it keeps to one of them
_kept_to: frozenset[int] = frozenset()


def keep() -> None:
    """Begin, in a thread of its own; nothing where there is one CPU, or no way to choose among them."""
    global _everywhere, _kept_to  # noqa: PLW0603  a process serves, or it does not
    try:
        may_use = frozenset(os.sched_getaffinity(0))
        looked = _Look(may_use)
    except (AttributeError, OSError, ValueError):  # another system, or one that does not tell
        return
    if len(may_use) > 1:
        _everywhere = _kept_to = may_use
        _move(sorted(may_use)[os.getpid() % len(may_use)])
        Thread(target=_keep_looking, args=(looked,), name="one-cpu", daemon=True).start()


@contextmanager
def anywhere() -> Iterator[None]:
    """Let this thread run on any CPU meanwhile: for long work that needs no lock of Python's."""
    if not _everywhere:
        yield
        return
    _allow(get_native_id(), _everywhere)
    try:
        yield
    finally:
        back_to = None
        while back_to is not _kept_to:  # the others may move while this one comes back
            back_to = _kept_to
            _allow(get_native_id(), back_to)


def best(current: int, busy: Mapping[int, float], own: float) -> int:
    """Where to be: on `current`, unless others keep it much busier than they keep another CPU.

    `busy` are the shares of each CPU that were used, `own` what this process used of `current`.
    """
    others = max(0.0, busy[current] - own)
    idlest = min(busy, key=lambda cpu: (busy[cpu], cpu))
    return idlest if others - busy[idlest] > CROWDED else current


class _Look:
    """What every CPU and this process have used by now, in seconds."""

    def __init__(self, cpus: frozenset[int]) -> None:
        self.at, self.own, self.used = monotonic(), process_time(), dict[int, float]()
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name[3:].isdigit() and name.startswith("cpu") and int(name[3:]) in cpus:
                user, nice, system, _idle, _waits, *rest = map(int, ticks)
                self.used[int(name[3:])] = (user + nice + system + sum(rest[:3])) / _TICK
        if set(self.used) != cpus:
            raise OSError("not all CPUs are told of")


def _keep_looking(before: _Look) -> None:
    while True:
        sleep(LOOK_SECONDS)
        with suppress(OSError, ValueError):
            now = _Look(_everywhere)
            passed = now.at - before.at
            busy = {cpu: (used - before.used[cpu]) / passed for cpu, used in now.used.items()}
            current = next(iter(_kept_to))
            chosen = best(current, busy, (now.own - before.own) / passed)
            before = now
            if chosen != current:
                _move(chosen)


def _move(cpu: int) -> None:
    """All threads that kept to the same CPUs so far; who is `anywhere` follows by itself."""
    global _kept_to
    former, _kept_to = _kept_to, frozenset({cpu})
    for _ in range(2):  # threads may begin meanwhile, where those that began them still are
        for name in os.listdir("/proc/self/task"):
            with suppress(OSError):  # it has ended
                if os.sched_getaffinity(int(name)) == former:
                    _allow(int(name), _kept_to)


def _allow(thread: int, cpus: frozenset[int]) -> None:
    with suppress(OSError):  # it has ended, or a CPU was taken away
        os.sched_setaffinity(thread, cpus)

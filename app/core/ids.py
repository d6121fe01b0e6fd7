"""Time-ordered 64-bit ids made by the application, so that no table needs a sequence."""

import secrets
import threading
import time
from datetime import datetime

MAX_ID = 2**63 - 1  # what the databases keep
_EPOCH_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_RANDOM_BITS = 21  # 42 bits of milliseconds (139 years) above 21 bits, below the sign bit
_lock = threading.Lock()
_last = 0


def new_ids(count: int) -> range:
    """`count` consecutive ids, larger than every id this process made before.

    Two processes may draw the same id in the same millisecond (1 in 2 million); the primary key
    then refuses the second transaction, which is retried with fresh ids.
    """
    global _last  # noqa: PLW0603  a counter of the process is what it is
    fresh = ((time.time_ns() // 1_000_000 - _EPOCH_MS) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
    with _lock:
        first = max(fresh, _last + 1)
        _last = first + count - 1
    return range(first, first + count)


def new_id() -> int:
    """One time-ordered id; see `new_ids`."""
    return new_ids(1)[0]


def first_id(moment: datetime) -> int:
    """Less than every id made at that moment or later, by the clock."""
    return (int(moment.timestamp() * 1000) - _EPOCH_MS) << _RANDOM_BITS

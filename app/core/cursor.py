"""Keyset paging: where the next page begins, as an opaque word."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

MAX_LENGTH = 500
_TYPES: dict[str, Any] = {"d": date.fromisoformat, "t": datetime.fromisoformat, "i": int, "s": str}


def encode_cursor(key: Sequence[int | str | date | datetime] | None) -> str | None:
    """The sort key of the last row shown as a URL-safe word; None stays None.

    A cursor is not secret and not signed: the query it goes into names the tenant itself.
    """
    if key is None:
        return None
    text = json.dumps([_pair(value) for value in key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _pair(value: int | str | date | datetime) -> tuple[str, str]:
    if isinstance(value, datetime):
        return "t", value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return "d", value.isoformat()
    return ("i", str(value)) if isinstance(value, int) else ("s", value)


def decode_cursor(word: str | None, *shape: type) -> tuple[Any, ...] | None:
    """The key inside `word`, or None — the first page — when it is missing, damaged or not of `shape`.

    >>> decode_cursor(encode_cursor((7, "acme")), int, str)
    (7, 'acme')
    >>> decode_cursor("nonsense", int, str) is None
    True
    """
    if not word or len(word) > MAX_LENGTH:
        return None
    try:
        pairs = json.loads(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)))
        key = tuple(_TYPES[kind](text) for kind, text in pairs)
    except (binascii.Error, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    fits = tuple(type(value) for value in key) == shape and all(map(_in_range, key))
    return key if fits else None


def _in_range(value: Any) -> bool:
    """What a database can compare: aware moments, 64-bit numbers, text without NUL."""
    if isinstance(value, datetime):
        return value.tzinfo is not None and 1 < value.year < 9999  # whatever the zone, UTC can write it
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return "\0" not in value if isinstance(value, str) else True

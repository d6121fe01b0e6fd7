"""Destinations that may not be called: the beginnings of phone numbers, as digits. Pure."""

import re
from collections.abc import Iterable

from app.core.errors import Invalid

MOST_PREFIXES = 200
EMERGENCY_DIGITS = 3  # 112, 911, 999: a number this short is never blocked
_NUMBER = re.compile(r"(?:sips?:|tel:)?([0-9+ ()./-]+)(?:[@;].*)?", re.DOTALL)
_PREFIX = re.compile(r"[0-9]{2,15}")  # a single digit would block a tenth of the world


def dialled_digits(number: str) -> str:
    """The digits of a number as it was dialled, without what stands for the plus; nothing for what is no number.

    >>> dialled_digits("+1 (900) 555-01"), dialled_digits("001900555"), dialled_digits("sip:0900555@carrier")
    ('190055501', '1900555', '0900555')
    """
    found = _NUMBER.fullmatch(number)
    return re.sub("[^0-9]", "", found[1]).removeprefix("00") if found else ""


def checked_prefixes(prefixes: Iterable[str]) -> str:
    """`prefixes` as they are kept: digits, each once, in order, with a blank between.

    Raises Invalid (`invalid_prefix`), its field `blocked_prefixes`, for what is no prefix of 2 to 15 digits, and for
    more than MOST_PREFIXES.

    >>> checked_prefixes(["+1900", "0900", "001900"])
    '0900 1900'
    """
    found = {re.sub("^00", "", prefix.removeprefix("+")): prefix for prefix in prefixes}
    wrong = [prefix for digits, prefix in found.items() if not _PREFIX.fullmatch(digits)]
    if wrong:
        raise _invalid(f"“{wrong[0][:40]}” is not the beginning of a phone number of 2 to 15 digits.")
    if len(found) > MOST_PREFIXES:
        raise _invalid(f"At most {MOST_PREFIXES} beginnings of numbers.")
    return " ".join(sorted(found))


def blocking_prefix(number: str, prefixes: str) -> str:
    """The longest of `prefixes` (as `checked_prefixes` gives them) that a dialled number begins with, or nothing.

    >>> blocking_prefix("+1 900 555 0100", "1900 19005"), blocking_prefix("112", "11"), blocking_prefix("alice", "19")
    ('19005', '', '')
    """
    digits = dialled_digits(number)
    if len(digits) <= EMERGENCY_DIGITS:
        return ""
    return max((prefix for prefix in prefixes.split() if digits.startswith(prefix)), key=len, default="")


def _invalid(message: str) -> Invalid:
    return Invalid("invalid_prefix", message, field="blocked_prefixes")

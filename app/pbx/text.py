"""Texts and numbers as every parser here takes them."""

import re

from app.core.quantities import MAX_QUANTITY
from app.core.usage import Unreadable

MAX_TEXT = 255  # of an identity, a tenant reference, a number dialled
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def storable(text: str) -> str:
    """`text` as every database can keep it: a NUL and a lone surrogate are replaced, nothing else changes."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def clean(text: str) -> str:
    """A value for a column of one line: `storable`, without control characters and blank ends."""
    return storable(_CONTROL.sub("", text)).strip()


def is_number(text: str) -> bool:
    """Whether `text` is a plain whole number of a size that is safe to read."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def quantity(text: str, name: str) -> int:
    """A quantity in its base unit. Raises Unreadable `unreadable_quantity` for signs, fractions and nonsense."""
    if not is_number(text) or int(text) > MAX_QUANTITY:
        raise Unreadable("unreadable_quantity", f"{name} is not a quantity: {text[:40]!r}")
    return int(text)

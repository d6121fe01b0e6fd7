"""Phone numbers without their last digits. Pure."""

import re

HIDDEN = 3  # digits; what is left still tells country, network and destination
_PARTS = re.compile(r"((?:sips?|tel):)?([^@;]*)(.*)", re.DOTALL)  # a number, and what an address adds to it


def masked(number: str) -> str:
    """`number` with its last digits as `x`, or its last characters where it is a name; masked twice is masked once.

    >>> masked("+49 30 123456"), masked("sip:4930123@carrier"), masked("101"), masked("alice"), masked("")
    ('+49 30 123xxx', 'sip:4930xxx@carrier', 'xxx', 'alxxx', '')
    >>> masked("+49 30 12-34-56"), masked("7"), masked("4930xxx"), masked("box1"), masked("bxxx")
    ('+49 30 12-3x-xx', 'x', '4930xxx', 'bxxx', 'bxxx')
    """
    scheme, head, tail = _PARTS.match(number).groups("")  # type: ignore[union-attr]  # it matches any text
    is_name = any(sign.isalpha() and sign != "x" for sign in head)
    hidden = [place for place, sign in enumerate(head) if sign.isdigit() or sign == "x" or (is_name and sign.isalpha())]
    signs = list(head)
    for place in hidden[-HIDDEN:]:
        signs[place] = "x"
    return scheme + "".join(signs) + tail

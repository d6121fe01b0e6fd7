"""Which part of a record the package covers. Pure."""

from typing import NamedTuple


class Parts(NamedTuple):
    """The parts of one billed quantity; they sum to it."""

    from_allowance: int
    from_carried: int
    beyond: int


def split(quantity: int, used_before: int, carried_in: int, included: int | None) -> Parts:
    """Split `quantity` that arrives on a meter at `used_before`: carried over burns first, then the allowance.

    All in base units; `included` None is unlimited. Source: README.md, "A straddling record".

    >>> split(100, 950, 0, 1000)
    Parts(from_allowance=50, from_carried=0, beyond=50)
    """
    from_carried = min(quantity, max(0, carried_in - used_before))
    rest = quantity - from_carried
    if included is None:
        return Parts(rest, from_carried, 0)
    allowance_used = max(0, used_before - carried_in)
    from_allowance = min(rest, max(0, included - allowance_used))
    return Parts(from_allowance, from_carried, rest - from_allowance)

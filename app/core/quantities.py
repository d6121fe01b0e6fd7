"""Integers in a resource's base unit, and how a billing step rounds them up."""

MAX_QUANTITY = 10**12  # a bound for input: 30,000 years in seconds


def billed_quantity(measured: int, first: int = 1, step: int = 1) -> int:
    """Base units charged for `measured`: nothing is free of charge, then at least `first`, then whole `step`s.

    Raises ValueError for a negative quantity. Source: app/domain/metering/README.md, "Billing steps".

    >>> [billed_quantity(seconds, 30, 6) for seconds in (0, 1, 30, 31, 36, 37)]
    [0, 30, 30, 36, 36, 42]
    """
    if measured < 0:
        raise ValueError("a measured quantity is never negative")
    if measured == 0:
        return 0
    return first + -(-max(0, measured - first) // step) * step


def whole_steps(quantity: int, first: int = 1, step: int = 1) -> int:
    """The largest billable quantity that fits into `quantity`; 0 where not even the first step does.

    >>> [whole_steps(seconds, 30, 6) for seconds in (-5, 29, 30, 35, 36, 1800)]
    [0, 0, 30, 30, 36, 1800]
    """
    return 0 if quantity < first else first + (quantity - first) // step * step

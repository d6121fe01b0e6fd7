"""What one revision says differently from the one before. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.domain.catalog.specs import LimitSpec, PackageSpec

TERMS = (
    "name", "price_micros", "cost_micros", "setup_fee_micros", "interval", "currency", "public", "tenants_may",
    "blocked_prefixes", "loss_reason",
)  # fmt: skip
OF_LIMIT = ("included", "at_limit", "overage_price_micros", "rollover_periods", "rollover_cap", "unit_cost_micros")


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` is a field of PackageSpec, or one of LimitSpec of `resource`, or its `limit` as a whole.

    `limit` is a limit that came (before is None) or went (after is None); the others carry both values.
    """

    what: str
    before: str | int | bool | LimitSpec | None
    after: str | int | bool | LimitSpec | None
    resource: str = ""


def differences(before: PackageSpec, after: PackageSpec) -> list[Difference]:
    """Every difference, limits first, in the order of the resource codes.

    >>> old = PackageSpec("Gold", limits=(LimitSpec("fax_pages", 100),))
    >>> new = PackageSpec("Gold", limits=(LimitSpec("fax_pages", 120),))
    >>> [(found.resource, found.what, found.before, found.after) for found in differences(old, new)]
    [('fax_pages', 'included', 100, 120)]
    """
    old, new = ({limit.resource: limit for limit in spec.limits} for spec in (before, after))
    codes = sorted(old.keys() | new.keys())
    found = [change for code in codes for change in _of_limit(code, old.get(code), new.get(code))]
    found += [
        Difference(name, getattr(before, name), getattr(after, name))
        for name in TERMS
        if getattr(before, name) != getattr(after, name)
    ]
    return found


def _of_limit(code: str, before: LimitSpec | None, after: LimitSpec | None) -> Iterator[Difference]:
    if before is None or after is None:
        yield Difference("limit", before, after, code)
        return
    for name in OF_LIMIT:
        if getattr(before, name) != getattr(after, name):
            yield Difference(name, getattr(before, name), getattr(after, name), code)

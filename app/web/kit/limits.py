"""A revision's limits in the shape that the words and macros of meters read."""

from dataclasses import dataclass

from app.domain.catalog.models import PackageRevision
from app.domain.metering.meters import MeterView


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView(MeterView):
    """A meter without usage, and what becomes of what is left."""

    rollover_periods: int
    rollover_cap: int | None


def limits_of(revision: PackageRevision) -> list[LimitView]:
    """One for each limit, in display order."""
    limits = sorted(revision.limits, key=lambda limit: (limit.resource.position, limit.resource_code))
    return [
        LimitView(
            resource_code=limit.resource_code,
            name=limit.resource.name,
            kind=limit.resource.kind,
            unit_one=limit.resource.unit_one,
            unit_many=limit.resource.unit_many,
            factor=limit.resource.factor,
            included=limit.included,
            carried_in=0,
            used=0,
            on_hold=0,
            at_limit=limit.at_limit,
            overage_price_micros=limit.overage_price_micros,
            currency=revision.currency,
            rollover_periods=limit.rollover_periods,
            rollover_cap=limit.rollover_cap,
        )
        for limit in limits
    ]

"""A revision's limits in the shape that the words and macros of meters read."""

from app.domain.catalog.models import PackageRevision
from app.domain.metering.meters import MeterView


def limits_of(revision: PackageRevision) -> list[MeterView]:
    """A meter without usage for each limit, in display order."""
    limits = sorted(revision.limits, key=lambda limit: (limit.resource.position, limit.resource_code))
    return [
        MeterView(
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
        )
        for limit in limits
    ]

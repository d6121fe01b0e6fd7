"""What the records of a batch add up to: the rows of the sums that are kept beside them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from app.domain.metering.holds import MeterKey

Groups = Mapping[MeterKey, list[dict[str, Any]]]  # records by their meter


def beyond(groups: Groups) -> list[dict[str, Any]]:
    """What no limit covered, by meter, by what becomes of it and its price; in key order, in which rows are locked."""
    sums: Counter[tuple[*MeterKey, str, int]] = Counter()
    for key, group in groups.items():
        for row in group:
            if row["beyond"]:
                sums[*key, row["beyond_as"], row["beyond_price_micros"]] += row["beyond"]
    names = ("tenant_id", "resource_code", "period_on", "beyond_as", "price_micros", "quantity")
    return [dict(zip(names, (*key, quantity), strict=True)) for key, quantity in sorted(sums.items())]


def days(groups: Groups) -> list[dict[str, Any]]:
    """Quantity and number of the records, by tenant, local day and resource; in key order."""
    quantities: Counter[tuple[int, str, str]] = Counter()
    records: Counter[tuple[int, str, str]] = Counter()
    for (tenant_id, code, _), group in groups.items():
        for row in group:
            key = (tenant_id, row["day"], code)
            quantities[key] += row["quantity"]
            records[key] += 1
    return [
        {"tenant_id": key[0], "day": key[1], "resource_code": key[2], "quantity": quantities[key], "records": number}
        for key, number in sorted(records.items())
    ]

"""What a prepaid tenant can still spend on what lies beyond its package. README.md, "Prepaid".

Left is what is to its credit, less what was used and is not billed yet, less what calls in progress may come to. Only
the credit is kept; the rest is read off the meters, so that a record counts by being one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.orm import Session

from app import driver
from app.core.money import price_of
from app.db import insert_new
from app.domain.metering import call_store
from app.domain.metering.call_store import LimitedMeter
from app.domain.metering.models import Prepaid
from app.domain.metering.statement import minor_unit_micros

PER_MILLION = 1_000_000
EMPTY, LOW, FINE = "empty", "low", "fine"


class Place(NamedTuple):
    """Where units beyond a limit are billed: one line of the next invoice."""

    resource_code: str
    period_on: date
    price_micros: int  # per display unit of `factor` base units
    factor: int


@dataclass(frozen=True, slots=True)
class Purse:
    """A prepaid tenant's money as it stands. `used` and `on_hold` are base units beyond limits, not billed yet."""

    currency: str
    credit_micros: int  # below zero: it owes
    tax_ppm: int
    low_micros: int
    told: str  # the state that its readers were last told of
    used: Mapping[Place, int]
    on_hold: Mapping[Place, int]

    @property
    def spent_micros(self) -> int:
        """What was used and is not billed yet, tax and all."""
        return self._cost(self.used)

    @property
    def held_micros(self) -> int:
        """What calls in progress may come to."""
        return self._cost(self._reserved()) - self.spent_micros

    @property
    def left_micros(self) -> int:
        """What can still be spent; below zero where more was used than was paid in."""
        return self.credit_micros - self._cost(self._reserved())

    @property
    def state(self) -> str:
        """`empty`, `low` or `fine`."""
        if self.left_micros <= 0:
            return EMPTY
        return LOW if self.left_micros <= self.low_micros else FINE

    def pays_for(self, place: Place, wanted: int) -> int:
        """The most of `wanted` base units there that what is left pays for, found by halving: rounding is exact so."""
        reserved = self._reserved()
        least, most = 0, wanted
        while least < most:
            middle = (least + most + 1) // 2
            cost = self._cost({**reserved, place: reserved.get(place, 0) + middle})
            least, most = (middle, most) if cost <= self.credit_micros else (least, middle - 1)
        return least

    def _reserved(self) -> dict[Place, int]:
        return {place: self.used.get(place, 0) + self.on_hold.get(place, 0) for place in {*self.used, *self.on_hold}}

    def _cost(self, quantities: Mapping[Place, int]) -> int:
        """Lines rounded as an invoice's are; the tax rounded up, so that the invoice never comes to more."""
        unit = minor_unit_micros(self.currency)
        net = sum(price_of(quantity, at.price_micros, at.factor, unit) for at, quantity in quantities.items())
        return net - net * self.tax_ppm // -(PER_MILLION * unit) * unit


# One statement, for one moment: a record moves what was on hold to what lies beyond.
_PURSES = """
SELECT p.tenant_id, p.currency, p.credit_micros, p.tax_ppm, p.low_micros, p.told,
       e.resource_code, e.period_on, e.price_micros, e.factor, e.beyond, e.used, e.on_hold, e.included
FROM prepaid p
JOIN tenant t ON t.id = p.tenant_id AND t.currency = p.currency
LEFT JOIN (
    SELECT b.tenant_id, b.resource_code, b.period_on, b.price_micros, c.factor, b.quantity AS beyond, 0 AS used,
           0 AS on_hold, 0 AS included
    FROM meter_beyond b JOIN resource c ON c.code = b.resource_code
    WHERE {b} b.beyond_as = 'charge' AND b.quantity <> 0 AND b.period_on >= (
        SELECT min(s.open_from) FROM subscription s
        WHERE s.tenant_id = b.tenant_id AND (s.ended_at IS NULL OR s.open_from < s.ended_at))
    UNION ALL
    SELECT m.tenant_id, m.resource_code, m.period_on, l.overage_price_micros, c.factor, 0, m.used, m.on_hold,
           l.included + m.carried_in
    FROM meter m
    JOIN resource c ON c.code = m.resource_code AND c.kind = 'metered'
    JOIN subscription s ON s.tenant_id = m.tenant_id AND s.ended_at IS NULL AND s.status <> 'trial'
    JOIN package g ON g.id = s.package_id
    JOIN package_limit l ON l.revision_id = g.revision_id AND l.resource_code = m.resource_code
    WHERE {m} m.on_hold > 0 AND l.at_limit = 'charge' AND l.included IS NOT NULL
) e ON e.tenant_id = p.tenant_id
{where}"""
_PURSE = _PURSES.format(
    b="b.tenant_id = :tenant_id AND", m="m.tenant_id = :tenant_id AND", where="WHERE p.tenant_id = :tenant_id"
)
_ALL_PURSES = _PURSES.format(
    b="b.tenant_id IN (SELECT tenant_id FROM prepaid) AND",
    m="m.tenant_id IN (SELECT tenant_id FROM prepaid) AND",
    where="",
)
_LOCK = "UPDATE prepaid SET low_micros = low_micros WHERE tenant_id = :tenant_id"


def lock(connection: Connection, tenant_id: int) -> None:
    """Take the tenant's money for the running transaction: other grants wait until it ends."""
    driver.run(connection, _LOCK, {"tenant_id": tenant_id})


def purse(connection: Connection, tenant_id: int) -> Purse | None:
    """What the tenant can spend now; None where it does not pay in advance. One statement."""
    rows, _ = driver.run(connection, _PURSE, {"tenant_id": tenant_id})
    return _purses(rows).get(tenant_id)


def purses(connection: Connection) -> dict[int, Purse]:
    """What every prepaid tenant can spend now, by its id. One statement."""
    rows, _ = driver.run(connection, _ALL_PURSES, {})
    return _purses(rows)


def _purses(rows: Iterable[Any]) -> dict[int, Purse]:
    found: dict[int, Purse] = {}
    used: dict[int, dict[Place, int]] = defaultdict(dict)
    on_hold: dict[int, dict[Place, int]] = defaultdict(dict)
    for row in rows:
        mine, held = used[row.tenant_id], on_hold[row.tenant_id]
        found[row.tenant_id] = Purse(row.currency, row.credit_micros, row.tax_ppm, row.low_micros, row.told, mine, held)
        if row.resource_code is None:
            continue  # nothing lies beyond
        place = Place(row.resource_code, row.period_on, row.price_micros, row.factor)
        mine[place] = mine.get(place, 0) + row.beyond
        over = max(0, row.used + row.on_hold - row.included) - max(0, row.used - row.included)
        held[place] = held.get(place, 0) + over
    return found


def limit_by_money(connection: Connection, meter: LimitedMeter, row: object, wanted: int) -> LimitedMeter:
    """The meter as the tenant's money limits it, for taking `wanted`: it blocks where the money ends."""
    if meter.included is None:
        return meter
    standing = call_store.standing(connection, meter)
    taken, covered = standing.used + standing.on_hold, meter.included + standing.carried_in
    beyond = max(0, taken + wanted - max(taken, covered))
    money = purse(connection, meter.tenant_id) if beyond else None
    place = Place(meter.resource_code, meter.period_on, row.overage_price_micros, row.factor)  # type: ignore[attr-defined]
    paid = money.pays_for(place, beyond) if money else 0
    return replace(meter, included=max(taken, covered) - standing.carried_in + paid, at_limit="block")


def keep(session: Session, tenant_id: int, currency: str, *, credit_micros: int, tax_ppm: int, low_micros: int) -> None:
    """Let the tenant pay in advance from now on, or change how."""
    values = {"currency": currency, "credit_micros": credit_micros, "tax_ppm": tax_ppm, "low_micros": low_micros}
    insert_new(session, Prepaid, [{"tenant_id": tenant_id, **values}], [Prepaid.tenant_id])
    session.execute(update(Prepaid).where(Prepaid.tenant_id == tenant_id).values(**values))


def drop(session: Session, tenant_id: int) -> None:
    """Let the tenant pay afterwards."""
    session.execute(delete(Prepaid).where(Prepaid.tenant_id == tenant_id))


def add_credit(session: Session, amounts: Iterable[tuple[int, str, int]]) -> None:
    """Add (tenant, currency, micros) to what prepaid tenants have to their credit. Takes their rows in order."""
    by_tenant = {(tenant_id, currency): micros for tenant_id, currency, micros in amounts if micros}
    if not by_tenant:
        return
    ids = {tenant_id for tenant_id, _ in by_tenant}
    known = session.execute(
        select(Prepaid.tenant_id, Prepaid.currency).where(Prepaid.tenant_id.in_(ids)).order_by(Prepaid.tenant_id)
    ).all()
    rows = [{"of_tenant": each[0], "micros": by_tenant[each[0], each[1]]} for each in known if tuple(each) in by_tenant]
    if rows:
        table = Prepaid.__table__
        session.connection().execute(
            update(table)  # type: ignore[arg-type]  # a Table, which mypy sees as a FromClause
            .where(table.c.tenant_id == bindparam("of_tenant"))
            .values(credit_micros=table.c.credit_micros + bindparam("micros")),
            rows,
        )


def set_tax(session: Session, tenant_ids: Iterable[int], tax_ppm: int) -> None:
    """The tax on what these tenants use is another one now."""
    ids = list(tenant_ids)
    if ids:
        session.execute(update(Prepaid).where(Prepaid.tenant_id.in_(ids)).values(tax_ppm=tax_ppm))

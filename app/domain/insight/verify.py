"""Recount every invariant from the rows and name what differs. Reads, never writes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Date, TextClause, bindparam, text
from sqlalchemy.orm import Session

from app.db import UtcDateTime
from app.domain.audit import chain
from app.domain.insight import invariants, money_invariants
from app.domain.insight.invariants import OVERDUE, Check
from app.domain.metering import opening
from app.domain.metering.models import NO_PERIOD
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

CHUNK = 500  # differences read at once
CARRIED_IN = "carried_in"  # what lives on is no sum: it is recounted period by period
TENANT_NAMES = "tenant_names"  # in lower case as Python has it, not as the database does
AUDIT_CHAIN = "audit_chain"
CHECKS = (*invariants.CHECKS, *money_invariants.CHECKS)
CODES = (*(check.code for check in CHECKS), CARRIED_IN, TENANT_NAMES, AUDIT_CHAIN)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an invariant does not hold. `expected` is recounted from the rows, `found` is what is kept of them."""

    check: str  # code of the invariant
    tenant: str  # slug; empty for what belongs to nobody
    resource: str
    period: str  # its first day, ISO 8601
    what: str  # the row, where it is one
    expected: int
    found: int

    def __str__(self) -> str:
        """`meter_used: acme voice_minutes 2026-11-01: expected 120, found 130`."""
        place = " ".join(filter(None, (self.tenant, self.resource, self.period, self.what)))
        return f"{self.check}: {place}: expected {self.expected}, found {self.found}"


def differences(session: Session, *, now: datetime) -> Iterator[Difference]:
    """Everything that differs, as it is found: a statement for each invariant, over all tenants.

    What is carried from period to period takes four statements for each tenant and resource that has rollover.

    What is being written meanwhile differs by chance unless the transaction sees one moment: see `app.db.snapshot`.
    """
    for check in CHECKS:
        rows = session.execute(_statement(check, now), execution_options={"yield_per": CHUNK})
        for slug, resource, period, what, expected, found in rows:
            yield Difference(check.code, slug or "", resource, period or "", what, int(expected), int(found))
    yield from _carried_in(session)
    for slug, what, wanted, kept in tenants.recount_names(session):
        yield Difference(TENANT_NAMES, slug, "", "", what, wanted, kept)
    if found := chain.first_break(session):
        yield Difference(AUDIT_CHAIN, "", "", "", found.what, found.expected, found.found)


def _carried_in(session: Session) -> Iterator[Difference]:
    for key, expected, found in opening.recount(session.connection()):
        if expected != found:
            slug = session.get_one(Tenant, key.tenant_id).slug
            yield Difference(CARRIED_IN, slug, key.resource_code, key.period_on.isoformat(), "", expected, found)


def _statement(check: Check, now: datetime) -> TextClause:
    statement = text(f"""
WITH differs (tenant_id, resource, period, what, expected, found) AS ({check.sql})
SELECT t.slug, d.resource, CAST(d.period AS TEXT), d.what, d.expected, d.found
FROM differs d LEFT JOIN tenant t ON t.id = d.tenant_id
ORDER BY 1, 2, 3, 4""")  # noqa: S608  the statements are constants of `invariants.py`
    given: dict[str, tuple[Any, Any]] = {
        "no_period": (NO_PERIOD, Date()),
        "overdue_before": (now - OVERDUE, UtcDateTime()),
    }
    wanted = [bindparam(name, value, kind) for name, (value, kind) in given.items() if f":{name}" in check.sql]
    return statement.bindparams(*wanted)

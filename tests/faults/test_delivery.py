"""CDRs come once to five times, in any order, late by up to forty days: the meters are those of once and in order."""

import random
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.core.usage import UsageEvent
from app.db import db, run_in_transaction
from app.domain.catalog.specs import LimitSpec
from app.domain.insight.verify import differences
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Meter, MeterBeyond, UsageDay, UsageRecord
from app.domain.metering.reports import Report
from app.domain.tenants.models import Tenant
from tests.faults.reporters import sized

LIMITS = (
    LimitSpec("voice_minutes", 20_000, "charge", 20_000),
    LimitSpec("fax_pages", 150, rollover_periods=2, rollover_cap=200),
    LimitSpec("sms_messages", 20),
)
DAYS, MOST_LATE = 100, timedelta(days=40)


@pytest.mark.parametrize("seed", range(sized(1, 3)))
def test_late_repeated_and_shuffled_is_the_same_as_once_and_sorted(app: Flask, make, now: datetime, seed: int):
    dice, start = random.Random(seed), now - timedelta(days=DAYS)
    package = make.package("gold", LIMITS)
    orderly, unruly = make.tenant("Orderly"), make.tenant("Unruly")
    for tenant in (orderly, unruly):
        make.subscribe(tenant, package, started_at=start)
    source_id, events = make.source("pbx1").id, [happened(dice, number, start) for number in range(400)]

    send(source_id, [(event.occurred_at, named("orderly", event)) for event in events], 1)
    deliveries = [
        (event.occurred_at + dice.random() * MOST_LATE, named("unruly", event))
        for event in events
        for _ in range(dice.randint(1, 5))
    ]
    send(source_id, deliveries, dice.choice((1, 7, 50)))

    assert standing(unruly) == standing(orderly)
    assert count(unruly) == count(orderly) == len(events)
    assert [str(each) for each in differences(db.session(), now=now)] == []


def happened(dice: random.Random, number: int, start: datetime) -> UsageEvent:
    resource = dice.choice(("voice_minutes", "fax_pages", "sms_messages"))
    quantity = dice.randint(0, 600 if resource == "voice_minutes" else 5)
    at = start + timedelta(seconds=dice.randint(0, DAYS * 86_400))
    return UsageEvent(f"e{number}", "", resource, quantity, at)


def named(tenant: str, event: UsageEvent) -> UsageEvent:
    return UsageEvent(f"{tenant}-{event.external_id}", tenant, event.resource, event.quantity, event.occurred_at)


def send(source_id: int, deliveries: list[tuple[datetime, UsageEvent]], batch: int) -> None:
    deliveries.sort(key=lambda delivery: delivery[0])
    for begin in range(0, len(deliveries), batch):
        chunk = deliveries[begin : begin + batch]
        reports = [Report(event, "") for _, event in chunk]
        results = run_in_transaction(lambda act: ingest(act, source_id, reports, now=chunk[-1][0]))
        assert {result.status for result in results} <= {"recorded", "duplicate"}


def standing(tenant: Tenant) -> dict[str, list[tuple[object, ...]]]:
    """Meters, what lies beyond the limits without rollover, and the days."""
    db.session.rollback()
    meters = select(Meter.resource_code, Meter.period_on, Meter.used, Meter.carried_in, Meter.records)
    # Whether a page was carried over or lay beyond depends on what was known when it came; the sums here do not.
    beyond = select(
        MeterBeyond.resource_code, MeterBeyond.period_on, MeterBeyond.beyond_as, MeterBeyond.quantity
    ).where(MeterBeyond.resource_code != "fax_pages")
    days = select(UsageDay.day, UsageDay.resource_code, UsageDay.quantity, UsageDay.records)
    return {
        name: sorted(tuple(row) for row in db.session.execute(rows))
        for name, rows in (
            ("meters", meters.where(Meter.tenant_id == tenant.id)),
            ("beyond", beyond.where(MeterBeyond.tenant_id == tenant.id)),
            ("days", days.where(UsageDay.tenant_id == tenant.id)),
        )
    }


def count(tenant: Tenant) -> int:
    return db.session.scalar(select(func.count()).where(UsageRecord.tenant_id == tenant.id)) or 0

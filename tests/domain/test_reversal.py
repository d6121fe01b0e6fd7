"""A record taken back: meter, split and rollups follow, the original stays."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, Invalid, NotFound
from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.catalog.specs import LimitSpec
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Meter, MeterBeyond, UsageDay, UsageRecord
from app.domain.metering.reports import Report
from app.domain.metering.reversal import reverse
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from tests.factories import close_before

LIMITS = (LimitSpec("voice_minutes", 1_000, "charge", 20_000),)


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", LIMITS), started_at=now - timedelta(days=40))
    return tenant


@pytest.fixture
def send(app, make, now):
    source_id = make.source("pbx1").id

    def act(external_id, quantity, occurred_at=now):
        event = UsageEvent(external_id, "acme", "voice_minutes", quantity, occurred_at, caller="101")
        run_in_transaction(lambda session: ingest(session, source_id, [Report(event, "")], now=now))
        return db.session.scalar(select(UsageRecord.id).where(UsageRecord.external_id == external_id))

    return act


@pytest.fixture
def take_back(acme, now):
    def act(record_id, reason="wrong tenant"):
        return run_in_transaction(
            lambda session: reverse(
                session, session.get_one(Tenant, acme.id), record_id, reason, actor="nora@x", now=now
            )
        )

    return act


def standing():
    """(used, sum of the records), (beyond by price), (day), each read anew."""
    db.session.rollback()
    meter = db.session.scalars(select(Meter)).one()
    records = db.session.execute(select(func.sum(UsageRecord.quantity), func.count())).one()
    assert (meter.used, meter.records) == (int(records[0]), records[1])
    parts = db.session.execute(select(func.sum(UsageRecord.from_allowance), func.sum(UsageRecord.beyond))).one()
    beyond = {row.price_micros: row.quantity for row in db.session.scalars(select(MeterBeyond)) if row.quantity}
    assert sum(beyond.values()) == int(parts[1])
    days = db.session.execute(select(func.sum(UsageDay.quantity), func.sum(UsageDay.records))).one()
    assert (int(days[0]), int(days[1])) == (meter.used, meter.records)
    return meter.used, int(parts[0]), beyond


def test_a_reversed_record_gives_back_what_it_took(send, take_back):
    send("a", 300)
    written = take_back(send("b", 200))
    assert [(row.quantity, row.from_allowance, row.beyond) for row in written] == [(-200, -200, 0)]
    assert standing() == (300, 300, {})


@pytest.mark.parametrize(("quantities", "changes"), [([300, 200], 1), ([900, 300], 2)])
def test_a_meter_changes_once_more_only_when_something_moves_into_the_limit(send, take_back, quantities, changes):
    ids = [send(f"r{number}", quantity) for number, quantity in enumerate(quantities)]
    before = db.session.scalar(select(Meter.version))
    take_back(ids[0])
    db.session.rollback()
    assert db.session.scalar(select(Meter.version)) == before + changes


def test_the_original_stays_as_it_was(send, take_back):
    record_id = send("a", 300)
    take_back(record_id, "  sent by mistake ")
    rows = db.session.scalars(select(UsageRecord).order_by(UsageRecord.id)).all()
    assert [(row.external_id, row.quantity, row.reverses_id) for row in rows] == [
        ("a", 300, None),
        (f"reversal:{record_id}", -300, record_id),
    ]
    assert (rows[1].reversal_reason, rows[1].caller, rows[1].occurred_at) == (
        "sent by mistake",
        "101",
        rows[0].occurred_at,
    )


@pytest.mark.parametrize(
    ("quantities", "reversed_one", "expected"),
    [
        ([900, 300], 0, (300, 300, {})),  # what the first had taken covers what lay beyond
        ([900, 300], 1, (900, 900, {})),
        ([600, 600, 600], 0, (1200, 1000, {20_000: 200})),
        ([1500], 0, (0, 0, {})),
        ([400, 700, 500], 2, (1100, 1000, {20_000: 100})),
        ([400, 700, 500], 1, (900, 900, {})),
    ],
)
def test_the_split_of_what_remains_is_what_it_would_have_been(send, take_back, quantities, reversed_one, expected):
    ids = [send(f"r{number}", quantity) for number, quantity in enumerate(quantities)]
    take_back(ids[reversed_one])
    assert standing() == expected


def test_what_lay_beyond_first_is_covered_first(make, send, take_back, now):
    first = send("a", 900)
    send("b", 300)  # 200 at the first price
    from app.domain.catalog import service as catalog
    from app.domain.catalog.specs import PackageSpec

    with unit_of_work() as session:
        package = catalog.by_code(session, "gold")
        dearer = PackageSpec(name="Gold", limits=(LimitSpec("voice_minutes", 1_000, "charge", 50_000),))
        catalog.publish(session, package, dearer, actor="test", now=now)
    send("c", 400)
    written = take_back(first)
    assert [(row.quantity, row.from_allowance, row.beyond, row.beyond_price_micros) for row in written] == [
        (-900, -900, 0, 0),
        (0, 200, -200, 20_000),
        (0, 400, -400, 50_000),
    ]
    assert standing() == (700, 700, {})


def test_a_record_is_reversed_once(app, send, take_back):
    record_id = send("a", 300)
    outcomes = []

    def one():
        with app.app_context():
            try:
                take_back(record_id)
                outcomes.append("done")
            except Conflict as refusal:
                outcomes.append(refusal.code)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["already_reversed"] * 7 + ["done"]
    assert standing() == (0, 0, {})


def test_what_cannot_be_reversed_says_why(send, take_back, acme, make, now):
    record_id = send("a", 300)
    with pytest.raises(Invalid, match="Say why"):
        take_back(record_id, "  ")
    with pytest.raises(NotFound):
        take_back(1)
    reversal = take_back(record_id)[0]
    with pytest.raises(Conflict) as refused:
        take_back(reversal.id)
    assert refused.value.code == "is_reversal"


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_closed_period_is_not_touched(send, take_back, acme, now, has_ended):
    record_id = send("a", 300, now - timedelta(days=30))
    with unit_of_work() as session:
        close_before(session, acme.id, (now - timedelta(days=9)).date())
        if has_ended:
            subscriptions.end(session, session.merge(acme), actor="test", now=now)
    with pytest.raises(Conflict) as refused:
        take_back(record_id)
    assert refused.value.code == "period_closed"
    assert standing()[0] == 300

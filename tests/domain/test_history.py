"""The itemised history: exported whole, in chunks, holding nothing."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from app.db import db
from app.domain.metering import history
from app.domain.metering.history import UsageQuery

UTC = ZoneInfo("UTC")


@pytest.fixture
def acme(make, now):
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, make.package(limits={"voice_minutes": 60_000}), started_at=now - timedelta(days=3))
    for number in range(7):
        make.usage(tenant, 1, source=source, external_id=str(number), occurred_at=now - timedelta(minutes=number // 3))
    return tenant.id


def test_an_export_has_each_record_once_newest_first(session, acme, monkeypatch):
    monkeypatch.setattr(history, "CHUNK", 3)
    rows = [row.record for row in history.every_usage(session, acme, UsageQuery(), zone=UTC)]
    keys = [(record.occurred_at, record.id) for record in rows]
    assert len(set(keys)) == 7 and keys == sorted(keys, reverse=True)


def test_an_export_holds_no_connection_while_its_rows_are_taken(session, acme, monkeypatch):
    monkeypatch.setattr(history, "CHUNK", 3)
    session.close()
    rows = history.every_usage(session, acme, UsageQuery(), zone=UTC)
    assert [db.engine.pool.checkedout() for _ in rows] == [0] * 7

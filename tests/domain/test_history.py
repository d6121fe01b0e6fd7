"""The itemised history: searched in pages that read so much and no more; exported whole, in chunks, holding nothing."""

from datetime import datetime, timedelta, timezone
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from app.core.usage import UsageEvent
from app.db import db, run_in_transaction
from app.domain.metering import history
from app.domain.metering.history import UsageQuery
from app.domain.metering.ingest import ingest
from app.domain.metering.models import UsageRecord
from app.domain.metering.reports import Report

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


@pytest.fixture
def year(make, now):
    """Three calls a day for twenty days; on the oldest day one of them inbound, and a fax on every fifth day."""
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, make.package(limits={"voice_minutes": 60_000}), started_at=now - timedelta(days=25))
    events = [
        UsageEvent(f"{days}-{number}", tenant.slug, "voice_minutes", 1, now - timedelta(days=days, minutes=number),
                   direction="inbound" if (days, number) == (19, 1) else "outbound", caller=str(100 + number))
        for days in range(20) for number in range(3)
    ]  # fmt: skip
    events += [
        UsageEvent(f"fax-{days}", tenant.slug, "fax_pages", 1, now - timedelta(days=days)) for days in (4, 9, 14, 19)
    ]
    reports, source_id = [Report(event, "") for event in events], source.id
    run_in_transaction(lambda act: ingest(act, source_id, reports, now=now))
    return tenant.id


def pages(session, tenant, query, *, most=50, most_read=10, **cursor):
    """Every page from the cursor on, in the direction it says."""
    backwards, found = "before" in cursor, []
    while True:
        page = history.find_usage(session, tenant, query, zone=UTC, most=most, most_read=most_read, **cursor)
        found.append(page)
        key = page.newer if backwards else page.older
        if key is None:
            return found
        assert key != next(iter(cursor.values()), None)
        cursor = {"before" if backwards else "after": key}


def test_a_page_of_a_search_ends_after_so_many_records_and_the_next_one_goes_on(session, year, now):
    query = UsageQuery(number="101", direction="inbound")
    first, *between, last = pages(session, year, query)
    assert not first.rows and len(last.rows) == 1 and last.older is None
    # Ten records are three days and a bit, so four whole days; the fifth has a fax and makes it three.
    assert first.searched_to == (now - timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    steps = [(a.searched_to - b.searched_to).days for a, b in pairwise([first, *between])]
    assert steps and set(steps) <= {3, 4} and last.searched_to is None


def test_a_search_finds_each_record_once_both_ways(session, year):
    queries = (UsageQuery(number="10"), UsageQuery(direction="outbound"), UsageQuery("fax_pages"))
    for query, most in product(queries, (2, 50)):
        whole = history.find_usage(session, year, query, zone=UTC, most=100).rows
        there = [row for page in pages(session, year, query, most=most) for row in page.rows]
        oldest = (whole[-1].record.occurred_at - timedelta(days=20), 1)
        back = pages(session, year, query, most=most, before=oldest)
        assert there == whole == [row for page in reversed(back) for row in page.rows]


def test_a_search_between_days_reads_no_further(session, year, now):
    day = now.date()
    query = UsageQuery(direction="inbound", first_day=day - timedelta(days=3), last_day=day - timedelta(days=2))
    (page,) = pages(session, year, query)
    assert not page.rows
    query = UsageQuery(direction="inbound", last_day=day - timedelta(days=15))
    assert len(pages(session, year, query)) == 2


@pytest.fixture
def midnights(make, now):
    """A call at the first instant of each of six days, and a call at the last one of the third."""
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, make.package(limits={"voice_minutes": 60_000}), started_at=now - timedelta(days=25))
    first = now.replace(hour=0)
    moments = [*(first - timedelta(days=days) for days in range(6)), first - timedelta(days=1, microseconds=1)]
    for number, at in enumerate(moments):
        make.usage(tenant, 1, source=source, external_id=str(number), occurred_at=at, direction="outbound")
    return tenant.id


def heard(page):
    return [int(row.record.external_id) for row in page.rows]


def test_a_midnight_belongs_to_the_day_that_it_begins(session, midnights, now):
    day = now.date() - timedelta(days=2)
    query = UsageQuery(first_day=day, last_day=day)
    assert heard(history.find_usage(session, midnights, query, zone=UTC)) == [6, 2]
    assert [(total.quantity, total.records) for total in history.totals(session, midnights, query)] == [(2, 2)]
    wider = UsageQuery(first_day=day - timedelta(days=1), last_day=day)
    assert [total.records for total in history.totals(session, midnights, wider)] == [3]


def test_an_instant_begins_what_is_asked_for_and_ends_it_before(session, midnights, now):
    midnight = now.replace(hour=0)
    query = UsageQuery(since=midnight - timedelta(days=3), until=midnight - timedelta(days=1))
    assert heard(history.find_usage(session, midnights, query, zone=UTC)) == [6, 2, 3]


def test_a_search_that_pauses_at_midnight_finds_what_happened_then_once(session, midnights, now):
    query = UsageQuery(direction="outbound")
    there = [number for page in pages(session, midnights, query, most_read=1) for number in heard(page)]
    oldest = (now - timedelta(days=20), 1)
    back = pages(session, midnights, query, most_read=1, before=oldest)
    assert there == [0, 1, 6, 2, 3, 4, 5] == [number for page in reversed(back) for number in heard(page)]


def test_a_search_between_days_ends_with_the_day_and_offers_no_empty_page(session, midnights, now):
    day = now.date()
    query = UsageQuery(direction="outbound", first_day=day - timedelta(days=4), last_day=day - timedelta(days=1))
    assert [heard(page) for page in pages(session, midnights, query, most_read=1)] == [[1], [6, 2], [3], [4]]
    back = pages(session, midnights, query, most_read=1, before=(now - timedelta(days=4, hours=21), 1))
    assert [heard(page) for page in back] == [[4], [3], [6, 2], [1]]


def test_a_days_records_in_one_piece_are_passed_all_the_same(session, year):
    found = pages(session, year, UsageQuery(direction="inbound"), most_read=1)
    assert len(found) == 20 and [len(page.rows) for page in found] == [0] * 19 + [1]


def test_what_no_filter_or_an_index_finds_is_not_cut_short(session, year, count_statements):
    for query, number in ((UsageQuery(), 50), (UsageQuery("fax_pages"), 4)):
        with count_statements() as seen:
            page = history.find_usage(session, year, query, zone=UTC, most_read=10)
        assert (len(page.rows), len(seen), page.searched_to) == (number, 1, None)


def test_an_export_of_a_search_has_everything(session, year, monkeypatch):
    monkeypatch.setattr(history, "MOST_READ", 10)
    rows = history.every_usage(session, year, UsageQuery(direction="inbound"), zone=UTC)
    assert [row.record.direction for row in rows] == ["inbound"]


def test_a_cursor_at_the_end_of_time_is_no_error(session, year):
    for at in (datetime.min, datetime.max):
        for name in ("after", "before"):
            cursor = {name: (at.replace(tzinfo=timezone.utc), 1)}  # noqa: UP017  UTC is a zone of names here
            history.find_usage(session, year, UsageQuery(direction="inbound"), zone=ZoneInfo("Asia/Tokyo"), most_read=1, **cursor)  # fmt: skip


def plan(session, query):
    """How the database finds a page of this query, with statistics as it has them."""
    statement = history._select(1, query, UTC).order_by(UsageRecord.occurred_at.desc(), UsageRecord.id.desc()).limit(51)
    sql = statement.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL enable_seqscan = off"))
        session.execute(text("SET LOCAL enable_bitmapscan = off"))
        return " ".join(session.execute(text(f"EXPLAIN {sql}")).scalars())
    return " ".join(row.detail for row in session.execute(text(f"EXPLAIN QUERY PLAN {sql}")))


def test_a_page_is_read_in_the_order_of_an_index(session, year):
    indexes = {"": "usage_newest_first", "voice_minutes": "usage_newest_first", "fax_pages": "rare_usage_newest_first"}
    for resource, index in indexes.items():
        found = plan(session, UsageQuery(resource))
        assert f" {index} " in found and "TEMP B-TREE" not in found and "Sort" not in found

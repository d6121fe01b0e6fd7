"""Rate limits hold over all threads and processes, without a write for each request."""

import multiprocessing
import threading
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from app import create_app
from app.db import db, unit_of_work
from app.domain.accounts import rate_limits, service as accounts
from app.domain.accounts.models import RateWindow
from app.domain.accounts.rate_limits import RateLimit

FORM = {"content_type": "application/x-www-form-urlencoded"}


@pytest.fixture
def settings(settings):
    return replace(settings, RATE_LIMIT_KEY=5, RATE_LIMIT_ADDRESS=3)


@pytest.fixture
def headers(make, now):
    source = make.source("pbx1")
    with unit_of_work() as unit:
        key = accounts.issue_key(unit, unit.merge(source), ["all"], actor="test", now=now)
    return {"Authorization": f"Bearer {key}"}


def statuses(client, times, **more):
    return Counter(client.get("/api/v1/packages/gold", **more).status_code for _ in range(times))


def test_a_key_has_its_number_of_requests_in_a_window(client, headers, clock):
    assert statuses(client, 8, headers=headers) == {404: 5, 429: 3}
    clock.shift(10)
    assert statuses(client, 8, headers=headers) == {404: 5, 429: 3}


def test_the_headers_say_what_is_left_and_when_there_is_more(make, client, headers):
    make.package("gold")
    first = client.get("/api/v1/packages/gold", headers=headers)
    assert first.headers["RateLimit-Policy"] == '"key";q=5;w=10'
    assert first.headers["RateLimit"] == '"key";r=4;t=10'
    statuses(client, 4, headers=headers)
    refused = client.get("/api/v1/packages/gold", headers=headers)
    assert (refused.status_code, refused.mimetype) == (429, "application/problem+json")
    assert (refused.json["code"], refused.headers["Retry-After"]) == ("rate_limited", "10")
    assert refused.headers["RateLimit"] == '"key";r=0;t=10'


def test_a_dialplan_reads_a_line_and_the_gate_its_words(client, headers):
    statuses(client, 5, headers=headers)
    line = client.post("/api/v1/calls/authorize", headers=headers, data="tenant=acme&call_id=1", **FORM)
    assert (line.status_code, line.text, line.headers["Retry-After"]) == (429, "deny,0,,rate_limited\n", "10")
    as_json = client.post("/api/v1/calls/authorize", headers=headers, json={"tenant": "acme", "call_id": "1"})
    assert (as_json.status_code, as_json.json["code"]) == (429, "rate_limited")
    gate = client.get("/billing/gate?tenant_id=acme", headers=headers)
    assert (gate.status_code, gate.json) == (429, {"allowed": False, "reason": "rate-limited"})


def test_an_address_without_a_key_is_slowed_down_and_keys_from_there_are_not(client, headers):
    assert statuses(client, 6) == {401: 3, 429: 3}
    assert statuses(client, 5, headers=headers) == {404: 5}
    assert statuses(client, 1, environ_overrides={"REMOTE_ADDR": "203.0.113.9"}) == {401: 1}


@pytest.mark.parametrize(("limit", "processes"), [(1, 1), (7, 4), (100, 1), (1_000, 2), (20_000, 8)])
def test_the_sum_of_all_processes_never_exceeds_the_limit(app, clock, limit, processes):
    together = [RateLimit(limit, processes) for _ in range(processes)]
    for window in range(3):
        allowed, refused = 0, 0
        while refused < processes:
            found = [each.take("key:1").allowed for each in together]
            allowed, refused = allowed + sum(found), found.count(False)
        assert allowed <= limit
        assert allowed >= limit - processes * together[0].block, window
        clock.shift(10)


def test_a_write_serves_many_requests_in_whatever_windows_they_come(app, clock, count_statements):
    limit = RateLimit(20_000, 1)
    with count_statements() as seen:
        for _ in range(400):
            limit.take("key:1")
            clock.shift(11)
    assert len(seen) == 1


def test_threads_share_what_their_process_took(app, clock):
    limit, allowed = RateLimit(200, 1), []

    def send():
        with app.app_context():
            allowed.append(sum(limit.take("key:1").allowed for _ in range(100)))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 - limit.block < sum(allowed) <= 200


def _send(settings, limit, times, ready, results):
    with create_app(settings).app_context():
        mine = RateLimit(limit, 2)
        ready.wait()
        results.put(sum(mine.take("key:1").allowed for _ in range(times)))


def test_two_real_processes_share_one_limit(app, settings):
    """Over one window or two, as the machine is quick."""
    spawn = multiprocessing.get_context("spawn")
    ready, results = spawn.Barrier(2), spawn.Queue()
    started = [spawn.Process(target=_send, args=(settings, 300, 400, ready, results)) for _ in range(2)]
    for process in started:
        process.start()
    counts = [results.get(timeout=60) for _ in started]
    for process in started:
        process.join()
    db.session.rollback()
    assert all(counts)
    if sum(counts) > 300:  # a window ended meanwhile
        assert sum(counts) <= 600
    else:
        assert sum(counts) >= 300 - 2 * RateLimit(300, 2).block


def test_what_nobody_needs_is_dropped(app, now):
    RateLimit(10, 1).take("key:1")
    for later, left in ((0, 1), (600, 0)):
        with unit_of_work() as unit:
            rate_limits.forget_old(unit, now=now + timedelta(seconds=later))
        assert db.session.query(RateWindow).count() == left
        db.session.rollback()

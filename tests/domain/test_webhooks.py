"""Webhooks: what is told and when, signed so that others can read it, sent again as the schedule says."""

import json
import os
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app import webhooks
from app.core.addresses import parse_ranges
from app.core.errors import Conflict, Invalid, NotFound
from app.core.usage import UsageEvent
from app.db import db, run_in_transaction
from app.deliveries import Deliveries, claim_next, deliver, deliver_all
from app.domain.billing import profiles
from app.domain.billing.lines import Rate
from app.domain.billing.profiles import Profile
from app.domain.catalog.specs import LimitSpec
from app.domain.jobs.models import Job
from app.domain.metering import quarantine
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.subscriptions import life
from app.domain.tenants.models import Tenant
from app.domain.webhooks import delivery, endpoints, events
from app.domain.webhooks.endpoints import Wanted
from app.domain.webhooks.models import WebhookAttempt, WebhookEndpoint, WebhookMessage
from tests.receiver import receiving

ROOT = Path(__file__).parents[2]
KILLED_DELIVERER = Path(__file__).with_name("killed_deliverer.py")
KEY = "of a test"  # SECRET_KEY of `settings`


@pytest.fixture
def settings(settings):
    return replace(settings, WEBHOOK_ALLOWED_RANGES="127.0.0.0/8", JOB_POLL_SECONDS=0.05)


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture
def hook(app, now, receiver):
    def add(tenant=None, types=None, url=""):
        tenant_id = tenant and tenant.id
        types = types or (events.TYPES if tenant is None else events.TENANT_TYPES)
        wanted = Wanted(url or receiver.url, types)
        return run_in_transaction(lambda session: endpoints.add(session, tenant_id, wanted, actor="test", now=now))

    return add


def ping(endpoint, now):
    def act(session):
        return endpoints.ping(session, session.get_one(WebhookEndpoint, endpoint.id), "", now=now)

    return run_in_transaction(act)


def messages(endpoint=None):
    db.session.rollback()
    statement = select(WebhookMessage).order_by(WebhookMessage.id).execution_options(populate_existing=True)
    if endpoint is not None:
        statement = statement.where(WebhookMessage.endpoint_id == endpoint.id)
    return db.session.scalars(statement).all()


def attempts():
    db.session.rollback()
    return db.session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id)).all()


def refreshed(endpoint):
    db.session.rollback()
    return db.session.get_one(WebhookEndpoint, endpoint.id, populate_existing=True)


def secrets(endpoint, now):
    return endpoints.secrets_of(refreshed(endpoint), KEY, now)


def told(receiver):
    deliver_all()
    return [json.loads(body) for _, body in receiver.got]


# What is told


def test_a_threshold_is_told_once_and_in_the_transaction_that_crosses_it(hook, make, receiver):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"voice_minutes": 1000}))
    hook(types=(events.THRESHOLD_REACHED,))
    for quantity in (400, 400, 50):
        make.usage(acme, quantity, source=source)
    assert [each["data"] for each in told(receiver)] == [
        {
            "tenant": "acme", "resource": "voice_minutes", "period_on": "2026-11-22", "percent": 75, "used": 800,
            "total": 1000,
        }
    ]  # fmt: skip


def test_a_limit_is_told_of_once_a_period_however_many_calls_it_refuses(hook, make, receiver):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"voice_minutes": 60}))
    hook(types=(events.LIMIT_REACHED,))
    make.call(acme, source=source, seconds=60)
    for _ in range(3):
        assert not make.call(acme, source=source).allowed
    make.usage(acme, 100, source=source)  # and its meter is full now, too
    [only] = told(receiver)
    assert only["type"] == "limit.reached"
    assert only["data"] == {
        "tenant": "acme", "resource": "voice_minutes", "period_on": "2026-11-22", "reason": "quota_exhausted",
        "total": 60, "used": 0, "on_hold": 60,
    }  # fmt: skip


def test_usage_that_takes_the_last_of_a_limit_is_told_of_without_any_refusal(hook, make, receiver):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"fax_pages": 10}))
    hook(types=(events.LIMIT_REACHED,))
    for _ in range(4):
        make.usage(acme, 4, "fax_pages", source=source)
    assert [(each["data"]["reason"], each["data"]["used"]) for each in told(receiver)] == [("used_up", 12)]


def test_spent_money_is_told_of_though_the_allowance_was_told_of_before(hook, make, receiver, now):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits=[LimitSpec("voice_minutes", 60, "charge", 600_000)]))

    def pay_in_advance(session):
        profiles.save_rate(session, Rate("vat", "VAT", 190_000), actor="test", now=now)
        profile, tenant = Profile("vat", 10, prepaid=True), session.get_one(Tenant, acme.id)
        profiles.save_profile(session, tenant, profile, actor="test", now=now)

    run_in_transaction(pay_in_advance)
    hook(types=(events.LIMIT_REACHED,))
    make.usage(acme, 60, source=source)
    for _ in range(2):
        assert make.call(acme, source=source).reason == "balance_exhausted"
    assert [each["data"]["reason"] for each in told(receiver)] == ["used_up", "balance_exhausted"]


def test_calls_at_once_have_no_period_and_are_told_of_once_a_day(hook, make, receiver, now, clock):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"concurrent_calls": 1}))
    hook(types=(events.LIMIT_REACHED,))
    make.call(acme, source=source, seconds=36000)
    for hours in (0, 1, 3):  # of 21:00
        make.call(acme, source=source, at=now + timedelta(hours=hours))
    clock.shift(timedelta(hours=4))
    found = told(receiver)
    assert [each["data"]["reason"] for each in found] == ["concurrency_reached"] * 2
    assert found[0]["data"]["period_on"] is None


def test_each_step_of_a_subscription_is_told(hook, make, receiver, now):
    acme, gold, silver = make.tenant(), make.package("gold"), make.package("silver")
    hook(types=(events.SUBSCRIPTION_CHANGED,))
    make.subscribe(acme, gold)
    make.subscribe(acme, silver)
    run_in_transaction(lambda s: life.suspend(s, s.get_one(Tenant, acme.id), "staff", actor="test", now=now))
    steps = [(each["data"]["package"], each["data"]["status"], each["data"]["why"]) for each in told(receiver)]
    assert steps == [("gold", "active", "started"), ("silver", "active", "moved"), ("silver", "suspended", "staff")]


def quarantined(make, source, *ids):
    def act(session):
        reports = [Report(UsageEvent(each, "nobody", "fax_pages", 1, make.now), each) for each in ids]
        return ingest(session, source.id, reports, now=make.now)

    return run_in_transaction(act)


def test_quarantine_is_told_of_when_it_is_empty_no_longer(hook, make, receiver, now):
    source = make.source()
    hook(types=(events.QUARANTINE_NOT_EMPTY,))
    quarantined(make, source, "a", "b")
    quarantined(make, source, "c")
    assert [each["data"] for each in told(receiver)] == [{"entries": 2, "reasons": {"unknown_tenant": 2}}]
    found = [entry.report.id for entry in quarantine.find_open(db.session()).entries]
    run_in_transaction(lambda s: quarantine.discard(s, found, "a test", actor="test", now=now))
    quarantined(make, source, "d")
    assert [each["data"]["entries"] for each in told(receiver)] == [2, 1]


def test_what_is_rolled_back_is_not_told(hook, make, now):
    acme = make.tenant()
    hook()

    def act(session):
        events.tell(session, events.PAYMENT_RECEIVED, [events.Event(acme.id, "1", {})], now=now)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_transaction(act)
    assert not messages()


def test_a_tenant_hears_of_itself_alone_and_the_provider_of_all(hook, make, receiver):
    acme, globex, gold = make.tenant("Acme"), make.tenant("Globex"), make.package()
    of_acme, of_globex, of_provider = hook(acme), hook(globex), hook()
    make.subscribe(acme, gold)
    make.subscribe(globex, gold)
    quarantined(make, make.source(), "a")
    assert [each.tenant for each in messages(of_acme)] == ["acme"]
    assert [each.tenant for each in messages(of_globex)] == ["globex"]
    assert [each.tenant for each in messages(of_provider)] == ["acme", "globex", ""]


def test_only_chosen_events_are_written_and_none_without_a_listener(hook, make, count_statements, now):
    acme = make.tenant()
    endpoint = hook(types=(events.INVOICE_FINAL,))
    make.subscribe(acme, make.package())
    assert not messages(endpoint)
    with count_statements() as seen:
        events.tell(db.session(), events.LIMIT_REACHED, [], now=now)
    assert not len(seen)


def test_where_nothing_happens_no_statement_is_about_webhooks(hook, make, count_statements):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"voice_minutes": 1000, "concurrent_calls": 5}))
    hook()
    with count_statements() as seen:
        granted = make.call(acme, source=source)
        make.hang_up(granted, source=source, seconds=10)
        make.usage(acme, 10, source=source)
    assert len(seen)
    assert not [text for text in seen.texts if "webhook" in text]
    with count_statements() as seen:
        make.usage(acme, 600, source=source)
    assert len([text for text in seen.texts if "webhook" in text]) == 1


# How it is sent


def test_an_independent_reader_verifies_the_signature(hook, now, receiver):
    endpoint = hook()
    ping(endpoint, now)
    deliver_all()
    [(headers, body)] = receiver.got
    assert Webhook(secrets(endpoint, now)[0]).verify(body, headers) == {
        "type": "ping", "timestamp": "2026-11-22T21:00:00+00:00", "data": {"message": "This is a test."},
    }  # fmt: skip
    with pytest.raises(WebhookVerificationError):
        Webhook(secrets(endpoint, now)[0]).verify(body + b" ", headers)
    [message] = messages()
    assert message.state == "delivered"
    assert [(each.status, each.problem) for each in attempts()] == [(204, "")]


def test_while_a_secret_is_exchanged_both_sign(hook, now, receiver, clock):
    endpoint = hook()
    [old] = secrets(endpoint, now)
    run_in_transaction(lambda s: endpoints.rotate(s, s.get_one(WebhookEndpoint, endpoint.id), actor="test", now=now))
    new = secrets(endpoint, now)[0]
    assert new != old
    ping(endpoint, now)
    deliver_all()
    for secret in (old, new):
        assert Webhook(secret).verify(receiver.got[0][1], receiver.got[0][0])["type"] == "ping"
    clock.shift(endpoints.OVERLAP)
    ping(endpoint, now)
    deliver_all()
    headers, body = receiver.got[1][0], receiver.got[1][1]
    assert Webhook(new).verify(body, headers)["type"] == "ping"
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, headers)


def test_the_schedule_is_that_of_the_specification(hook, now, receiver, clock):
    receiver.says(500, b"no")
    endpoint = hook()
    ping(endpoint, now)
    waited, at = [], now
    for _ in range(delivery.MAX_ATTEMPTS - 1):
        deliver_all()
        [message] = messages()
        waited.append((message.next_at - attempts()[-1].at).total_seconds())
        clock.move_to(message.next_at - timedelta(seconds=2))
        deliver_all()  # not yet
        clock.move_to(message.next_at + timedelta(seconds=1))
    deliver_all()
    expected = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert all(0 <= got - least <= least / 10 for got, least in zip(waited, expected, strict=True)), (waited, at)
    assert len(receiver.got) == 10
    assert messages()[0].state == "failed"
    assert len({body for _, body in receiver.got}) == len({h["webhook-id"] for h, _ in receiver.got}) == 1
    clock.shift(timedelta(days=30))
    deliver_all()
    assert len(receiver.got) == 10


@pytest.mark.parametrize(
    ("status", "headers"), [(301, {"Location": "/other"}), (302, {"Location": "http://127.0.0.1/"}), (400, {})]
)
def test_all_but_2xx_is_a_failure_and_nothing_is_followed(hook, now, receiver, status, headers):
    receiver.says(status, b"moved", **headers)
    ping(hook(), now)
    deliver_all()
    assert len(receiver.got) == 1
    [attempt] = attempts()
    assert (attempt.status, attempt.problem, attempt.answer) == (status, f"HTTP {status}", "moved")


def test_410_turns_the_endpoint_off_and_its_side_gets_a_mail(hook, make, now, receiver):
    receiver.says(410)
    acme = make.tenant()
    make.user(acme, "anna@acme.example")
    endpoint = hook(acme)
    ping(endpoint, now)
    waiting = ping(endpoint, now + timedelta(hours=1))
    deliver_all()
    assert refreshed(endpoint).disabled_why == "gone"
    assert {each.state for each in messages()} == {"failed"}
    assert waiting.id in {each.id for each in messages()}
    [job] = db.session.scalars(select(Job).where(Job.kind == endpoints.MAIL)).all()
    assert job.payload == {"endpoint_id": endpoint.id, "why": "gone"}
    make.subscribe(acme, make.package())
    assert len(messages()) == 2  # nothing more is told


def test_five_days_of_nothing_but_failures_turn_an_endpoint_off(hook, now, receiver, clock):
    receiver.says(503)
    endpoint = hook()
    for day in range(6):
        clock.move_to(now + timedelta(days=day, minutes=day))
        assert refreshed(endpoint).disabled_at is None
        ping(endpoint, now + timedelta(days=day))
        deliver_all()
    assert refreshed(endpoint).disabled_why == "failing"


def test_one_success_begins_the_days_anew(hook, now, receiver, clock):
    receiver.says(503)
    endpoint = hook()
    ping(endpoint, now)
    deliver_all()
    assert refreshed(endpoint).failing_since is not None
    receiver.says(200)
    ping(endpoint, now)
    deliver_all()
    assert refreshed(endpoint).failing_since is None


def test_a_receiver_that_drips_is_cut_off(hook, now, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "TIMEOUT_SECONDS", 0.6)
    receiver.drips(0.05)
    ping(hook(), now)
    begun = time.monotonic()
    deliver_all()
    assert time.monotonic() - begun < 5
    [attempt] = attempts()
    assert attempt.status is None
    assert attempt.problem == webhooks.TIMED_OUT


@pytest.mark.parametrize(
    "answer",
    [b"", b"no HTTP at all\r\n\r\n", b"HTTP/1.1 99999 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
     b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000],
    ids=["nothing", "no HTTP", "no status", "200 headers", "a long header"],
)  # fmt: skip
@pytest.mark.databases("sqlite")
def test_an_answer_that_is_none_is_a_failed_attempt(hook, now, receiver, answer):
    receiver.answer = lambda handler: handler.wfile.write(answer)
    ping(hook(), now)
    deliver_all()
    [attempt] = attempts()
    assert attempt.status is None
    assert attempt.problem
    assert messages()[0].state == "waiting"


def test_of_a_huge_answer_only_the_beginning_is_read(hook, now, receiver):
    sent = []

    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while len(sent) < 2_000:
                sent.append(handler.wfile.write(b"\0\xff" * 32_768))
        except OSError:
            pass

    receiver.answer = answer
    ping(hook(), now)
    deliver_all()
    assert sum(sent) < 50_000_000
    [attempt] = attempts()
    assert (attempt.status, len(attempt.answer)) == (200, delivery.MAX_ANSWER)


def test_a_slow_receiver_holds_up_itself_alone(app, hook, now, receiver):
    release = threading.Event()
    with receiving() as slow:
        slow.answer = lambda handler: release.wait(10)
        stuck = [hook(url=slow.url) for _ in range(3)]
        for endpoint in stuck * 5:
            ping(endpoint, now)
        quick = hook()
        for _ in range(5):
            ping(quick, now)
        deliveries = Deliveries(app)
        deliveries.start()
        try:
            until = time.monotonic() + 8
            while len(receiver.got) < 5 and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            release.set()
            deliveries.stop()
        assert len(receiver.got) == 5


@pytest.mark.databases("postgresql")
def test_deliveries_outlive_connections_that_break_at_any_moment(app, hook, now, receiver, settings, monkeypatch):
    app.config["RINGPLAN"] = replace(app.config["RINGPLAN"], WEBHOOK_THREADS=1, JOB_POLL_SECONDS=0.05)
    looked, sent = threading.Event(), threading.Event()
    monkeypatch.setattr("app.deliveries.claim_next", breaking(claim_next, settings, looked))
    monkeypatch.setattr("app.deliveries.deliver", breaking(deliver, settings, sent))
    endpoint, deliveries = hook(), Deliveries(app)
    deliveries.start()
    try:
        assert looked.wait(8)
        for _ in range(2):
            ping(endpoint, now)
        until = time.monotonic() + 8
        while len(receiver.got) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        deliveries.stop()
    assert len(receiver.got) == 2


def breaking(act, settings, broken):
    """`act`, the first time of which the server ends its session's connection when all is done but closing it."""

    def acting(*args):
        done = act(*args)
        if not broken.is_set():
            pid = db.session.scalar(select(func.pg_backend_pid()))
            with psycopg.connect(settings.DATABASE_URL, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            broken.set()
        return done

    return acting


def test_of_one_endpoint_one_message_is_under_way_at_a_time(hook, now):
    endpoint = hook()
    for _ in range(2):
        ping(endpoint, now)
    first = claim_next()
    assert first is not None
    assert claim_next() is None
    deliver(first)
    assert claim_next() is not None


def test_those_that_fail_anyway_wait_for_those_that_do_not(hook, now, receiver, clock):
    with receiving() as broken:
        broken.says(500)
        failing, healthy = hook(url=broken.url), hook()
        ping(failing, now)
        deliver_all()
        ping(failing, now)
        ping(healthy, now + timedelta(seconds=1))
        clock.shift(2)
        claimed = claim_next()
        assert claimed is not None
        assert claimed.endpoint_id == healthy.id


def test_many_workers_claim_each_message_once(app, hook, now):
    endpoints_there = [hook() for _ in range(12)]
    for endpoint in endpoints_there:
        ping(endpoint, now)

    def claim_all():
        with app.app_context():
            found = []
            while (claimed := claim_next()) is not None:
                found.append(claimed.endpoint_id)
            return found

    with ThreadPoolExecutor(6) as pool:
        found = [each for future in [pool.submit(claim_all) for _ in range(6)] for each in future.result()]
    assert sorted(found) == [endpoint.id for endpoint in endpoints_there]


def test_many_refusals_at_once_tell_of_the_limit_once(app, hook, make):
    acme, source = make.tenant(), make.source()
    make.subscribe(acme, make.package(limits={"concurrent_calls": 1}))
    hook(types=(events.LIMIT_REACHED,))
    make.call(acme, source=source, seconds=600)

    def refused(_):
        with app.app_context():
            return make.call(acme, source=source).allowed

    with ThreadPoolExecutor(6) as pool:
        assert not any(pool.map(refused, range(12)))
    assert len(messages()) == 1


def test_a_claim_that_its_worker_did_not_finish_is_free_again(hook, now, receiver, clock):
    ping(hook(), now)
    assert claim_next() is not None
    assert claim_next() is None
    clock.shift(61)
    deliver_all()
    assert len(receiver.got) == 1
    assert messages()[0].state == "delivered"


# Replay


def test_one_message_or_all_that_failed_are_sent_again(hook, now, receiver, clock):
    endpoint = hook()
    receiver.says(500)
    for hours in (-2, 0):
        ping(endpoint, now + timedelta(hours=hours))
    run_in_transaction(lambda s: endpoints.disable(s, endpoint.id, "person", actor="test", now=now))

    def again(act, *arguments):
        return run_in_transaction(
            lambda s: act(s, s.get_one(WebhookEndpoint, endpoint.id), *arguments, actor="test", now=now)
        )

    old, new = messages()
    with pytest.raises(Conflict):
        again(delivery.replay, new.id)
    run_in_transaction(lambda s: endpoints.enable(s, s.get_one(WebhookEndpoint, endpoint.id), actor="test", now=now))
    receiver.says(200)
    assert again(delivery.replay_failed, now - timedelta(hours=1)) == 1
    deliver_all()
    assert [each.state for each in messages()] == ["failed", "delivered"]
    again(delivery.replay, old.id)
    with pytest.raises(Conflict):
        again(delivery.replay, old.id)
    with pytest.raises(NotFound):
        again(delivery.replay, 1)
    again(delivery.replay, new.id)  # what was delivered, too
    deliver_all()
    assert [each.state for each in messages()] == ["delivered", "delivered"]
    assert receiver.got[0][0]["Webhook-Id" if "Webhook-Id" in receiver.got[0][0] else "webhook-id"]


def test_what_is_long_done_is_forgotten(hook, now, receiver):
    endpoint = hook()
    ping(endpoint, now)
    deliver_all()
    waiting = ping(endpoint, now)
    run_in_transaction(lambda s: delivery.forget(s, now=now + delivery.KEPT_FOR + timedelta(days=1)))
    assert [each.id for each in messages()] == [waiting.id]
    assert not attempts()


# Where nothing is sent


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.2/", "https://10.0.0.1/", "https://[::1]/", "https://[::ffff:1.1.1.1]/", "https://0.0.0.0/",
        "https://169.254.169.254/latest", "https://100.64.0.1/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
        "https://[fe80::1]/", "https://224.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://[fd00::1]/",
        "http://1.1.1.1/", "ftp://1.1.1.1/", "https://user:secret@1.1.1.1/", "https://1.1.1.1/#part", "https://",
        "https://1.1.1.1:0/", "https://1.1.1.1:70000/", "https://1.1.1.1/a b", "https://1.1.1.1\\@x/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused_at_save(url):
    with pytest.raises(Invalid) as refused:
        webhooks.check(url, [])
    assert refused.value.details["field"] == "url"


def test_a_public_address_and_an_allowed_range_are_taken():
    webhooks.check("https://1.1.1.1/hook?a=b", [])
    webhooks.check("https://[2606:4700:4700::1111]:8443/", [])
    webhooks.check("http://127.0.0.1:81/", parse_ranges("127.0.0.0/8"))


@pytest.mark.parametrize("settings_ranges", ["", "10.0.0.0/8"])
def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch, settings_ranges):
    """A name server that says something public first and loopback then gains nothing."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    asked, called = [], []

    def getaddrinfo(host, port, *_, **__):
        asked.append(host)
        return [(2, 1, 6, "", (next(answers), port))]

    def create_connection(address, *_, **__):
        called.append(address)
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(webhooks.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(webhooks.socket, "create_connection", create_connection)
    outcome = webhooks.post("https://rebind.example/", {}, b"{}", parse_ranges(settings_ranges))
    assert (asked, called) == (["rebind.example"], [("93.184.215.14", 443)])
    assert not outcome.is_success
    outcome = webhooks.post("https://rebind.example/", {}, b"{}", parse_ranges(settings_ranges))
    assert len(called) == 1  # the second time it is loopback, which is not even tried
    assert outcome.problem == webhooks.NOT_PUBLIC


def test_a_name_with_one_address_that_is_not_public_is_refused(monkeypatch):
    both = [(2, 1, 6, "", (each, 443)) for each in ("93.184.215.14", "192.168.1.1")]
    monkeypatch.setattr(webhooks.socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(Invalid):
        webhooks.check("https://two.example/", [])


def test_a_name_server_that_lets_us_wait_holds_up_neither_a_delivery_nor_a_page(monkeypatch):
    never = threading.Event()

    def getaddrinfo(host, port, *_, **__):
        never.wait(20)
        return [(2, 1, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(webhooks.socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(webhooks, "LOOKUP_SECONDS", 0.2)
    begun = time.monotonic()
    try:
        outcome = webhooks.post("https://slow.example/", {}, b"{}", [])
        with pytest.raises(Invalid, match="name server"):
            webhooks.check("https://slow.example/", [])
    finally:
        never.set()
    assert time.monotonic() - begun < 5
    assert (outcome.is_success, outcome.problem) == (False, "The name server did not answer within 0.2 seconds.")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate of hooks.example in a file with its key; being its own authority it is one with that."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, SHA256())
    file = tmp_path_factory.mktemp("tls") / "hooks.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return str(file)


@pytest.mark.parametrize(
    ("name", "is_trusted", "problem"),
    [
        ("hooks.example", True, ""),
        ("other.example", True, "the certificate is not valid: Hostname mismatch"),
        ("hooks.example", False, "the certificate is not valid: self-signed certificate"),
    ],
)
def test_the_certificate_must_be_that_of_the_name_whatever_address_is_called(
    authority, monkeypatch, name, is_trusted, problem
):
    monkeypatch.setenv("SSL_CERT_FILE", authority if is_trusted else "/dev/null")
    monkeypatch.setenv("SSL_CERT_DIR", "/dev/null")
    monkeypatch.setattr(
        webhooks.socket, "getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))]
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority)
    asked_for = []
    tls.sni_callback = lambda _, server_name, __: asked_for.append(server_name)
    with receiving(tls) as receiver:
        port = receiver.url.rsplit(":", 1)[1]
        outcome = webhooks.post(f"https://{name}:{port}", {"Content-Length": "2"}, b"{}", parse_ranges("127.0.0.0/8"))
    assert asked_for == [name]
    assert outcome.is_success is (not problem), outcome
    assert outcome.problem.startswith(problem)
    assert [headers["Host"] for headers, _ in receiver.got] == ([] if problem else [f"{name}:{port.split('/')[0]}"])


def test_no_proxy_of_the_environment_is_asked(hook, now, receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    ping(hook(), now)
    deliver_all()
    assert len(receiver.got) == 1


def test_the_secret_is_nowhere_in_the_database(hook, now):
    endpoint = hook()
    [secret] = secrets(endpoint, now)
    assert secret.startswith("whsec_")
    stored = refreshed(endpoint)
    assert not any(secret[6:] in str(getattr(stored, column.name)) for column in WebhookEndpoint.__table__.columns)


def test_an_endpoint_belongs_to_one_owner(app, hook, make, now):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    endpoint = hook(acme)
    for owner in (globex.id, None):
        with pytest.raises(NotFound):
            endpoints.get(db.session(), owner, endpoint.id)
    with pytest.raises(Invalid):  # quarantine is the provider's own affair
        hook(acme, types=(events.QUARANTINE_NOT_EMPTY,))


def test_the_body_says_when_it_happened():
    message = WebhookMessage(type="ping", tenant="acme", data={"a": 1}, occurred_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(delivery.body_of(message)) == {
        "type": "ping", "timestamp": "2026-01-01T00:00:00+00:00", "data": {"tenant": "acme", "a": 1}
    }  # fmt: skip


def test_a_worker_killed_at_any_moment_loses_no_message(hook, settings, now, receiver, tmp_path):
    """What the receiver had and nobody could note comes again, under the same id; nothing else does."""
    endpoint = hook()
    ping(endpoint, now)
    environment = {
        **os.environ, "RINGPLAN_INSTANCE": str(tmp_path), "DATABASE_URL": settings.DATABASE_URL, "SECRET_KEY": KEY,
        "PYTHONPATH": str(ROOT), "WEBHOOK_ALLOWED_RANGES": settings.WEBHOOK_ALLOWED_RANGES,
    }  # fmt: skip
    got = []
    for steps, state in (("3", "waiting"), ("5 8", "waiting"), ("0", "delivered")):  # claiming; sending, noting; none
        command = [sys.executable, str(KILLED_DELIVERER), *steps.split()]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        got.append(len(receiver.got))
        assert messages()[0].state == state
    assert got[0] == 0
    assert got[-1] >= 2
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(attempts()) == 1

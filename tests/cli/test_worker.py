"""`flask worker` as it runs: told to stop, killed, two at once, without its database."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import func, select, text

from app.db import db, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.webhooks import endpoints
from app.domain.webhooks.models import WebhookAttempt
from tests.faults.reporters import sized
from tests.receiver import receiving
from tests.server import ROOT, serving

BUSY_WORKER = Path(__file__).with_name("busy_worker.py")
PATIENCE = 60
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)  # the processes go by the real clock, this one by the test's


@pytest.fixture
def ask(app):
    def enqueue(count, seconds=0.0, kind="note"):
        with unit_of_work() as session:
            for number in range(count):
                payload = {"said": f"job {number}", "seconds": seconds}
                jobs.enqueue(session, kind, f"{kind} {number}", payload, now=LONG_AGO)

    return enqueue


@pytest.fixture
def start(settings, tmp_path):
    """`with start() as process`: a worker in a process of its own."""
    environment = {
        **os.environ, "RINGPLAN_INSTANCE": str(tmp_path), "DATABASE_URL": settings.DATABASE_URL, "PYTHONPATH": str(ROOT),
        "JOB_POLL_SECONDS": "0.1", "JOB_LEASE_SECONDS": "2", "WEBHOOK_ALLOWED_RANGES": "127.0.0.0/8",
    }  # fmt: skip

    @contextmanager
    def starting(*words):
        with (tmp_path / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(BUSY_WORKER), "--app", "app", "worker", *words],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    return starting


def said(tmp_path):
    return (tmp_path / "worker.log").read_text()


def fetched(statement):
    db.session.rollback()
    return db.session.execute(statement).all()


def open_jobs():
    return fetched(select(func.count()).where(Job.done_at.is_(None)))[0][0]


def effects():
    return Counter((act, subject) for act, subject in fetched(select(AuditEntry.act, AuditEntry.subject)))


def once_each(count):
    return Counter((f"note.{half}", f"job {number}") for number in range(count) for half in ("first", "second"))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_once_does_what_is_due_and_ends(ask, start):
    ask(3)
    with start("--once") as process:
        assert process.wait(PATIENCE) == 0
    assert (open_jobs(), effects()) == (0, once_each(3))


def test_killed_at_any_moment_it_loses_nothing_and_does_nothing_twice(ask, start):
    many = sized(6, 3)
    ask(many, seconds=0.03)
    rounds = random.Random(1)
    while open_jobs():
        with start() as process:
            left = open_jobs()
            wait_for(lambda left=left: open_jobs() < left or open_jobs() == 0)
            time.sleep(rounds.uniform(0, 0.3))
            os.kill(process.pid, signal.SIGKILL)
    assert effects() == once_each(many)


def test_two_workers_do_each_job_once(ask, start):
    ask(40, seconds=0.01)
    with start() as one, start() as two:
        wait_for(lambda: not open_jobs())
        for process in (one, two):
            process.terminate()
            assert process.wait(PATIENCE) == 0
    assert effects() == once_each(40)


def test_a_job_that_outlives_its_lease_is_still_done_once(ask, start):
    ask(2, seconds=1.2)  # a lease is 2 s
    with start(), start():
        wait_for(lambda: not open_jobs())
    assert effects() == once_each(2)


@pytest.mark.databases("sqlite")
def test_told_to_stop_it_finishes_what_it_is_at(ask, start):
    ask(2, seconds=0.5)
    with start() as process:
        wait_for(lambda: fetched(select(Job.id).where(Job.leased_until.is_not(None))))
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert (open_jobs(), effects()) == (1, once_each(1))


def test_what_fails_leaves_no_effect_and_says_why(ask, start, tmp_path):
    ask(1, kind="refuse")
    ask(1, kind="unheard-of")
    with start("--once") as process:
        assert process.wait(PATIENCE) == 0
    errors = sorted(error for (error,) in fetched(select(Job.last_error)))
    assert errors == ["LookupError: nobody does jobs of the kind unheard-of", "OSError: not today"]
    assert effects() == Counter()
    assert '"kind":"refuse","attempt":1' in said(tmp_path) and '"problem":"OSError"' in said(tmp_path)


def test_it_survives_a_database_that_goes_away(ask, start, owner, tmp_path):
    with start() as process:
        owner.execute(text("ALTER TABLE job RENAME TO gone"))
        owner.commit()
        wait_for(lambda: "trying again" in said(tmp_path))
        owner.execute(text("ALTER TABLE gone RENAME TO job"))
        owner.commit()
        ask(1)
        wait_for(lambda: not open_jobs())
        assert process.poll() is None
    assert effects() == once_each(1)


def test_once_without_a_database_is_said_in_one_line(app, owner):
    owner.execute(text("ALTER TABLE hold RENAME TO gone"))
    owner.commit()
    done = app.test_cli_runner().invoke(args=["worker", "--once"])
    owner.execute(text("ALTER TABLE gone RENAME TO hold"))
    owner.commit()
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert done.output.startswith("Error: the database refuses: ")


def workers_of(server):
    found = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in found if "worker" in child.cmdline()]


def test_serve_runs_one_worker_and_ends_it(tmp_path):
    with serving(tmp_path, RUN_WORKER="1") as server:
        (worker,) = workers_of(server)
        server.stop()
        assert not worker.is_running()


def test_the_worker_ends_with_a_server_that_is_killed(tmp_path):
    with serving(tmp_path, RUN_WORKER="1") as server:
        (worker,) = workers_of(server)
        family = psutil.Process(server.process.pid).children(recursive=True)
        server.process.kill()
        server.process.wait()
        _, alive = psutil.wait_procs([worker], timeout=10)
        for process in family:
            if process.is_running():
                process.kill()
    assert alive == []


def test_a_receiver_of_webhooks_that_does_not_answer_holds_up_no_job(start, ask):
    release = threading.Event()
    with receiving() as slow:
        slow.answer = lambda handler: release.wait(10)
        with unit_of_work() as session:
            wanted = endpoints.Wanted(slow.url, ("invoice.final",))
            for _ in range(3):
                endpoint = endpoints.add(session, None, wanted, actor="test", now=LONG_AGO)
                endpoints.ping(session, endpoint, "", now=LONG_AGO)
        with start() as process:
            wait_for(lambda: len(slow.got) == 3)
            ask(3)
            wait_for(lambda: open_jobs() == 0)
            assert not fetched(select(WebhookAttempt.id))
            process.terminate()
            time.sleep(0.3)
            release.set()
            assert process.wait(PATIENCE) == 0
        assert len(fetched(select(WebhookAttempt.id))) == 3  # what was under way came to its end

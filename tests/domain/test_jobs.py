"""Jobs: asked for once, claimed by one, finished with their effect or tried again."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.core.errors import Conflict
from app.db import db, run_in_transaction, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.jobs.service import LostLease

LEASE = timedelta(minutes=1)


@pytest.fixture
def ask(app, now):
    def enqueue(key="one", **more):
        with unit_of_work() as session:
            return jobs.enqueue(session, "note", key, {"said": key}, **{"now": now, **more})

    return enqueue


def claim(at):
    return run_in_transaction(lambda session: jobs.claim(session, now=at, lease=LEASE))


def fail(job, at, error="OSError: away"):
    run_in_transaction(lambda session: jobs.fail(session, job, error, now=at))


def finish(job, at):
    run_in_transaction(lambda session: jobs.finish(session, job, now=at))


def stored(key="one"):
    db.session.rollback()
    return db.session.scalars(select(Job).where(Job.key == key).execution_options(populate_existing=True)).one()


def test_a_key_is_asked_for_once(ask, now):
    assert [ask(), ask()] == [True, False]
    job = claim(now)
    assert (job.kind, job.payload, job.attempts) == ("note", {"said": "one"}, 1)
    assert claim(now) is None


def test_what_is_rolled_back_was_never_asked_for(app, now):
    def act(session):
        jobs.enqueue(session, "note", "one", {}, now=now)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_in_transaction(act)
    assert claim(now) is None


def test_a_job_waits_for_its_time_and_the_longest_due_comes_first(ask, now):
    ask("later", run_at=now + LEASE / 2)
    ask("now")
    ask("long due", run_at=now - timedelta(hours=1))
    assert [claim(now).key, claim(now).key, claim(now)] == ["long due", "now", None]
    assert not jobs.is_any_due(db.session(), now=now)
    assert claim(now + LEASE / 2).key == "later"


def test_a_claim_that_is_not_finished_is_free_again_after_its_lease(ask, now):
    ask()
    first = claim(now)
    assert claim(now + LEASE - timedelta(microseconds=1)) is None
    second = claim(now + LEASE)
    assert second.attempts == 2
    fail(first, now + LEASE, "too late to say")
    assert claim(now + LEASE) is None
    finish(second, now + LEASE)
    assert (stored().last_error, stored().done_at) == ("", now + LEASE)
    for job in (first, second):
        with pytest.raises(LostLease):
            finish(job, now + LEASE)


def test_who_takes_longer_than_the_lease_and_is_done_first_has_done_it(ask, now):
    ask()
    slow, other = claim(now), claim(now + LEASE)
    finish(slow, now + LEASE)
    assert claim(now + 3 * LEASE) is None
    with pytest.raises(LostLease):
        finish(other, now + LEASE)
    fail(other, now + LEASE, "too late to say")
    assert (stored().last_error, stored().done_at, stored().leased_until) == ("", now + LEASE, None)


def test_any_error_can_be_kept(ask, now):
    ask()
    fail(claim(now), now, "Refused: 5\0 0")
    assert stored().last_error == "Refused: 5\ufffd 0"


def test_a_job_that_fails_waits_longer_and_longer_and_ends_dead(ask, now):
    ask()
    at, waited = now, []
    for attempt in range(1, jobs.MAX_ATTEMPTS + 1):
        job = claim(at)
        assert job.attempts == attempt
        fail(job, at)
        waited.append((stored().run_at - at).total_seconds())
        assert claim(at) is None
        at = stored().run_at
    assert all(15 * 2**n <= seconds <= 15 * 2**n * 1.25 for n, seconds in enumerate(waited[:8]))
    assert max(waited) <= 3600 * 1.25
    assert claim(at + timedelta(days=1)) is None
    assert (stored().dead_at is not None, stored().last_error) == (True, "OSError: away")
    assert jobs.count_dead(db.session()) == 1


def test_a_dead_job_is_revived_with_all_its_attempts(ask, now):
    ask()
    for attempt in range(jobs.MAX_ATTEMPTS):
        fail(claim(now + timedelta(days=attempt)), now + timedelta(days=attempt))
    job_id, later = stored().id, now + timedelta(days=30)
    with unit_of_work() as session:
        jobs.try_again(session, job_id, actor="nora", now=later)
    job = claim(later)
    assert job.attempts == 1
    finish(job, later)
    with pytest.raises(Conflict), unit_of_work() as session:
        jobs.try_again(session, job_id, actor="nora", now=later)
    assert db.session.scalars(select(AuditEntry.subject).where(AuditEntry.act == "job.retry")).all() == ["job:one"]


def test_a_running_job_is_left_alone(ask, now):
    ask()
    claim(now)
    with pytest.raises(Conflict), unit_of_work() as session:
        jobs.try_again(session, stored().id, actor="nora", now=now)


def test_all_dead_jobs_are_revived_together(ask, now):
    for key in ("one", "two", "three"):
        ask(key)
    with unit_of_work() as session:
        for job in session.scalars(select(Job).where(Job.key != "three")):
            job.dead_at = now
    assert len(jobs.find(db.session(), dead=True).jobs) == 2
    assert run_in_transaction(lambda session: jobs.try_all_again(session, actor="nora", now=now)) == 2
    assert (jobs.count_dead(db.session()), jobs.count_waiting(db.session())) == (0, 3)


def test_a_list_is_paged(ask):
    for number in range(5):
        ask(f"job {number}")
    page = jobs.find(db.session(), dead=False, most=3)
    assert [job.key for job in page.jobs] == ["job 4", "job 3", "job 2"]
    rest = jobs.find(db.session(), dead=False, after=page.after[0], most=3)
    assert ([job.key for job in rest.jobs], rest.after) == (["job 1", "job 0"], None)


def test_what_was_done_long_ago_is_forgotten(ask, now):
    ask("done")
    finish(claim(now), now)
    ask("open")
    run_in_transaction(lambda session: jobs.forget_done(session, now=now + jobs.KEPT_FOR + timedelta(seconds=1)))
    db.session.rollback()
    assert db.session.scalars(select(Job.key)).all() == ["open"]


def test_workers_at_once_claim_each_job_once(app, ask, now):
    keys = {f"job {number}" for number in range(40)}
    for key in keys:
        ask(key)
    claimed: list[str] = []

    def work():
        with app.app_context():
            while job := claim(now):
                claimed.append(job.key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(keys)

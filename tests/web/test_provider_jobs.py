"""Jobs that were given up or wait: seen, and tried again."""

import re

import pytest
from sqlalchemy import select

from app.db import unit_of_work
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.jobs import HANDLERS, OUTSIDE
from app.web.provider.jobs import KINDS


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def ask(app, now):
    def enqueue(number, dead, error="OSError: <away>"):
        with unit_of_work() as session:
            payload = {"to": f"user{number}@acme.example", "subject": f"subject {number}", "body": ""}
            jobs.enqueue(session, "mail", f"mail {number}", payload, now=now)
            job = session.scalars(select(Job).where(Job.key == f"mail {number}")).one()
            if dead:
                job.dead_at, job.last_error, job.attempts = now, error, jobs.MAX_ATTEMPTS
            return job.id

    return enqueue


def dead(session):
    session.expire_all()
    return list(session.scalars(select(Job.key).where(Job.dead_at.is_not(None))))


def test_a_dead_job_says_why_and_is_tried_again(staff, ask, session):
    job_id = ask(1, dead=True)
    home = staff.get("/provider").get_data(as_text=True)
    assert '<a href="/provider/jobs">1</a>' in home and "1 job was given up" in home and 'href="/provider/jobs"' in home
    page = staff.get("/provider/jobs").get_data(as_text=True)
    assert (
        "to user1@acme.example: subject 1" in page and "OSError: &lt;away&gt;" in page and "12 of 12 attempts" in page
    )
    assert staff.submit(f"/provider/jobs/{job_id}/retry").status_code == 303
    assert dead(session) == []
    assert "Nothing was given up" in staff.get("/provider/jobs").get_data(as_text=True)
    assert "was given up" not in staff.get("/provider").get_data(as_text=True)


def test_all_are_tried_again_at_once(staff, ask, session):
    for number in range(3):
        ask(number, dead=True)
    ask(4, dead=False)
    page = staff.submit("/provider/jobs/retry", follow_redirects=True).get_data(as_text=True)
    assert "3 jobs are tried again now." in page and dead(session) == []


def test_a_job_that_is_done_meanwhile_is_not_done_again(staff, ask, session, now):
    job_id = ask(1, dead=True)
    with unit_of_work() as act:
        act.get_one(Job, job_id).done_at = now
    assert staff.submit(f"/provider/jobs/{job_id}/retry").status_code == 409
    assert staff.submit("/provider/jobs/7/retry").status_code == 409


def test_what_waits_is_a_click_away_as_page_and_as_fragment(staff, ask):
    ask(1, dead=True)
    ask(2, dead=False)
    page = staff.get("/provider/jobs?state=waiting").get_data(as_text=True)
    assert "subject 2" in page and "subject 1" not in page
    fragment = staff.fragment("/provider/jobs?state=waiting", "div#jobs").get_data(as_text=True)
    assert fragment.lstrip().startswith('<div id="jobs"') and "subject 2" in fragment


def test_a_long_list_is_paged_and_costs_the_same(staff, ask, count_statements):
    counts = []
    for number in range(jobs.PAGE_SIZE + 2):
        ask(number, dead=True)
        if number in (0, jobs.PAGE_SIZE + 1):
            with count_statements() as seen:
                page = staff.get("/provider/jobs").get_data(as_text=True)
            counts.append(len(seen))
    assert counts[0] == counts[1]
    older = re.search(r'href="([^"]+)" rel="next"', page)[1].replace("&amp;", "&")
    assert staff.get(older).get_data(as_text=True).count("Try again</button>") == 2


def test_every_kind_of_job_has_its_words(app):
    assert set(KINDS) == {*HANDLERS, *OUTSIDE}
    with app.test_request_context():
        assert len({str(words) for words in KINDS.values()}) == len(KINDS)

"""A worker that does jobs until there are none; see killed.py."""

from datetime import timedelta

from app import jobs
from app.domain.billing import run
from tests.domain.killed import Step, one_after_the_other


def work(_: Step) -> None:
    while job := jobs.claim_next(timedelta(milliseconds=1)):
        assert jobs.perform(job) == ""


run.CHUNK = 3
one_after_the_other(work)

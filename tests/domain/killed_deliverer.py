"""A worker that delivers webhooks until there are none; see killed.py. To post is a step, to have posted another."""

from datetime import timedelta

from app import deliveries, webhooks
from app.db import run_in_transaction
from app.domain.webhooks import delivery
from tests.conftest import NOW
from tests.domain.killed import Step, one_after_the_other


def work(step: Step) -> None:
    post = webhooks.post

    def counted_post(*arguments):
        step()
        outcome = post(*arguments)
        step()  # the receiver has it, and nobody has noted that yet
        return outcome

    webhooks.post = counted_post
    while claimed := run_in_transaction(lambda session: delivery.claim(session, now=NOW, lease=timedelta())):
        deliveries.deliver(claimed)


deliveries.utc_now = lambda: NOW
one_after_the_other(work)

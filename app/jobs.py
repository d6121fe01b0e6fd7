"""Who does which kind of job, and what is done every so often. `flask worker` calls it; see app/domain/jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy.orm import Session

from app import branding, mail, notices
from app.core.clock import utc_now
from app.db import run_in_transaction
from app.domain.accounts import key_ends, links, rate_limits, recovery
from app.domain.billing import dunning, issuing, run as bill_run, standing
from app.domain.billing.dunning import Schedule
from app.domain.changes import offers, quote
from app.domain.jobs import service as jobs
from app.domain.jobs.service import Claimed, LostLease
from app.domain.metering import holds, low_balance, thresholds
from app.domain.privacy import masking
from app.domain.subscriptions import life, moves
from app.domain.webhooks import delivery, endpoints

Handler = Callable[[Session, dict[str, Any], datetime], None]


@dataclass(frozen=True, slots=True)
class Periodic:
    """An act that each worker repeats; two at once must do no more than one."""

    every: timedelta
    act: Callable[..., object]  # (session, *, now), in a transaction of its own


def _bill(session: Session, payload: dict[str, Any], now: datetime) -> None:
    bill_run.step(session, payload, branding.terms(), now=now)


def _mask(session: Session, *, now: datetime) -> None:
    masking.begin_daily(session, current_app.config["RINGPLAN"].RETENTION_MONTHS, now=now)


def _remind(session: Session, *, now: datetime) -> None:
    dunning.take_steps(session, Schedule.of(current_app.config["RINGPLAN"]), now=now)


# By kind: the effect, in one transaction with "done".
HANDLERS: dict[str, Handler] = {
    thresholds.MAIL: notices.tell_of_threshold,
    low_balance.MAIL: notices.tell_of_balance,
    offers.MAIL: notices.tell_of_offer,
    issuing.MAIL: notices.tell_of_invoice,
    bill_run.KIND: _bill,
    masking.KIND: masking.step,
    dunning.MAIL: notices.tell_of_dunning,
    endpoints.MAIL: notices.tell_of_endpoint,
    recovery.RESET: recovery.begin_reset,
    links.NOTICE: notices.tell_of_account,
    key_ends.MAIL: notices.tell_of_key,
}

# By kind: what reaches outside the database, before that transaction; it may happen twice, under the same key.
OUTSIDE: dict[str, Callable[[str, dict[str, Any]], None]] = {
    mail.KIND: mail.send,
    notices.INVOICE_MAIL: notices.send_invoice,
    links.MAIL: notices.send_link,
}

PERIODIC: tuple[Periodic, ...] = (
    Periodic(timedelta(seconds=10), holds.expire),
    Periodic(timedelta(seconds=10), moves.take_effect),
    Periodic(timedelta(seconds=10), life.end_trials),
    Periodic(timedelta(minutes=1), low_balance.tell),
    Periodic(timedelta(minutes=10), standing.mark_overdue),
    Periodic(timedelta(minutes=10), _remind),
    Periodic(timedelta(hours=1), _mask),
    Periodic(timedelta(hours=1), jobs.forget_done),
    Periodic(timedelta(hours=1), delivery.forget),
    Periodic(timedelta(hours=1), quote.forget),
    Periodic(timedelta(hours=1), links.forget),
    Periodic(timedelta(hours=1), key_ends.warn),
    Periodic(timedelta(hours=1), rate_limits.forget_old),
)


def claim_next(lease: timedelta) -> Claimed | None:
    """The longest due job, claimed and committed; None when nothing is due."""
    return run_in_transaction(lambda session: jobs.claim(session, now=utc_now(), lease=lease))


def perform(job: Claimed) -> str:
    """Do it once; returns empty, or why it was put off. Raises DBAPIError when the database is away."""
    try:
        _do(job)
    except LostLease:
        return ""  # done by the worker that claimed it after us
    except Exception as error:  # whatever a handler meets is kept with its job for a person
        problem = f"{type(error).__name__}: {error}"
        run_in_transaction(lambda session: jobs.fail(session, job, problem, now=utc_now()))
        return problem
    return ""


def _do(job: Claimed) -> None:
    if job.attempts > jobs.MAX_ATTEMPTS:
        raise RuntimeError("every worker that tried it ended before it was done")
    if job.kind not in HANDLERS and job.kind not in OUTSIDE:
        raise LookupError(f"nobody does jobs of the kind {job.kind}")
    if outside := OUTSIDE.get(job.kind):
        outside(job.key, job.payload)
    run_in_transaction(lambda session: _effect(session, job, utc_now()))


def _effect(session: Session, job: Claimed, now: datetime) -> None:
    jobs.finish(session, job, now=now)
    if handler := HANDLERS.get(job.kind):
        handler(session, job.payload, now)

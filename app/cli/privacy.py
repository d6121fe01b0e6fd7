"""flask privacy: what is done about data that was kept for long enough."""

import click
from flask import current_app

from app.cli.kit import ACTOR, Commands
from app.core.clock import utc_now
from app.db import run_in_transaction
from app.domain.privacy import masking
from app.domain.privacy.masking import Place
from app.domain.privacy.models import Masking

group = Commands("privacy", help="What is kept about people, and for how long.")


@group.command("mask")
def mask() -> None:
    """Mask the numbers of calls older than RETENTION_MONTHS now; the worker does it each day."""
    months = current_app.config["RINGPLAN"].RETENTION_MONTHS
    if not months:
        raise click.ClickException("RETENTION_MONTHS is 0: numbers are kept as they are")
    run_id = run_in_transaction(lambda session: masking.begin(session, months, now=utc_now()).id)
    place: Place | None = Place()
    while place:
        place = _slice(run_id, place)
    run = run_in_transaction(lambda session: session.get_one(Masking, run_id))
    click.echo(
        f"before {run.cutoff:%Y-%m-%d}: {run.records} records, {run.refusals} refused calls, {run.holds} holds,"
        f" {run.reports} reports"
    )


def _slice(run_id: int, place: Place) -> Place | None:
    return run_in_transaction(lambda session: masking.advance(session, run_id, place, actor=ACTOR, now=utc_now()))

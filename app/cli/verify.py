"""`flask verify`: recount everything from the rows, say what differs, keep the result for the provider's home."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
import msgspec
from flask.cli import with_appcontext
from sqlalchemy.orm import Session

from app.cli.kit import said_in_one_line
from app.cli.schema import on_schema
from app.cli.serve import wall_lines
from app.core.clock import utc_now
from app.db import run_in_transaction, snapshot
from app.domain.audit import chain, service as audit
from app.domain.insight.verify import CODES, differences

MOST_KEPT = 1_000  # differences stored for the provider's page and put into JSON; as plain lines all are printed


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_appcontext
@said_in_one_line()
@on_schema
def verify(as_json: bool) -> None:
    """Recount every invariant; exits 1 when something differs. May run at any time beside the server."""
    now, count = utc_now(), 0
    kept: list[dict[str, Any]] = []
    with snapshot() as session:
        for found in differences(session, now=now):
            count += 1
            if len(kept) < MOST_KEPT:
                kept.append(asdict(found))
            if not as_json:
                click.echo(str(found))
        end = chain.end_of(session)
    run_in_transaction(lambda act: audit.keep_verification(act, kept, now=now))
    if as_json:
        answer = {"at": now, "checks": len(CODES), "count": count, "differences": kept, "audit": end._asdict()}
        click.echo(msgspec.json.encode(answer).decode())
    else:
        click.echo(f"{len(CODES)} checks: {_words(count)}")
    for line in wall_lines():
        click.echo(line, err=True)
    if count:
        raise SystemExit(1)


def echo_differences(session: Session, *, now: datetime) -> int:
    """Recount, print what differs and how much that is, and keep nothing; returns how many."""
    count = 0
    for found in differences(session, now=now):
        count += 1
        click.echo(str(found))
    click.echo(f"{len(CODES)} checks: {_words(count)}")
    return count


def _words(count: int) -> str:
    return f"{count} difference{'s' if count > 1 else ''}" if count else "everything agrees"

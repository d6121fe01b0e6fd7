"""flask sources: the machines that report, and their keys."""

from datetime import timedelta

import click
from sqlalchemy.orm import Session

from app.cli.kit import ACTOR, Commands
from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts

group = Commands("sources", help="Machines that report usage.")
scopes_option = click.option(
    "--scopes", default="all", show_default=True, help=f"Separated by commas: {', '.join(accounts.SCOPES)}, or all."
)


label_option = click.option("--label", default="", help="What the key is for.")
days_option = click.option(
    "--days", type=click.IntRange(1, 3650), help="How many days the key is good for; without it until it is revoked."
)


@group.command("create")
@click.argument("code")
@click.option("--name", default="", help="How people call it; the code when not given.")
@scopes_option
@label_option
@days_option
def create(code: str, name: str, scopes: str, label: str, days: int | None) -> None:
    """Add a source and print its first key, which cannot be shown again."""
    with unit_of_work() as session:
        source = accounts.create_source(session, code, name, actor=ACTOR, now=utc_now())
        key = _issue(session, source, scopes, label, days)
    click.echo(key)


@group.command("issue-key")
@click.argument("code")
@scopes_option
@label_option
@days_option
def issue_key(code: str, scopes: str, label: str, days: int | None) -> None:
    """Print a further key of a source; the older ones stay valid until revoked."""
    with unit_of_work() as session:
        source = accounts.source_by_code(session, code)
        key = _issue(session, source, scopes, label, days)
    click.echo(key)


@group.command("revoke-key")
@click.argument("code")
@click.argument("prefix")
def revoke_key(code: str, prefix: str) -> None:
    """Refuse the key rp_PREFIX_… of a source from now on."""
    with unit_of_work() as session:
        key = accounts.find_key(session, prefix, source=accounts.source_by_code(session, code))
        accounts.revoke_key(session, key, actor=ACTOR, now=utc_now())
    click.echo(f"The key {prefix} is refused from now on.")


def _issue(session: Session, source: accounts.Source, scopes: str, label: str, days: int | None) -> str:
    now = utc_now()
    ends = now + timedelta(days=days) if days else None
    return accounts.issue_key(session, source, _listed(scopes), label=label, expires_at=ends, actor=ACTOR, now=now)


def _listed(scopes: str) -> list[str]:
    return [scope.strip() for scope in scopes.split(",") if scope.strip()]

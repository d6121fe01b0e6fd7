"""flask sources: the machines that report, and their keys."""

import click

from app.cli.kit import ACTOR, Commands
from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts

group = Commands("sources", help="Machines that report usage.")
scopes_option = click.option(
    "--scopes", default="all", show_default=True, help=f"Separated by commas: {', '.join(accounts.SCOPES)}, or all."
)


@group.command("create")
@click.argument("code")
@click.option("--name", default="", help="How people call it; the code when not given.")
@scopes_option
def create(code: str, name: str, scopes: str) -> None:
    """Add a source and print its first key, which cannot be shown again."""
    with unit_of_work() as session:
        source = accounts.create_source(session, code, name, actor=ACTOR, now=utc_now())
        key = accounts.issue_key(session, source, _listed(scopes), actor=ACTOR, now=utc_now())
    click.echo(key)


@group.command("issue-key")
@click.argument("code")
@scopes_option
def issue_key(code: str, scopes: str) -> None:
    """Print a further key of a source; the older ones stay valid until revoked."""
    with unit_of_work() as session:
        source = accounts.source_by_code(session, code)
        key = accounts.issue_key(session, source, _listed(scopes), actor=ACTOR, now=utc_now())
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


def _listed(scopes: str) -> list[str]:
    return [scope.strip() for scope in scopes.split(",") if scope.strip()]

"""What every command stands on: one-line errors, and passwords that are not shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from flask.cli import AppGroup
from sqlalchemy.exc import DBAPIError

from app.cli.schema import on_schema
from app.core.errors import DomainError

ACTOR = "command line"  # in the audit trail


class Commands(AppGroup):
    """A group whose commands end with one line and exit code 1 when the domain or the database refuses.

    Each may be the first one that an installation sees.
    """

    def command(  # type: ignore[override]  # always called, as Flask's own is
        self, *args: Any, **kwargs: Any
    ) -> Callable[[Callable[..., Any]], click.Command]:
        """As a group's, on a database with tables."""
        register = super().command(*args, **kwargs)
        return lambda act: register(on_schema(act))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises ClickException in place of what it met."""
        with said_in_one_line():
            return super().invoke(ctx)


@contextmanager
def said_in_one_line() -> Iterator[None]:
    """What the domain or the database refuses as a ClickException."""
    try:
        yield
    except DomainError as error:
        raise click.ClickException(error.message) from None
    except DBAPIError as error:
        raise click.ClickException(f"the database refuses: {str(error.orig).splitlines()[0]}") from None


def read_password() -> str:
    """Asked twice and not shown on a terminal; else the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")

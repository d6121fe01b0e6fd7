"""flask commands, for the operator at the server."""

from flask import Flask

from app.cli import accounts, demo, sources

GROUPS = (accounts.group, sources.group, demo.group)


def init_app(app: Flask) -> None:
    """Register the groups."""
    for group in GROUPS:
        app.cli.add_command(group)

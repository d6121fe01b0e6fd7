"""flask commands, for the operator at the server."""

from flask import Flask

from app.cli import accounts, backup, demo, imports, privacy, serve, sources, verify, worker

COMMANDS = (
    accounts.group,
    sources.group,
    demo.group,
    imports.group,
    serve.serve,
    verify.verify,
    worker.worker,
    privacy.group,
    backup.backup,
    backup.restore,
)


def init_app(app: Flask) -> None:
    """Register the groups and commands."""
    for command in COMMANDS:
        app.cli.add_command(command)

"""`flask serve`: one command that migrates, loads the demo the first time and serves until it is told to stop."""

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import click
import flask_migrate
from flask import current_app
from flask.cli import with_appcontext
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server import Server
from sqlalchemy.exc import OperationalError

from app import metrics, wall
from app.cli.demo import is_empty, load_demo
from app.cli.schema import alone
from app.config import Settings
from app.db import db

STOP_SECONDS = 2  # what a running request gets to finish; live streams end when it is over
MOST_CONNECTIONS = 10_000  # of a worker; one that sends nothing takes no thread, but a file of the system
SPARE_FILES = 256  # beside connections and threads: databases, logs, libraries
BACKLOG = 1024  # connections the kernel holds while every thread is busy


@click.command("serve")
@with_appcontext
def serve() -> None:
    """Prepare the database and serve the portal."""
    settings: Settings = current_app.config["RINGPLAN"]
    address = free_address(settings)
    try:
        with alone():
            lines = _prepare(settings)
    except OperationalError as error:
        raise SystemExit(f"ringplan: the database cannot be used: {str(error.orig).splitlines()[0]}") from None
    address = free_address(settings)  # somebody else may have taken it while the demo was loaded
    host = f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST
    for line in (*lines, f"Ringplan: http://{host}:{settings.PORT} (stop with Ctrl-C)"):
        click.echo(line)
    with _worker(settings):
        _run(settings, address)


def free_address(settings: Settings) -> str:
    """The numeric address of HOST. Raises SystemExit with one line when HOST:PORT cannot be served on.

    Asked before anything else, since the server itself would share the port with whoever has it (SO_REUSEPORT).
    """
    where = f"{settings.HOST}:{settings.PORT}"
    try:
        family, *_, target = socket.getaddrinfo(settings.HOST, settings.PORT, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SystemExit(f"ringplan: {where} is already in use; set PORT to another one") from None
        raise SystemExit(f"ringplan: cannot serve on {where}: {error.strerror}") from None
    return str(target[0])


def _prepare(settings: Settings) -> list[str]:
    """Bring the schema to its newest revision, load the demo into an empty database; returns lines to print."""
    flask_migrate.upgrade()
    lines = load_demo() if settings.RINGPLAN_DEMO and is_empty(db.session()) else []
    db.session.remove()
    return [*lines, *wall_lines()]


def wall_lines() -> list[str]:
    """What is missing of the wall between tenants, to be said at the start and beside a recount."""
    with db.engine.connect() as connection:
        return [f"row-level security: {gap}; see docs/operations.md" for gap in wall.gaps(connection)]


@contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    """One worker for as long as the server runs; it ends by itself when this process is killed."""
    if not settings.RUN_WORKER:
        yield
        return
    flask = [sys.executable, "-m", "flask", "--app", "app"]
    # In a session of its own: Ctrl-C is for the server, which then tells the worker.
    process = subprocess.Popen([*flask, "worker", "--parent", str(os.getpid())], start_new_session=True)  # noqa: S603
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its job is taken up again when the lease is over
            process.wait()


def _run(settings: Settings, address: str) -> None:
    """Serve until SIGTERM or SIGINT; workers are forked, so no connection may be open here."""
    for engine in db.engines.values():
        engine.dispose()
    with TemporaryDirectory(prefix="ringplan-metrics-") as folder:
        os.environ[metrics.SHARED] = folder  # its workers add their counts up there
        _serve(settings, address)


def _serve(settings: Settings, address: str) -> None:
    Server(
        "app.wsgi:create_served_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=address,
        port=settings.PORT,
        workers=settings.WORKERS,
        blocking_threads=settings.BLOCKING_THREADS,
        backpressure=_most_connections(settings.BLOCKING_THREADS),
        backlog=BACKLOG,
        http=HTTPModes.http1,
        websockets=False,
        workers_kill_timeout=STOP_SECONDS,
        log_level=LogLevels.error,
    ).serve()


def _most_connections(threads: int) -> int:
    """As many as the system lets a process have, and no fewer than there are threads."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + threads + SPARE_FILES
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(threads, allowed - threads - SPARE_FILES)

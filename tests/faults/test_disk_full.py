"""The disk of the SQLite file is full: what does not fit is refused whole, and taken when there is room again.

Two ways to fill it. A file size limit, set on the running processes, needs no privilege and so runs everywhere; the
kernel then refuses to let the file grow, which SQLite reports as an I/O error. A small file system of its own is the
real thing (ENOSPC, "database or disk is full") and is tried where one may be mounted.
"""

import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.faults.reporters import Reporters, assert_stored_once, messages, seed, sized
from tests.server import LiveServer, serving

ROOM = 400_000  # bytes left before the disk is full
FULL_SECONDS = 1.5
Fill = Callable[[LiveServer], None]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 12 MB. Skips the test where none may be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "ringplan-test", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill_disk(server: LiveServer) -> None:
    """All but ROOM bytes of the file system."""
    free = psutil.disk_usage(str(server.folder)).free
    (server.folder / "ballast").write_bytes(bytes(max(0, free - ROOM)))


def clear_disk(server: LiveServer) -> None:
    (server.folder / "ballast").unlink()


def limit_files(server: LiveServer) -> None:
    """No file of the server grows beyond ROOM more than the log of the database has."""
    log = server.folder / "ringplan.sqlite-wal"
    _limit(server, log.stat().st_size + ROOM)


def unlimit_files(server: LiveServer) -> None:
    _limit(server, resource.RLIM_INFINITY)


def _limit(server: LiveServer, size: int) -> None:
    parent = psutil.Process(server.process.pid)
    for process in (parent, *parent.children(recursive=True)):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_file_system(tmp_path: Path):
    with small_disk(tmp_path) as disk:
        report_while_full(disk, fill_disk, clear_disk, 507)


def test_files_that_may_not_grow(tmp_path: Path):
    report_while_full(tmp_path, limit_files, unlimit_files, 503)


def report_while_full(folder: Path, fill: Fill, clear: Fill, status: int) -> None:
    with serving(folder) as server:
        reporters, sent = Reporters(server.url, seed(server)), messages(sized(3_000, 1_000))
        with server.seeding() as make:
            browser = server.signed_in(make.staff().email)
        fill(server)
        with reporters.sending(sent):
            wait_until_refused(reporters)
            assert browser.get(f"{server.url}/provider", timeout=30).status_code == 200  # what reads still works
            time.sleep(FULL_SECONDS)
            clear(server)
        assert reporters.answers["unreachable"] == 0
        assert reporters.answers[status] > 0
        reporters.assert_told_to_retry(status)
        assert_stored_once(server, sent)
    with sqlite3.connect(folder / "ringplan.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def wait_until_refused(reporters: Reporters) -> None:
    deadline = time.monotonic() + 60
    while not reporters.refusals:
        assert time.monotonic() < deadline, "it never was full"
        time.sleep(0.01)

"""Servers to measure: the portal and the bare Flask page, each in processes of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import requests

from tests.bench.setting import Setting, free_port


@dataclass(frozen=True)
class Server:
    """Where it answers, and its first process."""

    base: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """CPU of the server and its workers so far; a PostgreSQL server is none of them."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(member.cpu_times()[:2]) for member in family)


@contextmanager
def bare(*, one_cpu: bool = False) -> Iterator[Server]:
    """A Flask page that does nothing, on the portal's own server; on `one_cpu` as the portal, or as it comes."""
    granian = "granian --interface wsgi --workers 1 --blocking-threads 64 --no-ws --log-level warning --factory".split()
    port = free_port()
    with _running(
        port, ["-m", *granian, "--port", str(port), "tests.bench.bare:create_app"], {"ONE_CPU": str(int(one_cpu))}
    ) as server:
        yield server


@contextmanager
def portal(setting: Setting) -> Iterator[Server]:
    """The portal on a prepared database; no worker, whose jobs would be measured with it."""
    port = free_port()
    environment = {**setting.environment, "RINGPLAN_DEMO": "0", "RUN_WORKER": "0"}
    environment |= {"PORT": str(port), "HOST": "127.0.0.1"}
    environment["RATE_LIMIT_KEY"] = "10000000"  # counted as ever, and never reached
    with _running(port, ["-m", "flask", "--app", "app", "serve"], environment) as server:
        yield server


@contextmanager
def _running(port: int, arguments: list[str], environment: dict[str, str]) -> Iterator[Server]:
    # As under a supervisor: the log is written, and nobody looks at it here.
    process = subprocess.Popen(
        [sys.executable, *arguments], env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait_for(base)
        yield Server(base, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(base: str) -> None:
    for _ in range(300):
        try:
            requests.get(f"{base}/healthz", timeout=1)
            return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise SystemExit(f"bench: nobody answers at {base}")

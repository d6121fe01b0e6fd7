"""`make bench`: what the portal costs, as ratios within one run, on SQLite and PostgreSQL.

Prints requests per second against a bare Flask page on the same server, and events per second of 1,000-event
bodies over HTTP against the same rows and meter updates by plain SQL. Figures, never a pass or a fail.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.bench import plain
from tests.bench.setting import Setting, free_port, settings_for

SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
BATCHES = int(os.environ.get("BENCH_BATCHES", "20"))
BATCH = 1_000


@contextmanager
def serving(environment: dict[str, str], target: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """A server process of its own; yields its address and its process."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *target], env={**os.environ, **environment, "PORT": str(port), "HOST": "127.0.0.1"}
    )
    try:
        base = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                requests.get(base + "/healthz", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.1)
        yield base, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def cpu_seconds(process: psutil.Process) -> float:
    """CPU of a server and its workers so far."""
    family = [process, *process.children(recursive=True)]
    return sum(sum(member.cpu_times()[:2]) for member in family)


def wrk(url: str, headers: dict[str, str] | None = None, script: str = "") -> float:
    """Requests per second with 16 connections."""
    command = ["wrk", "-t2", "-c16", f"-d{SECONDS:.0f}s", url]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            command += ["-s", file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in report:
        raise SystemExit(f"{url}: {report}")
    return float(report.split("Requests/sec:")[1].split()[0])


def measured(process: psutil.Process, load: Callable[[], float]) -> tuple[float, float]:
    """Requests per second and CPU microseconds a request of the server."""
    before, started = cpu_seconds(process), time.perf_counter()
    rate = load()
    spent = cpu_seconds(process) - before
    return rate, spent / (rate * (time.perf_counter() - started)) * 1e6


def events(prefix: str, count: int) -> list[dict[str, Any]]:
    """Events of one tenant as a PBX would send them."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        {
            "id": f"{prefix}-{number}",
            "tenant": "acme",
            "resource": "voice_minutes",
            "quantity": 7,
            "occurred_at": moment,
            "attributes": {"from": "101", "to": "442079460958", "direction": "outbound"},
        }
        for number in range(count)
    ]


def batch_over_http(base: str, key: str) -> float:
    """Events per second of 1,000-event bodies, one connection."""
    client = requests.Session()
    client.headers["Authorization"] = f"Bearer {key}"
    bodies = [json.dumps({"events": events(f"http-{number}", BATCH)}).encode() for number in range(BATCHES + 1)]
    started = 0.0
    for number, body in enumerate(bodies):
        if number == 1:  # the first one warms up
            started = time.perf_counter()
        answer = client.post(
            f"{base}/api/v1/usage", data=body, headers={"Content-Type": "application/json"}, timeout=60
        )
        answer.raise_for_status()
        if answer.json()["accepted"] != BATCH:
            raise SystemExit(f"not accepted: {answer.text[:300]}")
    return BATCHES * BATCH / (time.perf_counter() - started)


def batch_by_plain_sql(setting: Setting) -> float:
    """Events per second of the same rows through the driver."""
    writer = plain.Sqlite(setting.sqlite_path) if setting.sqlite_path else plain.Postgresql(setting.url)
    batches = [setting.plain_rows(f"plain-{number}", BATCH) for number in range(BATCHES + 1)]
    started = 0.0
    for number, rows in enumerate(batches):
        if number == 1:
            started = time.perf_counter()
        writer.write(rows)
    return BATCHES * BATCH / (time.perf_counter() - started)


def single_event_script(key: str) -> str:
    """A wrk script that posts one fresh event a request."""
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    return f"""
local thread_number = 0
function setup(thread) thread:set("number", thread_number); thread_number = thread_number + 1 end
function init(args) counter = 0; math.randomseed(os.time() + number * 7919); run = math.random(1, 1e9) end
function request()
  counter = counter + 1
  local body = '{{"id":"s-' .. run .. '-' .. number .. '-' .. counter .. '","tenant":"acme",' ..
    '"resource":"voice_minutes","quantity":7,"occurred_at":"{moment}",' ..
    '"attributes":{{"from":"101","to":"442079460958","direction":"outbound"}}}}'
  return wrk.format("POST", "/api/v1/usage",
    {{["Content-Type"]="application/json", ["Authorization"]="Bearer {key}"}}, body)
end"""


BARE_POST = """
function request()
  return wrk.format("POST", "/", {["Content-Type"]="application/json"}, string.rep("x", 200))
end"""


def machine() -> str:
    """The machine's name for the record."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    """Measure and print."""
    if not shutil.which("wrk"):
        raise SystemExit("bench: needs wrk (Debian package wrk)")
    print(f"Measured on {machine()}\n")
    granian = ["-m", "granian", "--interface", "wsgi", "--workers", "1", "--blocking-threads", "64", "--no-ws"]
    rows: list[tuple[str, ...]] = []
    for setting in settings_for(tempfile.mkdtemp(prefix="rpb-")):
        with setting:
            port = free_port()
            bare = [*granian, "--factory", "--port", str(port), "--log-level", "warning", "tests.bench.bare:create_app"]
            process = subprocess.Popen([sys.executable, *bare])
            try:
                time.sleep(2)
                server = psutil.Process(process.pid)
                page = measured(server, lambda: wrk(f"http://127.0.0.1:{port}/"))
                post = measured(server, lambda: wrk(f"http://127.0.0.1:{port}/", script=BARE_POST))
            finally:
                process.terminate()
                process.wait(20)
            environment = {**setting.environment, "RINGPLAN_DEMO": "0"}
            with serving(environment, ["-m", "flask", "--app", "app", "serve"]) as (base, server):
                cookie = {"Cookie": setting.sign_in(base)}
                found = {
                    "meter fragment": (measured(server, lambda: wrk(f"{base}/portal/meters", cookie)), page),
                    "tenant's home": (measured(server, lambda: wrk(f"{base}/portal", cookie)), page),
                    "single event": (
                        measured(server, lambda: wrk(base, script=single_event_script(setting.key))),
                        post,
                    ),
                }
                over_http = batch_over_http(base, setting.key)
            by_sql = batch_by_plain_sql(setting)
            for name, ((rate, cpu), (bare_rate, bare_cpu)) in found.items():
                rows.append(
                    (setting.name, name, f"{rate:,.0f}/s", f"{bare_rate:,.0f}/s bare", f"{rate / bare_rate:.2f}")
                    + (f"{cpu:,.0f} µs ({bare_cpu:,.0f})",)
                )
            rows.append(
                (setting.name, "batch of 1,000", f"{over_http:,.0f} ev/s", f"{by_sql:,.0f} ev/s plain SQL")
                + (f"{over_http / by_sql:.2f}", "")
            )
    print("| database | what | Ringplan | compared with | ratio | CPU a request (bare) |\n|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()

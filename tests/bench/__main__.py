"""`make bench`: what the portal costs, as ratios within one run, on SQLite and PostgreSQL.

Requests against a bare Flask page and the plain SQL of the same act, batches against plain SQL, writers that meet on one
tenant, and the same requests with FEW and with ROWS records in the table. Figures, never a pass or a fail.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench import batches, load
from tests.bench.load import Load, measure
from tests.bench.plain_calls import Calls
from tests.bench.servers import Server, bare, portal
from tests.bench.setting import OTHERS, Setting, settings_for

FEW = 10_000
ROWS = int(os.environ.get("ROWS", "1000000"))
Row = tuple[str, ...]


def main() -> None:
    """Measure and print."""
    if not shutil.which("wrk"):
        raise SystemExit("bench: needs wrk (Debian package wrk)")
    print(f"Measured on {machine()}; load before: {os.getloadavg()[0]:.1f}\n", flush=True)
    with bare(one_cpu=True) as server:
        print_bare("on one CPU, as the portal", measure(server), measure(server, script=load.BARE_POST))
    with bare() as server:
        page, post = measure(server), measure(server, script=load.BARE_POST)
    print_bare("as the server comes, which the tables compare with", page, post)
    print()
    with tempfile.TemporaryDirectory(prefix="rpb-") as folder:
        tables = [measured(setting, page, post) for setting in settings_for(folder)]
    heads = (
        ("database", "what", "Ringplan", "compared with", "ratio", "CPU of it", "of bare page + plain SQL", "ratio"),
        ("database", "what", "rate", "median wait", "worst wait"),
        ("database", "what", f"CPU with {FEW:,} records", f"with {ROWS:,}", "ratio"),
        ("database", f"bill run with {ROWS:,} records", "CPU", "compared with", "ratio", "statements", "memory"),
    )
    for head, parts in zip(heads, zip(*tables, strict=True), strict=True):
        print_table(head, [row for part in parts for row in part])


def measured(setting: Setting, page: Load, post: Load) -> tuple[list[Row], list[Row], list[Row], list[Row]]:
    """The rows of the four tables for one database."""
    with setting:
        fill(setting, FEW)
        with portal(setting) as server:
            cookie = {"Cookie": setting.sign_in(server.base)}
            load.warm_up(server, load.whole_calls(setting.key))
            setting.analyze()
            few = requests_of(server, setting, cookie)
            few["a call's three requests"] = measure(server, script=load.whole_calls(setting.key))
            crowds = list(crowded(server, setting))
            events_rate = batches.over_http(server.base, setting.key)
        plain_rate, plain = batches.by_plain_sql(setting), plain_acts(setting)
        compared = [
            compare(name, found, post if name in plain else page, plain.get(name)) for name, found in few.items()
        ]
        events = (f"{events_rate:,.0f} events/s", f"{plain_rate:,.0f} by plain SQL", f"{events_rate / plain_rate:.2f}")
        compared.append(("batch of 1,000", *events, "", "", ""))
        fill(setting, ROWS - FEW)
        with portal(setting) as server:
            many = requests_of(server, setting, {"Cookie": setting.sign_in(server.base)})
        billed = [bill_run(setting)]
    flat = [
        (name, micros(few[name].cpu), micros(found.cpu), f"{found.cpu / few[name].cpu:.2f}")
        for name, found in many.items()
    ]
    return [[(setting.name, *row) for row in rows] for rows in (compared, crowds, flat, billed)]  # type: ignore[return-value]


def requests_of(server: Server, setting: Setting, cookie: dict[str, str]) -> dict[str, Load]:
    """What is asked most."""
    return {
        "meter fragment": measure(server, "/portal/meters", headers=cookie),
        "tenant's home": measure(server, "/portal", headers=cookie),
        "single event": measure(server, script=load.single_events(setting.key)),
        "authorize": measure(server, script=load.authorisations(setting.key)),
    }


def plain_acts(setting: Setting) -> dict[str, float]:
    """CPU microseconds that the plain SQL behind a request takes in the process that runs it."""
    one, calls = batches.one_by_plain_sql(setting), Calls(setting)
    return {
        "single event": load.alone(lambda: next(one)).cpu,
        "authorize": load.alone(calls.grant).cpu,
        "a call's three requests": load.alone(calls.whole).cpu / 3,
    }


def compare(name: str, found: Load, floor: Load, plain: float | None) -> Row:
    """A row: requests a second against the bare page, CPU against the bare page and the plain SQL."""
    least = floor.cpu + (plain or 0)
    rates = (f"{found.rate:,.0f}/s", f"{floor.rate:,.0f}/s bare", f"{found.rate / floor.rate:.2f}")
    return (name, *rates, micros(found.cpu), micros(least), f"{found.cpu / least:.1f}")


def crowded(server: Server, setting: Setting) -> Iterator[Row]:
    """Rows: 16 writers on one tenant and on all, and calls of a tenant whose batches come in."""
    for name, tenant in (
        ("16 writers, one tenant", "'acme'"),
        (f"16 writers, {OTHERS:,} tenants", f"string.format('t%04d', math.random(0, {OTHERS - 1}))"),
    ):
        found = measure(server, script=load.single_events(setting.key, tenant))
        yield name, f"{found.rate:,.0f} events/s", f"{found.median:.0f} ms", f"{found.worst:.0f} ms"
    calls, took = batches.calls_meanwhile(server.base, setting.key)
    for name, waits in (("authorize while batches come in", calls), ("those batches of 1,000", took)):
        median, worst = batches.milliseconds(waits)
        yield name, f"{len(waits) / load.SECONDS:,.0f}/s", f"{median:.0f} ms", f"{worst:.0f} ms"


def fill(setting: Setting, count: int) -> None:
    """More records, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.fill", str(count)]
    subprocess.run(command, env={**os.environ, **setting.environment}, check=True, stdout=subprocess.DEVNULL)


def bill_run(setting: Setting) -> Row:
    """A row: the bill run against plain SQL, on a database of its own."""
    command = [sys.executable, "-m", "tests.bench.bill_run"]
    environment = {**os.environ, **setting.another("bill")}
    found = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return tuple(found.stdout.splitlines()[-1].split("|"))


def print_bare(how: str, page: Load, post: Load) -> None:
    """What the server makes of a page that does nothing."""
    said = (f"{name} {found.rate:,.0f}/s at {micros(found.cpu)}" for name, found in (("page", page), ("POST", post)))
    print(f"Bare Flask {how}: {', '.join(said)}", flush=True)


def micros(cpu: float) -> str:
    """CPU of a request in words."""
    return f"{cpu:,.0f} µs"


def print_table(head: Row, rows: list[Row]) -> None:
    """Markdown, for the README."""
    print("\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)) + "\n")


def machine() -> str:
    """The machine's name for the record."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()

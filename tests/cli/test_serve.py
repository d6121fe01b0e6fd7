"""`flask serve` as an operator meets it: a real process on a real port."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from tests.server import ROOT, LiveServer, free_port, serving

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def serve_in_vain(**settings: str) -> str:
    """The one line that a start which cannot succeed prints."""
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "serve"],
        cwd=ROOT, env={**os.environ, "RINGPLAN_DEMO": "0", **settings}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def taken_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_before_anything_is_prepared(taken_port: int, tmp_path: Path):
    said = serve_in_vain(RINGPLAN_INSTANCE=str(tmp_path), PORT=str(taken_port))
    assert said == f"ringplan: 127.0.0.1:{taken_port} is already in use; set PORT to another one\n"
    assert not (tmp_path / "ringplan.sqlite").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "70000"}, "ringplan: PORT=70000 is not between 1 and 65535\n"),
        ({"WORKERS": "0"}, "ringplan: WORKERS=0 is not between 1 and 256\n"),
        ({"POLL_SECONDS": "nan"}, "ringplan: POLL_SECONDS=nan is not between 0.01 and 3600\n"),
        ({"PORT": "eighty"}, "ringplan: PORT='eighty' is not a valid int\n"),
        ({"INVOICE_PREFIX": "A/{year}-"}, "ringplan: INVOICE_PREFIX='A/{year}-' may have no slash and no control char"),
        ({"INVOICE_PREFIX": "A\n"}, "ringplan: INVOICE_PREFIX='A\\n' may have no slash and no control characters"),
        ({"DATABASE_URL": "mysql://u:hush@h/x"}, "ringplan: DATABASE_URL is no address like "),
        ({"DATABASE_URL": "postgresql://u:hush@h:p/x"}, "ringplan: DATABASE_URL is no address like "),
        ({"DATABASE_URL": "sqlite://"}, "ringplan: DATABASE_URL is no address like "),
        ({"HOST": "192.0.2.1"}, "ringplan: cannot serve on 192.0.2.1:8123: Cannot assign requested address\n"),
        ({"RINGPLAN_INSTANCE": "/proc/nowhere"}, "ringplan: cannot create the instance folder /proc/nowhere: "),
    ],
)
def test_what_cannot_work_is_said_in_one_line(settings: dict[str, str], said: str, tmp_path: Path):
    answer = serve_in_vain(**{"RINGPLAN_INSTANCE": str(tmp_path), "PORT": "8123", **settings})
    assert answer.startswith(said)
    assert answer.count("\n") == 1
    assert "hush" not in answer


@pytest.mark.parametrize(("number", "said"), [("'two'", "two"), ("None", "None"), ("float('nan')", "nan")])
def test_a_number_that_is_none_in_the_instances_own_file_is_said_in_one_line(number: str, said: str, tmp_path: Path):
    (tmp_path / "config.py").write_text(f"WORKERS = {number}\n")
    answer = serve_in_vain(RINGPLAN_INSTANCE=str(tmp_path), PORT=str(free_port()))
    assert answer == f"ringplan: WORKERS={said} is not between 1 and 256\n"


def test_a_database_that_does_not_answer_is_said_in_one_line(tmp_path: Path):
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/ringplan"
    answer = serve_in_vain(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=url, PORT=str(free_port()))
    assert answer.startswith("ringplan: the database cannot be used: ")
    assert answer.count("\n") == 1


def _said(server: LiveServer) -> list[str]:
    """What it printed for the operator, without the log."""
    return [line for line in server.output.splitlines() if not line.startswith("{")]


def test_the_first_start_loads_the_demo_and_the_second_keeps_it(tmp_path: Path):
    with serving(tmp_path, RINGPLAN_DEMO="1") as first:
        assert "demo@northline.example" in first.output
    with serving(tmp_path, RINGPLAN_DEMO="1") as second:
        assert _said(second) == [f"Ringplan: {second.url} (stop with Ctrl-C)"]


def test_two_starts_at_once_migrate_one_after_the_other(tmp_path: Path):
    with serving(tmp_path) as one, serving(tmp_path) as two:
        assert [len(_said(server)) for server in (one, two)] == [1, 1]


def test_it_stops_within_seconds_although_streams_are_open(live_server: LiveServer):
    with live_server.seeding() as make:
        tenant = make.tenant("Acme")
        make.subscribe(tenant, make.package("gold", {"voice_minutes": 6_000}))
        browser = live_server.signed_in(make.user(tenant).email)
    streams = [browser.get(f"{live_server.url}/portal/meters/stream", stream=True, timeout=10) for _ in range(3)]
    assert [next(stream.iter_content(None))[:1] != b"" for stream in streams] == [True] * 3
    assert live_server.stop() < 5
    assert live_server.process.returncode == 0
    for stream in streams:
        stream.close()


@pytest.mark.skipif(CPUS < 2, reason="needs two CPUs, and a system that lets a process choose")
@pytest.mark.parametrize(("one_cpu", "most"), [("1", 1), ("0", CPUS)])
def test_a_server_process_keeps_to_one_cpu(one_cpu: str, most: int, tmp_path: Path):
    with serving(tmp_path, ONE_CPU=one_cpu) as server:
        requests.get(f"{server.url}/login", timeout=10)
        family = psutil.Process(server.process.pid).children(recursive=True)
        served = max(family, key=lambda process: process.num_threads())
        found = {len(os.sched_getaffinity(thread.id)) for thread in served.threads()}
    assert found == {most}


def test_metrics_add_up_over_all_worker_processes(tmp_path: Path):
    with serving(tmp_path, WORKERS="2") as server:
        for _ in range(20):
            requests.get(f"{server.url}/healthz", timeout=10)
        found = {requests.get(f"{server.url}/metrics", timeout=10).text for _ in range(6)}
    counts = {line for text in found for line in text.splitlines() if 'count{endpoint="healthz"' in line}
    assert {line.rsplit(" ", 1)[1] for line in counts} == {"20.0"}, counts

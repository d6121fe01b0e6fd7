"""A server process keeps to one CPU, leaves it to others that need it, and lets long native work run on all."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from app.one_cpu import _Look, best

CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
# A process that keeps to one CPU, with a thread that waits, one that came later and one that is anywhere. For each line
# that it reads it tells where they may run. Where to be is said by the test: the machine is as busy as it is.
KEEPER = """
import os, sys, threading, time
from app import one_cpu
threads, wanted = {}, []
one_cpu.LOOK_SECONDS = 0.05
one_cpu.best = lambda current, busy, own: wanted[-1] if wanted and current in busy and own >= 0 else current
def wait(name, roams):
    threads[name] = threading.get_native_id()
    if roams:
        with one_cpu.anywhere():
            there.set(); over.wait()
        back.set()
    there.set(); over.wait(); time.sleep(60)
over, back = threading.Event(), threading.Event()
def begin(name, roams=False):
    global there
    there = threading.Event()
    threading.Thread(target=wait, args=(name, roams), daemon=True).start()
    there.wait()
begin("early")
one_cpu.keep()
begin("late"); begin("roams", True)
threads["main"] = os.getpid()
for line in sys.stdin:
    if line.strip() == "back":
        over.set(); back.wait()
    elif line.strip():
        wanted.append(int(line))
    print({name: sorted(os.sched_getaffinity(thread)) for name, thread in threads.items()}, flush=True)
"""


@pytest.fixture
def keeper() -> Iterator[subprocess.Popen[str]]:
    if len(CPUS) < 2:
        pytest.skip("needs two CPUs")
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe
        pipe.close()


def ask(keeper: subprocess.Popen[str], what: str = "") -> dict[str, list[int]]:
    assert keeper.stdin and keeper.stdout
    keeper.stdin.write(f"{what}\n")
    keeper.stdin.flush()
    found: dict[str, list[int]] = eval(keeper.stdout.readline())
    return found


def test_all_threads_keep_to_one_cpu_but_for_who_is_anywhere(keeper: subprocess.Popen[str]) -> None:
    found = ask(keeper)

    assert len(found["main"]) == 1
    assert found["early"] == found["late"] == found["main"]
    assert found["roams"] == CPUS

    found = ask(keeper, "back")
    assert found["roams"] == found["main"]


def test_all_of_them_move_together(keeper: subprocess.Popen[str]) -> None:
    before = ask(keeper)["main"]
    other = next(cpu for cpu in CPUS if [cpu] != before)
    until = time.monotonic() + 30
    found = ask(keeper, str(other))
    while any(found[name] == before for name in ("early", "late", "main")) and time.monotonic() < until:
        time.sleep(0.1)
        found = ask(keeper)

    assert found["early"] == found["late"] == found["main"] == [other]
    assert found["roams"] == CPUS
    assert ask(keeper, "back")["roams"] == [other]


@pytest.mark.skipif(not CPUS, reason="needs a system that tells of its CPUs")
def test_a_look_tells_what_was_used() -> None:
    before = _Look(frozenset(CPUS))
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
    after = _Look(frozenset(CPUS))

    assert after.own - before.own >= 0.5
    assert sum(after.used.values()) - sum(before.used.values()) >= 0.4  # it counts in hundredths, and rounds down
    assert all(after.used[cpu] >= before.used[cpu] for cpu in CPUS)


@pytest.mark.parametrize(
    ("busy", "own", "chosen"),
    [
        ({0: 0.0, 1: 0.0}, 0.0, 0),  # nothing happens
        ({0: 1.0, 1: 0.6}, 1.0, 0),  # all of it is its own
        ({0: 1.0, 1: 0.1}, 0.5, 1),  # half of it goes to others, who leave the other one alone
        ({0: 1.0, 1: 0.4}, 0.5, 0),  # as crowded there
        ({0: 1.0, 1: 0.1, 2: 0.0}, 0.5, 2),
        ({0: 0.4, 1: 0.0}, 0.6, 0),  # more than the CPU was used: some of it was anywhere
    ],
)
def test_where_to_be(busy: dict[int, float], own: float, chosen: int) -> None:
    assert best(0, busy, own) == chosen

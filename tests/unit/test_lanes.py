"""Requests work a few at a time, and nothing that lasts stops the others."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import lanes
from app.lanes import Lanes

COUNT = 3


class Crowd:
    """Requests that meet in an application, each of which waits there until `go`."""

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self.first, self.inside, self.go = first, threading.Semaphore(0), threading.Event()
        self.served = Lanes(self.app, COUNT)  # type: ignore[arg-type]

    def app(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        self.first()
        self.inside.release()
        assert self.go.wait(10)
        return [b"done"]

    def came_in(self, count: int, within: float = 5.0) -> bool:
        """Whether so many came in."""
        return all(self.inside.acquire(timeout=within) for _ in range(count))

    def send(self, count: int, pool: ThreadPoolExecutor) -> list[Any]:
        return [pool.submit(self.served, {}, None) for _ in range(count)]  # type: ignore[arg-type]


def free(served: Lanes) -> int:
    """How many lanes nobody is in."""
    return sum(not lane._lock.locked() for lane in served._lanes)


def test_no_more_than_the_lanes_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONG_SECONDS", 10)
    crowd = Crowd()
    with ThreadPoolExecutor(COUNT + 3) as pool:
        found = crowd.send(COUNT + 3, pool)
        assert crowd.came_in(COUNT)
        assert not crowd.came_in(1, within=0.1)
        crowd.go.set()
        assert [future.result(5) for future in found] == [[b"done"]] * (COUNT + 3)
    assert free(crowd.served) == COUNT


def test_nobody_waits_for_requests_that_take_long() -> None:
    crowd = Crowd()
    with ThreadPoolExecutor(COUNT + 3) as pool:
        found = crowd.send(COUNT + 3, pool)
        assert crowd.came_in(COUNT + 3)
        crowd.go.set()
        assert all(future.result(5) for future in found)
    assert free(crowd.served) == COUNT


def test_a_lane_that_moves_is_worth_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONG_SECONDS", 0.5)
    inside, most = threading.Semaphore(1), list[bool]()

    def work(environ: object, start: object) -> Iterable[bytes]:
        most.append(inside.acquire(blocking=False))
        threading.Event().wait(0.1)
        inside.release()
        return []

    served = Lanes(work, 1)  # type: ignore[arg-type]
    with ThreadPoolExecutor(10) as pool:  # the last one waits for twice as long as one request may take
        for future in [pool.submit(served, {}, None) for _ in range(10)]:  # type: ignore[arg-type]
            future.result(5)

    assert most == [True] * 10


def test_a_free_lane_is_taken_whosever_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONG_SECONDS", 10)
    crowd = Crowd()
    with ThreadPoolExecutor(COUNT) as pool:
        crowd.send(COUNT - 1, pool)
        assert crowd.came_in(COUNT - 1)
        crowd.served._app = lambda environ, start: [b"quick"]
        for _ in range(COUNT):
            assert pool.submit(crowd.served, {}, None).result(5) == [b"quick"]  # type: ignore[arg-type]
        crowd.go.set()


def test_who_waits_for_others_leaves_its_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONG_SECONDS", 10)
    crowd = Crowd(lanes.leave)
    with ThreadPoolExecutor(COUNT + 3) as pool:
        crowd.send(COUNT + 3, pool)
        assert crowd.came_in(COUNT + 3)
        crowd.go.set()


def test_a_lane_is_taken_again_after_a_wait_outside() -> None:
    found = list[int]()

    def wait_outside() -> None:
        with lanes.outside():
            found.append(free(crowd.served))
        found.append(free(crowd.served))

    crowd = Crowd(wait_outside)
    crowd.go.set()
    crowd.served({}, None)  # type: ignore[arg-type]

    assert found == [COUNT, COUNT - 1]


def test_an_error_frees_the_lane() -> None:
    def fail(environ: object, start: object) -> Iterable[bytes]:
        raise LookupError

    served = Lanes(fail, COUNT)  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        served({}, None)  # type: ignore[arg-type]
    assert free(served) == COUNT

"""Requests work a few at a time, and nothing that lasts stops the others."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app import lanes
from app.lanes import LANES, Lanes


@pytest.fixture(autouse=True)
def all_free() -> Iterator[None]:
    """Every test finds all lanes free, and leaves them so."""
    assert lanes._free.qsize() == LANES
    yield
    assert lanes._free.qsize() == LANES


class Crowd:
    """Requests that meet in an application, each of which waits there until `go`."""

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self.first, self.inside, self.go = first, threading.Semaphore(0), threading.Event()

    def app(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        self.first()
        self.inside.release()
        assert self.go.wait(10)
        return [b"done"]

    def came_in(self, count: int, within: float = 5.0) -> bool:
        """Whether so many came in."""
        return all(self.inside.acquire(timeout=within) for _ in range(count))

    def send(self, count: int, pool: ThreadPoolExecutor) -> list[Any]:
        served = Lanes(self.app)  # type: ignore[arg-type]
        return [pool.submit(served, {}, None) for _ in range(count)]  # type: ignore[arg-type]


def test_no_more_than_the_lanes_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAIT_SECONDS", 10)
    crowd = Crowd()
    with ThreadPoolExecutor(LANES + 3) as pool:
        found = crowd.send(LANES + 3, pool)
        assert crowd.came_in(LANES)
        assert not crowd.came_in(1, within=0.1)
        crowd.go.set()
        assert [future.result(5) for future in found] == [[b"done"]] * (LANES + 3)


def test_who_waited_long_enough_goes_on_without_a_lane() -> None:
    crowd = Crowd()
    with ThreadPoolExecutor(LANES + 3) as pool:
        found = crowd.send(LANES + 3, pool)
        assert crowd.came_in(LANES + 3)
        crowd.go.set()
        assert all(future.result(5) for future in found)


def test_who_waits_for_others_leaves_its_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAIT_SECONDS", 10)
    crowd = Crowd(lanes.leave)
    with ThreadPoolExecutor(LANES + 3) as pool:
        crowd.send(LANES + 3, pool)
        assert crowd.came_in(LANES + 3)
        crowd.go.set()


def test_a_lane_is_taken_again_after_a_wait_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "WAIT_SECONDS", 10)
    free = list[int]()

    def wait_outside() -> None:
        with lanes.outside():
            free.append(lanes._free.qsize())
        free.append(lanes._free.qsize())

    crowd = Crowd(wait_outside)
    crowd.go.set()
    Lanes(crowd.app)({}, None)  # type: ignore[arg-type]

    assert free == [LANES, LANES - 1]


def test_an_error_frees_the_lane() -> None:
    def fail(environ: object, start: object) -> Iterable[bytes]:
        raise LookupError

    with pytest.raises(LookupError):
        Lanes(fail)({}, None)  # type: ignore[arg-type]

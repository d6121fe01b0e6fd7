"""What a server process counts for Prometheus, added up over all processes of the server through files in a folder."""

import os
from collections import Counter as Counts
from collections.abc import Iterable
from typing import Any

from flask import Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

from app import log

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the library's own name of the folder; set by `flask serve`
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Requests by endpoint, method and class of status with how long they took; reports by outcome; open streams."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "ringplan_request_seconds",
            "Requests, and how long until the answer began",
            ("endpoint", "method", "status"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._reports = Counter(
            "ringplan_reports",
            "Reports of usage by what became of them",
            ("outcome",),
            registry=self.registry,
        )
        self.streams = Gauge(
            "ringplan_streams", "Live streams held open", registry=self.registry, multiprocess_mode="livesum"
        )
        self._children: dict[tuple[Any, ...], Any] = {}  # to look one up costs more than to add to it

    def note_request(self, seconds: float, status: int) -> None:
        """Count the running request."""
        key = (request.endpoint or "none", request.method, f"{status // 100}xx")
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(*key)
        child.observe(seconds)

    def note_reports(self, outcomes: Iterable[str]) -> None:
        """Count what became of reports: recorded, duplicate, conflict, quarantined."""
        for outcome, count in Counts(outcomes).items():
            self._reports.labels(outcome).inc(count)

    def collected(self) -> CollectorRegistry:
        """The counts of this process, or of all where they share."""
        if SHARED not in os.environ:
            return self.registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry


def init_app(app: Flask) -> None:
    """Count every request of the app from here on."""
    if SHARED in os.environ:  # the library looks when it is imported, which was before the server's processes began
        values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
    app.extensions["metrics"] = Metrics()
    app.after_request(_end)


def metrics() -> Metrics:
    """Those of the running app."""
    found: Metrics = current_app.extensions["metrics"]
    return found


def _end(response: Response) -> Response:
    metrics().note_request(log.seconds(), response.status_code)
    return response

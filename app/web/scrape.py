"""`/metrics`: what Prometheus reads, for this machine and for who has the token."""

from collections.abc import Iterable
from datetime import datetime
from hmac import compare_digest
from ipaddress import ip_address

from flask import Flask, Response, current_app, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from app.config import Settings
from app.core.clock import utc_now
from app.db import Base, db
from app.domain.audit.models import Verification
from app.domain.jobs.models import Job
from app.domain.metering.models import Hold, Quarantined
from app.domain.webhooks.models import WebhookEndpoint, WebhookMessage
from app.metrics import metrics

# Of a proxy on this machine, which speaks for somebody else.
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


def init_app(app: Flask) -> None:
    """Register the address."""
    app.add_url_rule("/metrics", "metrics", scrape)


def scrape() -> Response:
    """Counts of all processes, and how things stand in the database; 403 for strangers."""
    if not _is_local() and not _has_token():
        text = "Metrics are for this machine, and for who sends METRICS_TOKEN as Bearer token.\n"
        return Response(text, 403, mimetype="text/plain")
    standing = CollectorRegistry()
    standing.register(_Standing(utc_now()))
    found = generate_latest(metrics().collected()) + generate_latest(standing)
    return Response(found, content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _is_local() -> bool:
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def _has_token() -> bool:
    settings: Settings = current_app.config["RINGPLAN"]
    kind, _, presented = request.headers.get("Authorization", "").partition(" ")
    fits = compare_digest(presented.strip().encode(), settings.METRICS_TOKEN.encode())
    return bool(settings.METRICS_TOKEN) and kind.lower() == "bearer" and fits


class _Standing(Collector):
    """Asked of the database at each scrape; without it, only that it is away."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        try:
            found = list(self._gauges())
        except SQLAlchemyError:
            db.session.rollback()
            current_app.logger.warning("metrics: database not reachable")
            return [GaugeMetricFamily("ringplan_database_up", "Whether the database answers", 0)]
        return [GaugeMetricFamily("ringplan_database_up", "Whether the database answers", 1), *found]

    def _gauges(self) -> Iterable[Metric]:
        for name, words, statement in (
            ("holds_open", "Calls in progress that hold a part of their limit", _count(Hold, Hold.ended_at.is_(None))),
            (
                "quarantine_open",
                "Reports that wait for a person",
                _count(Quarantined, Quarantined.resolved_at.is_(None)),
            ),
            (
                "webhooks_waiting",
                "Messages not delivered yet",
                _count(WebhookMessage, WebhookMessage.next_at.is_not(None)),
            ),
            (
                "webhook_endpoints_failing",
                "Endpoints that nothing was delivered to lately",
                _count(WebhookEndpoint, WebhookEndpoint.failing_since.is_not(None)),
            ),
        ):
            yield GaugeMetricFamily(f"ringplan_{name}", words, db.session.scalar(statement) or 0)
        yield from self._jobs()
        yield from self._verification()

    def _jobs(self) -> Iterable[Metric]:
        waits = Job.done_at.is_(None) & Job.dead_at.is_(None)
        due = waits & (Job.run_at <= self.now)
        jobs = GaugeMetricFamily("ringplan_jobs", "Jobs by state", labels=["state"])
        for state, condition in (
            ("due", due),
            ("later", waits & (Job.run_at > self.now)),
            ("dead", Job.dead_at.is_not(None)),
        ):
            jobs.add_metric([state], db.session.scalar(_count(Job, condition)) or 0)
        yield jobs
        oldest = db.session.scalar(select(func.min(Job.run_at)).where(due))
        yield GaugeMetricFamily("ringplan_oldest_job_seconds", "How long the oldest due job waits", self._since(oldest))

    def _verification(self) -> Iterable[Metric]:
        last = db.session.scalar(select(Verification).order_by(Verification.id.desc()).limit(1))
        if last is not None:
            yield GaugeMetricFamily("ringplan_verify_differences", "What the last recount found", len(last.findings))
            yield GaugeMetricFamily("ringplan_verify_age_seconds", "How long ago that was", self._since(last.at))

    def _since(self, moment: datetime | None) -> float:
        return (self.now - moment).total_seconds() if moment else 0.0


def _count(model: type[Base], condition: ColumnElement[bool]) -> Select[int]:
    return select(func.count()).select_from(model).where(condition)

"""Send the webhooks that wait, many at once and beside the jobs: a slow receiver holds up nothing but itself."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from flask import Flask, current_app

from app import webhooks
from app.config import Settings
from app.core.addresses import parse_ranges
from app.core.clock import utc_now
from app.db import db, run_in_transaction
from app.domain.webhooks import delivery, endpoints, signing
from app.domain.webhooks.delivery import Claimed
from app.domain.webhooks.models import WebhookEndpoint, WebhookMessage


def claim_next() -> Claimed | None:
    """The message that waits longest, claimed and committed; None when nothing is due."""
    now, settings = utc_now(), _settings()
    # No second attempt begins while the first may still be under way.
    lease = timedelta(seconds=max(settings.JOB_LEASE_SECONDS, 3 * webhooks.TIMEOUT_SECONDS))
    if not delivery.is_any_due(db.session(), now=now):
        return None
    return run_in_transaction(lambda session: delivery.claim(session, now=now, lease=lease))


def deliver(claimed: Claimed) -> None:
    """One attempt at it, and what came of it kept."""
    found = delivery.read(db.session(), claimed)
    if found is None:
        return
    message, endpoint = found
    url, body = endpoint.url, delivery.body_of(message)
    headers = _headers(message, endpoint, body, utc_now())
    db.session.rollback()  # no transaction stays open meanwhile
    outcome = webhooks.post(url, headers, body, parse_ranges(_settings().WEBHOOK_ALLOWED_RANGES))
    run_in_transaction(lambda session: delivery.note(session, claimed, outcome, now=utc_now()))


def deliver_all() -> None:
    """Send what is due now, one after the other."""
    while (claimed := claim_next()) is not None:
        deliver(claimed)


def _headers(message: WebhookMessage, endpoint: WebhookEndpoint, body: bytes, now: datetime) -> dict[str, str]:
    """Standard Webhooks; while a secret is exchanged, both sign."""
    name, seconds = f"msg_{message.id}", int(now.timestamp())
    secrets = endpoints.secrets_of(endpoint, current_app.config["SECRET_KEY"], now)
    return {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "User-Agent": "Ringplan-Webhooks/1",
        "Accept-Encoding": "identity",
        "webhook-id": name,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(signing.signature(secret, name, seconds, body) for secret in secrets),
    }


def _settings() -> Settings:
    settings: Settings = current_app.config["RINGPLAN"]
    return settings


class Deliveries:
    """Threads of a worker that deliver until `stop`, which lets what is under way come to its end."""

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.config["RINGPLAN"]
        self.app, self.poll_seconds = app, settings.JOB_POLL_SECONDS
        self.free = threading.Semaphore(settings.WEBHOOK_THREADS)
        self.pool = ThreadPoolExecutor(settings.WEBHOOK_THREADS, "webhook")
        self.stopped, self.wake = threading.Event(), threading.Event()
        self.dispatcher = threading.Thread(target=self._dispatch, name="webhooks", daemon=True)
        self.complaint = ""

    def start(self) -> None:
        """Begin."""
        self.dispatcher.start()

    def stop(self) -> None:
        """Claim nothing more, and wait for what is being sent."""
        self.stopped.set()
        self.wake.set()
        self.dispatcher.join()
        self.pool.shutdown()

    def _dispatch(self) -> None:
        while not self.stopped.is_set():
            if not self.free.acquire(timeout=self.poll_seconds):
                continue
            self.wake.clear()
            if not self._send_next():
                self.free.release()
                self.wake.wait(self.poll_seconds)

    def _send_next(self) -> bool:
        """Whether there was a message, and is on its way; what went wrong, such as a database that is away, is said."""
        try:
            # Within: a session whose connection broke fails even as the context ends and closes it.
            with self.app.app_context():
                claimed = claim_next()
            if claimed is not None:
                self.pool.submit(self._deliver, claimed)
        except Exception as error:
            self._complain(error)
            return False
        self.complaint = ""
        return claimed is not None

    def _deliver(self, claimed: Claimed) -> None:
        try:
            with self.app.app_context():
                deliver(claimed)
        except Exception as error:  # its claim runs out, and it is sent again
            self._complain(error)
        finally:
            self.free.release()
            self.wake.set()

    def _complain(self, error: Exception) -> None:
        """Once for each thing that goes wrong."""
        complaint = f"{type(error).__name__}: {error}".splitlines()[0]
        if complaint != self.complaint:
            self.app.logger.error("webhooks: %s; trying again", complaint)
        self.complaint = complaint

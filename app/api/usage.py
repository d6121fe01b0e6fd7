"""Usage as events: one, a batch, or CloudEvents."""

from typing import Any, Literal

import msgspec
from flask import Response, g, request
from sqlalchemy.orm import Session

from app import intake
from app.api.blueprint import answer, operation, raw_body
from app.api.idempotency import is_claimed, transact
from app.core.clock import utc_now
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report, Result
from app.metrics import metrics
from app.pbx import generic
from app.pbx.generic import Decoded


class Event(msgspec.Struct):
    """One act that consumed something; `quantity` in the resource's base unit, `occurred_at` with an offset."""

    id: str
    tenant: str
    resource: str
    quantity: int
    occurred_at: str
    attributes: dict[str, Any] = {}


class Batch(msgspec.Struct):
    """Up to 10,000 events, stored in one transaction."""

    events: list[Event]


class CloudEvent(msgspec.Struct):
    """The same as a CloudEvent 1.0: `source` and `id` the identity, `type` the resource, `subject` the tenant."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    data: dict[str, Any]


class EventResult(msgspec.Struct, omit_defaults=True):
    """What became of one event: recorded, duplicate, conflict or quarantined (with a code)."""

    id: str
    status: str
    code: str = ""


class UsageAnswer(msgspec.Struct):
    """Counts, and the results in the order sent. Accepted = recorded + quarantined."""

    accepted: int
    duplicates: int
    conflicts: int
    quarantined: int
    results: list[EventResult]


@operation(
    "POST",
    "/usage",
    "Report usage; 200 means it is committed",
    scope="usage",
    takes=(Event, Batch),
    takes_also={
        "application/cloudevents+json": CloudEvent,
        "application/cloudevents-batch+json": list[CloudEvent],
    },
    gives=UsageAnswer,
)
def report_usage() -> Response:
    """Count a body of events, each once."""
    raw, content_type = raw_body(), request.content_type or ""
    source_id = g.key.source.id
    decoded = generic.decode_events(raw, content_type)
    reports = [Report(event.outcome, event.raw, "event", content_type) for event in decoded]
    if not is_claimed():
        return _answer(decoded, intake.store(source_id, reports))
    now = utc_now()

    def act(session: Session) -> Response:
        results = ingest(session, source_id, reports, now=now)
        metrics().note_reports(result.status for result in results)
        return _answer(decoded, results)

    return transact(act)


def _answer(decoded: list[Decoded], results: list[Result]) -> Response:
    found = [result.status for result in results]
    return answer(
        UsageAnswer(
            accepted=found.count("recorded") + found.count("quarantined"),
            duplicates=found.count("duplicate"),
            conflicts=found.count("conflict"),
            quarantined=found.count("quarantined"),
            results=[
                EventResult(event.result_id, result.status, result.code if result.status != "duplicate" else "")
                for event, result in zip(decoded, results, strict=True)
            ],
        )
    )

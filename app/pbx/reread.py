"""A stored body through the parser of its format once more. Pure."""

from app.core.errors import DomainError
from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx import asterisk, freeswitch, generic

CLOUD_ONE = "application/cloudevents+json"
CLOUD_BATCH = "application/cloudevents-batch+json"


def reread(
    body: str, format: str, content_type: str, external_id: str, settings: SourceSettings
) -> UsageEvent | Ignored | Unreadable:
    """What `body` means now. `format` is event, freeswitch or asterisk; `external_id` the id it came under, or empty.

    Raises nothing for what the body says: what is still unreadable is an `Unreadable`.
    """
    try:
        if format == "freeswitch":
            return freeswitch.parse_cdr(body.encode(), content_type, external_id, settings)
        if format == "asterisk":
            return _only_row(body, settings)
        return _only_event(body, content_type)
    except Unreadable as problem:
        return problem.with_traceback(None)  # a value from here on


def _only_row(body: str, settings: SourceSettings) -> UsageEvent | Ignored | Unreadable:
    rows = list(asterisk.parse_csv(body, settings))
    if len(rows) != 1:
        raise Unreadable("unreadable_row", f"{len(rows)} rows where one was expected")
    return rows[0].outcome


def _only_event(body: str, content_type: str) -> UsageEvent | Unreadable:
    """One event was kept, whatever it came in: a batch is not what its members are."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        events = generic.decode_events(body.encode(), CLOUD_ONE if media_type == CLOUD_BATCH else media_type)
    except DomainError as error:
        raise Unreadable("unreadable_body", error.message) from error
    if len(events) != 1:
        raise Unreadable("unreadable_body", f"{len(events)} events where one was expected")
    return events[0].outcome

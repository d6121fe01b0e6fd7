"""Usage as machines send it: single events, batches and CloudEvents. Contract: README.md, "Generic events"."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from app.core.errors import DomainError, Invalid
from app.core.quantities import MAX_QUANTITY
from app.core.usage import Unreadable, UsageEvent
from app.pbx import generic_problems as problems
from app.pbx.generic_problems import Problem
from app.pbx.text import MAX_TEXT

MAX_EVENTS = 10_000
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,18})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MAX_DEPTH = 32  # of attributes: what is nested deeper than people read, some JSON writers refuse
_DIRECTIONS = ("outbound", "inbound", "internal")


class UnreadableJson(DomainError):
    """The body is not JSON at all."""

    status = 400


class TooManyEvents(DomainError):
    """More events than one request may carry."""

    status = 413


class Decoded(NamedTuple):
    """One event of a request, in the order sent."""

    result_id: str  # the id as the sender wrote it
    outcome: UsageEvent | Unreadable
    raw: Callable[[], bytes]  # gives its own JSON, for quarantine


_Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
_Amount = Annotated[int, Meta(ge=0, le=MAX_QUANTITY)]


class _Event(Struct):
    id: _Text
    tenant: _Text
    resource: _Text
    quantity: _Amount
    occurred_at: str
    attributes: dict[str, Any] = {}


class _CloudEvent(Struct):
    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: _Text
    subject: _Text
    time: str
    data: dict[str, Any]


class _Batch(Struct):
    events: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class _SoundBatch(Struct):
    events: list[_Event]


class _RawBatch(Struct):
    events: list[msgspec.Raw]


_sound_batch_decoder = msgspec.json.Decoder(_SoundBatch)
_raw_batch_decoder = msgspec.json.Decoder(_RawBatch)
_event_decoder = msgspec.json.Decoder(_Event)
_cloud_event_decoder = msgspec.json.Decoder(_CloudEvent)
_batch_decoder = msgspec.json.Decoder(_Batch)
_cloud_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])


def decode_events(body: bytes, content_type: str) -> list[Decoded]:
    """The events of `body`: one event, `{"events": […]}`, or CloudEvents by their content type.

    Raises UnreadableJson `unreadable_json` (400), TooManyEvents `too_many_events` (413), or Invalid
    `invalid_events` (422), whose `details["errors"]` names every field that is missing or ill-typed.
    A time that cannot be read is no such error: the event is `Unreadable` and the others go in.
    """
    try:
        body.decode()  # msgspec passes over fields it does not know without reading their texts
        msgspec.json.decode(body, type=msgspec.Raw)  # not JSON comes before not of the expected form
        return _events(body, content_type.partition(";")[0].strip().lower())
    except msgspec.ValidationError as error:
        raise _invalid([problems.of(error)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableJson("unreadable_json", f"The body is not JSON: {error}") from error


def _events(body: bytes, media_type: str) -> list[Decoded]:
    if media_type == "application/cloudevents+json":
        return _read([("", body)], _read_cloud_event)
    if media_type == "application/cloudevents-batch+json":
        return _read(_members("", _cloud_batch_decoder.decode(body)), _read_cloud_event)
    if (sound := _read_sound(body)) is not None:
        return sound
    events = _batch_decoder.decode(body).events
    if isinstance(events, msgspec.UnsetType):
        return _read([("", body)], _read_event)
    return _read(_members("/events", events), _read_event)


def _read_sound(body: bytes) -> list[Decoded] | None:
    """A batch without anything wrong or odd in it, read at once; None where each event must be looked at by itself."""
    if b"\\u0000" in body:
        return None
    try:
        events = _sound_batch_decoder.decode(body).events
    except msgspec.ValidationError:
        return None
    if len(events) > MAX_EVENTS or body.count(b"{") + body.count(b"[") > 2 * len(events) + _MAX_DEPTH:
        return None  # more brackets than flat attributes have: some may be nested too deep
    members = _Members(body)
    return [_read_fields(event.id, event, partial(members.raw, index)) for index, event in enumerate(events)]


class _Members:
    """The JSON of each event of a batch, taken apart when the first one is asked for."""

    def __init__(self, body: bytes) -> None:
        self._body, self._found = body, list[msgspec.Raw]()

    def raw(self, index: int) -> bytes:
        """The JSON of the event at `index`."""
        self._found = self._found or _raw_batch_decoder.decode(self._body).events
        return bytes(self._found[index])


def _members(pointer: str, members: list[msgspec.Raw]) -> list[tuple[str, bytes]]:
    if len(members) > MAX_EVENTS:
        raise TooManyEvents("too_many_events", f"At most {MAX_EVENTS} events fit into one request.", limit=MAX_EVENTS)
    return [(f"{pointer}/{index}", bytes(member)) for index, member in enumerate(members)]


def _read(members: list[tuple[str, bytes]], read: Callable[[bytes], Decoded]) -> list[Decoded]:
    """Every event, or Invalid with what is wrong in any of them: nothing is half-stored."""
    events: list[Decoded] = []
    found: list[Problem] = []
    for pointer, raw in members:
        try:
            events.append(read(raw))
        except msgspec.ValidationError as error:
            checks = problems.EVENT if read is _read_event else problems.CLOUD_EVENT
            found += problems.find(raw, checks, pointer) or [problems.of(error, pointer)]
    if found:
        raise _invalid(found)
    return events


def _invalid(found: list[Problem]) -> Invalid:
    return Invalid("invalid_events", "Some events are not of the expected form; none was stored.", errors=found)


def _read_event(raw: bytes) -> Decoded:
    event = _event_decoder.decode(raw)
    return _decoded(event.id, event, raw)


def _read_cloud_event(raw: bytes) -> Decoded:
    """`source` and `id` together are the identity, because an id is unique within its source alone."""
    event = _cloud_event_decoder.decode(raw)
    attributes = dict(event.data)
    amount = attributes.pop("quantity", None)
    identity = f"{event.source} {event.id}"
    problem = problems.quantity_problem(amount)
    if problem:
        raise msgspec.ValidationError(f"{problem} - at `$.data.quantity`")
    if len(identity) > MAX_TEXT:
        raise msgspec.ValidationError(f"source and id together have more than {MAX_TEXT} characters - at `$.id`")
    return _decoded(event.id, _Event(identity, event.subject, event.type, amount, event.time, attributes), raw)


def _decoded(result_id: str, event: _Event, raw: bytes) -> Decoded:
    attributes = event.attributes
    if b"\\u0000" in raw:  # no database keeps a NUL in a text
        attributes = event.attributes = _without_nul(attributes)
        if "\x00" in event.id + event.tenant + event.resource:
            raise msgspec.ValidationError("a NUL character is not allowed")
    if raw.count(b"{") + raw.count(b"[") > _MAX_DEPTH and _depth(attributes) > _MAX_DEPTH:
        raise msgspec.ValidationError(f"nested deeper than {_MAX_DEPTH} levels")
    return _read_fields(result_id, event, lambda: raw)


def _read_fields(result_id: str, event: _Event, raw: Callable[[], bytes]) -> Decoded:
    occurred_at = _moment(event.occurred_at)
    if occurred_at is None:
        detail = f"not a time with an offset as RFC 3339 has it: {event.occurred_at[:40]!r}"
        return Decoded(result_id, Unreadable("unreadable_time", detail, event.id, event.tenant), raw)
    attributes = event.attributes
    usage = UsageEvent(event.id, event.tenant, event.resource, event.quantity, occurred_at, attributes=attributes)
    if attributes:
        direction = attributes.get("direction")
        if direction in _DIRECTIONS:
            usage.direction = attributes.pop("direction")
        usage.caller, usage.callee = _taken(attributes, "from"), _taken(attributes, "to")
        if "call_id" in attributes or "hold" in attributes:
            usage.call_id, usage.hold = _taken(attributes, "call_id"), _taken(attributes, "hold")
    return Decoded(result_id, usage, raw)


def _moment(text: str) -> datetime | None:
    """Aware UTC; None for what RFC 3339 does not allow, a time without an offset above all."""
    if not _RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _taken(attributes: dict[str, Any], name: str) -> str:
    """A short text, taken out of the attributes; what is none stays there."""
    value = attributes.get(name)
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return ""
    del attributes[name]
    return value


def _depth(value: Any) -> int:
    """Levels of objects and arrays in `value`."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(name): _without_nul(item) for name, item in value.items()}
    return value

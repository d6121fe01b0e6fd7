"""Usage as machines send it, read by the rules of app/pbx/README.md."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.core.errors import DomainError, Invalid
from app.core.quantities import MAX_QUANTITY
from app.core.usage import Unreadable, UsageEvent
from app.pbx.generic import MAX_EVENTS, Decoded, decode_events

JSON = "application/json"
CLOUD, CLOUD_BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
EVENT = {
    "id": "evt-1",
    "tenant": "acme",
    "resource": "fax_pages",
    "quantity": 3,
    "occurred_at": "2026-11-22T20:10:41Z",
    "attributes": {"from": "4930123", "to": "4420123456", "speed": 9600},
}
CLOUD_EVENT = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "/fax/server-1",
    "type": "fax_pages",
    "subject": "acme",
    "time": "2026-11-22T20:10:41Z",
    "data": {"quantity": 3, "from": "4930123", "to": "4420123456", "speed": 9600},
}


def decode(body: Any, content_type: str = JSON) -> list[Decoded]:
    return decode_events(body if isinstance(body, bytes) else json.dumps(body).encode(), content_type)


def only(body: Any, content_type: str = JSON) -> Any:
    (decoded,) = decode(body, content_type)
    return decoded.outcome


def refusal(body: Any, content_type: str = JSON) -> DomainError:
    with pytest.raises(DomainError) as refused:
        decode(body, content_type)
    return refused.value


def pointers(body: Any, content_type: str = JSON) -> list[str]:
    error = refusal(body, content_type)
    assert isinstance(error, Invalid)
    assert (error.code, error.status) == ("invalid_events", 422)
    assert all(problem["detail"] for problem in error.details["errors"])
    return [problem["pointer"] for problem in error.details["errors"]]


def changed(**fields: Any) -> dict[str, Any]:
    return EVENT | fields


def without(name: str, event: dict[str, Any] = EVENT) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


def test_a_single_event_is_read_as_the_contract_shows_it() -> None:
    (decoded,) = decode(EVENT)
    assert decoded.result_id == "evt-1"
    assert json.loads(decoded.raw()) == EVENT
    assert decoded.outcome == UsageEvent(
        external_id="evt-1",
        tenant="acme",
        resource="fax_pages",
        quantity=3,
        occurred_at=datetime(2026, 11, 22, 20, 10, 41, tzinfo=UTC),
        caller="4930123",
        callee="4420123456",
        attributes={"speed": 9600},
    )


def test_a_batch_keeps_its_order_and_the_json_of_each_event() -> None:
    events = [changed(id=f"e{number}") for number in range(5)]
    decoded = decode({"events": events})
    assert [item.result_id for item in decoded] == ["e0", "e1", "e2", "e3", "e4"]
    assert [json.loads(item.raw()) for item in decoded] == events


def test_an_empty_batch_has_no_events() -> None:
    assert decode({"events": []}) == []


def test_attributes_may_be_missing_and_unknown_fields_are_passed_over() -> None:
    event = only(without("attributes") | {"note": "x"})
    assert (event.attributes, event.caller, event.direction) == ({}, "", "")


@pytest.mark.parametrize(
    ("attributes", "direction", "left"),
    [
        ({"direction": "inbound"}, "inbound", {}),
        ({"direction": "sideways"}, "", {"direction": "sideways"}),
        ({"direction": ["inbound"]}, "", {"direction": ["inbound"]}),
        ({"from": 4930123}, "", {"from": 4930123}),
        ({"from": "x" * 300}, "", {"from": "x" * 300}),
    ],
)
def test_only_what_fits_leaves_the_attributes(attributes: Any, direction: str, left: Any) -> None:
    event = only(changed(attributes=attributes))
    assert (event.direction, event.attributes) == (direction, left)


# Times


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-22T21:10:41+01:00", datetime(2026, 11, 22, 20, 10, 41, tzinfo=UTC)),
        ("2026-11-22t20:10:41.123456789z", datetime(2026, 11, 22, 20, 10, 41, 123456, tzinfo=UTC)),
        ("2026-11-22 20:10:41.5-00:00", datetime(2026, 11, 22, 20, 10, 41, 500000, tzinfo=UTC)),
    ],
)
def test_a_time_with_an_offset_is_that_instant_in_utc(time: str, expected: datetime) -> None:
    event = only(changed(occurred_at=time))
    assert (event.occurred_at, event.occurred_at.tzinfo) == (expected, UTC)


@pytest.mark.parametrize(
    "time",
    ["", "yesterday", "2026-11-22T20:10:41", "2026-11-22", "20261122T201041Z", "2026-02-30T00:00:00Z",
     "2026-11-22T24:00:00Z", "2026-11-22T20:10:41+25:00", "0001-01-01T00:00:00+01:00", "٢٠٢٦-11-22T20:10:41Z"],
)  # fmt: skip
def test_an_unreadable_time_sets_its_event_aside_and_lets_the_others_in(time: str) -> None:
    bad, good = decode({"events": [changed(occurred_at=time), changed(id="evt-2")]})
    assert isinstance(bad.outcome, Unreadable)
    assert (bad.outcome.code, bad.outcome.external_id, bad.outcome.tenant) == ("unreadable_time", "evt-1", "acme")
    assert isinstance(good.outcome, UsageEvent)


# Structure


@pytest.mark.parametrize("name", ["id", "tenant", "resource", "quantity", "occurred_at"])
def test_a_missing_field_is_named(name: str) -> None:
    assert pointers(without(name)) == [f"/{name}"]
    assert pointers({"events": [EVENT, without(name)]}) == [f"/events/1/{name}"]


@pytest.mark.parametrize("quantity", [-1, 1.5, 3.0, True, "3", None, MAX_QUANTITY + 1, 10**40, [], {}])
def test_a_quantity_is_a_whole_number_in_range(quantity: Any) -> None:
    assert pointers(changed(quantity=quantity)) == ["/quantity"]
    assert pointers(CLOUD_EVENT | {"data": {"quantity": quantity}}, CLOUD) == ["/data/quantity"]


@pytest.mark.parametrize("quantity", [0, MAX_QUANTITY])
def test_the_bounds_of_a_quantity_are_allowed(quantity: int) -> None:
    assert only(changed(quantity=quantity)).quantity == quantity


@pytest.mark.parametrize("name", ["id", "tenant", "resource"])
@pytest.mark.parametrize("value", ["", "x" * 256, 7, None, ["a"], "nul\x00"])
def test_names_are_texts_of_1_to_255_characters(name: str, value: Any) -> None:
    assert pointers(changed(**{name: value})) == [f"/{name}"]


@pytest.mark.parametrize(("name", "value"), [("occurred_at", 1795378562), ("occurred_at", None), ("attributes", [])])
def test_an_ill_typed_field_is_named(name: str, value: Any) -> None:
    assert pointers(changed(**{name: value})) == [f"/{name}"]


def test_all_that_is_wrong_is_named_at_once() -> None:
    events = [EVENT, {"id": "", "quantity": True, "tenant": "acme"}, EVENT, changed(quantity=-1), 7]
    assert pointers({"events": events}) == [
        "/events/1/id",
        "/events/1/resource",
        "/events/1/quantity",
        "/events/1/occurred_at",
        "/events/3/quantity",
        "/events/4",
    ]


@pytest.mark.parametrize(
    ("body", "pointer"), [([], ""), (7, ""), ({"events": 7}, "/events"), ({"events": None}, "/events")]
)
def test_a_body_of_another_shape_is_refused(body: Any, pointer: str) -> None:
    assert pointers(body) == [pointer]


def test_attributes_are_kept_to_a_depth_people_read() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"in": [deep]}
    assert pointers(changed(attributes={"tree": deep})) == [""]
    assert only(changed(attributes={"list": [{}] * 200})).attributes == {"list": [{}] * 200}


def test_a_nul_is_replaced_in_attributes() -> None:
    event = only(changed(attributes={"from": "1\x00", "no\x00te": ["a\x00", {"b": "\x00"}]}))
    assert event.caller == "1\ufffd"
    assert event.attributes == {"no\ufffdte": ["a\ufffd", {"b": "\ufffd"}]}


def test_a_number_no_float_holds_is_a_problem_of_its_event() -> None:
    body = json.dumps(EVENT).replace("9600", "1e999").encode()
    assert pointers(b'{"events": [%s]}' % body)[0].startswith("/events/0/attributes")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"id=1", b'{"id": NaN}', b"\xef\xbb\xbf{}", b'{"note": "\xff"}', b'{"events": [{]}', b"{} {}",
     b"[1", b'{"id": 7,', b"[" * 200_000, b'{"a":' * 100_000, json.dumps(EVENT).encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    error = refusal(body)
    assert (error.code, error.status) == ("unreadable_json", 400)


def test_a_batch_has_a_greatest_size() -> None:
    event = json.dumps(EVENT).encode()
    assert len(decode(b'{"events": [%s]}' % b",".join([event] * MAX_EVENTS))) == MAX_EVENTS == 10_000
    for body, kind in [(b'{"events": [%s]}', JSON), (b"[%s]", CLOUD_BATCH)]:
        error = refusal(body % b",".join([event] * (MAX_EVENTS + 1)), kind)
        assert (error.code, error.status) == ("too_many_events", 413)


# CloudEvents


@pytest.mark.parametrize("content_type", [CLOUD, "Application/CloudEvents+JSON; charset=utf-8"])
def test_a_cloudevent_is_the_same_event(content_type: str) -> None:
    (decoded,) = decode(CLOUD_EVENT, content_type)
    assert decoded.result_id == "evt-1"
    assert isinstance(decoded.outcome, UsageEvent)
    assert decoded.outcome.external_id == "/fax/server-1 evt-1"
    plain = only(changed(id="/fax/server-1 evt-1"))
    assert decoded.outcome == plain


def test_a_batch_of_cloudevents_is_an_array() -> None:
    decoded = decode([CLOUD_EVENT, CLOUD_EVENT | {"id": "evt-2", "time": "noon"}], CLOUD_BATCH)
    assert [item.result_id for item in decoded] == ["evt-1", "evt-2"]
    assert isinstance(decoded[1].outcome, Unreadable)
    assert pointers({"events": []}, CLOUD_BATCH) == [""]


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "data"])
def test_a_missing_field_of_a_cloudevent_is_named(name: str) -> None:
    assert pointers(without(name, CLOUD_EVENT), CLOUD) == [f"/{name}"]
    assert pointers([CLOUD_EVENT, without(name, CLOUD_EVENT)], CLOUD_BATCH) == [f"/1/{name}"]


def test_a_cloudevent_names_all_that_is_wrong_with_it() -> None:
    assert pointers({"specversion": "0.3", "id": "1", "data": {}}, CLOUD) == [
        "/specversion",
        "/source",
        "/type",
        "/subject",
        "/time",
        "/data/quantity",
    ]


def test_source_and_id_of_a_cloudevent_fit_together() -> None:
    assert pointers(CLOUD_EVENT | {"source": "s" * 200, "id": "i" * 200}, CLOUD) == ["/id"]


# Whatever is sent


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def kept_its_word(body: bytes, content_type: str) -> bool:
    try:
        return all(isinstance(item.outcome, UsageEvent | Unreadable) for item in decode_events(body, content_type))
    except DomainError as refused:
        return refused.code in {"unreadable_json", "invalid_events", "too_many_events"}


@given(st.binary(), st.sampled_from([JSON, CLOUD, CLOUD_BATCH, ""]))
def test_any_bytes_are_events_or_a_refusal(body: bytes, content_type: str) -> None:
    assert kept_its_word(body, content_type)


@given(st.sampled_from([*EVENT, *CLOUD_EVENT]), VALUES, st.sampled_from([JSON, CLOUD]))
def test_any_value_of_any_field_is_an_event_or_a_refusal(name: str, value: Any, content_type: str) -> None:
    event = (EVENT if content_type == JSON else CLOUD_EVENT) | {name: value}
    assert kept_its_word(json.dumps(event).encode(), content_type)

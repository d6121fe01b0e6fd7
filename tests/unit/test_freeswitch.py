"""What FreeSWITCH posts, read by the rules of app/pbx/README.md."""

import base64
import copy
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings, strategies as st

from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx.freeswitch import parse_cdr

CAPTURED = Path(__file__).parents[1] / "data" / "captured" / "freeswitch1_11_posts_encoded.jsonl"
POSTS = [post for post in map(json.loads, CAPTURED.read_text().splitlines()) if "cdr" in post["p"]]
BODIES = [post["b"].encode() for post in POSTS]
ANSWERED, DENIED, CUT = (
    "4b42225f-fa0e-4d3e-b8e4-8361c16d99c9",
    "83b7534c-e165-4979-9f0a-4a355ef40fdc",
    "c4aaf471-49dc-4c9e-a8b7-7f5cb4c7d7b3",
)
DEFAULT = SourceSettings()
FORM = "application/x-www-form-urlencoded"


def read(body: bytes | str, uuid: str = "", source: SourceSettings = DEFAULT, content_type: str = FORM) -> Any:
    return parse_cdr(body.encode() if isinstance(body, str) else body, content_type, uuid, source)


def captured(uuid: str) -> tuple[bytes, bytes]:
    """The JSON and the XML body of the A-leg `uuid`."""
    bodies = {parse_qs(urlsplit(post["p"]).query)["uuid"][0]: post["b"].encode() for post in POSTS}
    return bodies[uuid], bodies[f"a_{uuid}"]


def leg(**variables: Any) -> dict[str, Any]:
    """A small answered call of 4.2 s; a variable given as None is left out."""
    usual = {
        "uuid": "u-1",
        "domain_name": "acme.example",
        "start_stamp": "2026-11-22 20:16:02",
        "start_uepoch": "1795378562794726",
        "answer_uepoch": "1795378562834714",
        "answer_epoch": "1795378562",
        "billsec": "5",
        "billmsec": "4200",
    }
    return {"variables": {name: value for name, value in (usual | variables).items() if value is not None}}


def as_json(cdr: dict[str, Any], encode: bool = False) -> str:
    cdr = copy.deepcopy(cdr)
    if encode:
        cdr["variables"] = {name: quote(value, safe="/,'") for name, value in cdr["variables"].items()}
    return json.dumps(cdr)


def as_xml(cdr: dict[str, Any]) -> str:
    variables = "".join(f"<{name}>{quote(text, safe='/')}</{name}>" for name, text in cdr["variables"].items())
    flows = "".join(
        f'<callflow profile_index="{flow["profile_index"]}"><caller_profile>'
        + "".join(f"<{name}>{escape(text)}</{name}>" for name, text in flow["caller_profile"].items())
        + "</caller_profile></callflow>"
        for flow in cdr.get("callflow", [])
    )
    return f'<?xml version="1.0"?>\n<cdr><variables>{variables}</variables>{flows}</cdr>'


def code_of(body: bytes | str, **kwargs: Any) -> str:
    with pytest.raises(Unreadable) as refused:
        read(body, **kwargs)
    return refused.value.code


# The captured calls


def test_the_captured_answered_call_is_four_seconds_of_its_tenant() -> None:
    event = read(captured(ANSWERED)[0], ANSWERED)
    assert event == UsageEvent(
        external_id=ANSWERED,
        tenant="acme",
        resource="voice_minutes",
        quantity=4,  # billsec says 5 for 4,200 ms
        occurred_at=datetime(2026, 11, 22, 20, 16, 2, 794726, tzinfo=UTC),
        direction="outbound",
        caller="alice",
        callee="4420123456",
        call_id=ANSWERED,
        attributes={"hangup_cause": "NORMAL_CLEARING"},
    )


def test_the_captured_denied_call_is_ignored_as_unanswered() -> None:
    assert [read(body, DENIED).reason for body in captured(DENIED)] == ["unanswered"] * 2


def test_the_captured_cut_call_is_its_milliseconds_rounded() -> None:
    event = read(captured(CUT)[0], CUT)
    assert (event.quantity, event.callee) == (3, "2222555")


@pytest.mark.parametrize("uuid", [ANSWERED, DENIED, CUT])
def test_the_xml_and_the_json_of_a_captured_leg_mean_the_same(uuid: str) -> None:
    as_sent, xml = captured(uuid)
    assert read(as_sent, uuid) == read(xml, f"a_{uuid}")


def test_both_captured_far_legs_are_detail_of_another_leg() -> None:
    legs = [read(body) for body in BODIES]
    assert legs.count(Ignored("detail_leg")) == 2
    assert sum(isinstance(outcome, UsageEvent) for outcome in legs) == 4  # two calls, as JSON and as XML


# Encodings


def encodings(uuid: str) -> dict[str, bytes]:
    encoded, xml_form = (body.decode() for body in captured(uuid))
    document = json.loads(encoded)
    document["variables"] = {name: unquote(value) for name, value in document["variables"].items()}
    plain, xml = json.dumps(document), unquote(xml_form.removeprefix("cdr="))
    packed = {name: base64.b64encode(text.encode()).decode() for name, text in [("json", plain), ("xml", xml)]}
    return {
        "values encoded": encoded.encode(),
        "values plain": plain.encode(),
        "values plain, indented": json.dumps(document, indent=1).encode(),
        "with a byte order mark": b"\xef\xbb\xbf" + plain.encode() + b"\n",
        "cdr= urlencoded as FreeSWITCH does": ("cdr=" + quote(plain, safe="/,'")).encode(),
        "cdr= urlencoded as a form library does": urlencode({"cdr": json.dumps(document, indent=1)}).encode(),
        "cdr= urlencoded twice over the values": ("cdr=" + quote(encoded)).encode(),
        "cdr= base64": f"cdr={packed['json']}".encode(),
        "cdr= base64 in lines": ("cdr=" + base64.encodebytes(plain.encode()).decode()).encode(),
        "cdr= base64, urlencoded": urlencode({"cdr": packed["json"]}).encode(),
        "cdr= base64 with a NUL at the end": b"cdr=" + base64.b64encode(plain.encode() + b"\0"),
        "spooled urlencoded": quote(plain, safe="/").encode(),
        "spooled base64": packed["json"].encode(),
        "a field before cdr=": b"uuid=x&cdr=" + quote(plain).encode() + b"&last=1",
        "xml in cdr=": xml_form.encode(),
        "xml in cdr=, not escaped": f"cdr={xml}".encode(),
        "xml as it is": xml.encode(),
        "xml base64": f"cdr={packed['xml']}".encode(),
        "xml spooled urlencoded": quote(xml).encode(),
    }


@pytest.mark.parametrize("encoding", encodings(ANSWERED))
@pytest.mark.parametrize("content_type", ["application/json", FORM, "text/xml", ""])
def test_every_encoding_of_a_leg_means_the_same(encoding: str, content_type: str) -> None:
    event = read(encodings(ANSWERED)[encoding], content_type=content_type)
    assert event == read(captured(ANSWERED)[0])


@pytest.mark.parametrize("caller", ["+4930123", "%2B4930123", "a b", "a+b", "100%", "müller", "a&b;c", "%zz"])
def test_a_value_is_decoded_once_where_values_are_encoded_and_never_elsewhere(caller: str) -> None:
    cdr = leg(caller_id_number=caller, last_arg="{a=b c}user/101@acme.example", sip_from_uri="x@y:5060")
    bodies = [as_json(cdr), as_json(cdr, encode=True), as_xml(cdr), urlencode({"cdr": as_json(cdr)})]
    bodies += [f"cdr={quote(body)}" for body in bodies[:3]]
    assert [read(body).caller for body in bodies] == [caller] * len(bodies)


def test_a_plain_value_among_encoded_ones_is_left_as_it_is() -> None:
    document = json.loads(captured(ANSWERED)[0])
    document["variables"]["caller_id_number"] = "+49 30 %2B"
    assert read(json.dumps(document)).caller == "+49 30 %2B"
    assert read(json.dumps(document)).direction == "outbound"


def test_the_caller_profile_is_never_percent_encoded() -> None:
    flow = {"profile_index": "1", "caller_profile": {"caller_id_number": "%2B1", "destination_number": "+44"}}
    cdr = leg(caller_id_name="Alice Ashton") | {"callflow": [flow]}
    events = [read(as_json(cdr)), read(as_json(cdr, encode=True)), read(as_xml(cdr))]
    assert [(event.caller, event.callee) for event in events] == [("%2B1", "+44")] * 3


def test_numbers_may_be_json_numbers() -> None:
    assert read(as_json(leg(billmsec=4500, answer_epoch=1795378562))).quantity == 5


def test_control_characters_and_broken_utf8_cost_no_usage() -> None:
    body = as_json(leg(caller_id_number="al\x00ice\ud800")).encode().replace(b"u-1", b"u-1\xff")
    event = read(body)
    assert event.quantity == 4
    assert event.caller.encode() == b"alice?"
    assert read(as_xml(leg()).replace("<cdr>", "<cdr><note>\x01</note>")) == read(as_json(leg()))


# Identity, tenant, hold


@pytest.mark.parametrize("query", ["u-9", "a_u-9"])
def test_the_query_names_the_leg_when_the_body_does_not(query: str) -> None:
    assert read(as_json(leg(uuid=None)), query).external_id == "u-9"
    assert read(as_json(leg(uuid="u-1")), query).external_id == "u-1"


def test_a_leg_without_any_uuid_is_unreadable() -> None:
    assert code_of(as_json(leg(uuid=None))) == "unreadable_body"


@pytest.mark.parametrize(
    ("variables", "tenant"),
    [
        ({"billing_tenant": "a", "domain_name": "b", "accountcode": "c"}, "a"),
        ({"billing_tenant": "", "domain_name": "b", "accountcode": "c"}, "b"),
        ({"domain_name": None, "accountcode": "c"}, "c"),
    ],
)
def test_the_tenant_is_billing_tenant_then_domain_then_account_code(variables: Any, tenant: str) -> None:
    assert read(as_json(leg(**variables))).tenant == tenant


def test_a_leg_without_a_tenant_goes_to_quarantine_under_its_own_uuid() -> None:
    with pytest.raises(Unreadable) as refused:
        read(as_json(leg(domain_name=None)))
    assert (refused.value.code, refused.value.external_id) == ("unknown_tenant", "u-1")


def test_billing_hold_names_the_hold_and_call_uuid_the_call() -> None:
    event = read(as_json(leg(billing_hold="h_7", call_uuid="c-1")))
    assert (event.hold, event.call_id) == ("h_7", "c-1")
    assert read(as_json(leg())).call_id == "u-1"


# Seconds and times


@pytest.mark.parametrize(
    ("milliseconds", "seconds"),
    [("0", 0), ("499", 0), ("500", 1), ("1499", 1), ("1500", 2), ("4200", 4), (None, 5), ("", 5)],
)
def test_milliseconds_are_rounded_half_up_and_billsec_stands_in(milliseconds: str | None, seconds: int) -> None:
    assert read(as_json(leg(billmsec=milliseconds))).quantity == seconds


@pytest.mark.parametrize("value", ["-1", "4.2", "abc", "9" * 30, "9" * 5000, "٣", "1e3"])
def test_seconds_that_are_no_number_are_an_unreadable_quantity(value: str) -> None:
    assert code_of(as_json(leg(billmsec=value))) == "unreadable_quantity"
    assert code_of(as_json(leg(billmsec=None, billsec=value))) == "unreadable_quantity"


def test_missing_seconds_are_an_unreadable_quantity() -> None:
    assert code_of(as_json(leg(billmsec=None, billsec=None))) == "unreadable_quantity"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, datetime(2026, 11, 22, 20, 16, 2, 794726, tzinfo=UTC)),
        ({"start_uepoch": None, "start_epoch": "1795378562"}, datetime(2026, 11, 22, 20, 16, 2, tzinfo=UTC)),
        ({"start_uepoch": "0"}, datetime(2026, 11, 22, 20, 16, 2, 834714, tzinfo=UTC)),
    ],
)
def test_the_start_is_exact_to_the_microsecond(variables: Any, expected: datetime) -> None:
    assert read(as_json(leg(**variables))).occurred_at == expected


@pytest.mark.parametrize("value", ["soon", "-5", "9" * 20, "9" * 19])
def test_a_time_that_is_no_time_is_unreadable(value: str) -> None:
    assert code_of(as_json(leg(start_uepoch=value))) == "unreadable_time"


@pytest.mark.parametrize("unset", [None, "0", ""])
def test_a_leg_without_answer_time_is_unanswered(unset: str | None) -> None:
    assert read(as_json(leg(answer_epoch=unset, answer_uepoch=unset))).reason == "unanswered"


def test_one_of_the_two_answer_times_is_enough() -> None:
    assert read(as_json(leg(answer_uepoch=None))).quantity == 4


# Direction


GATEWAY = "{execute_on_answer='sched_hangup +60 X',sip_cid_type=none}sofia/gateway/carrier/4420123456"


@pytest.mark.parametrize(
    ("variables", "direction"),
    [
        ({"call_direction": "inbound", "last_app": "bridge", "last_arg": GATEWAY}, "inbound"),
        ({"call_direction": "OUTBOUND"}, "outbound"),
        ({"call_direction": "local"}, "internal"),
        ({"last_app": "bridge", "last_arg": GATEWAY}, "outbound"),
        ({"last_app": "bridge", "last_arg": "sofia/gateway/carrier/44"}, "outbound"),
        ({"last_app": "bridge", "last_arg": "[leg_timeout=9]sofia/gateway/a/44|sofia/gateway/b/44"}, "outbound"),
        ({"last_app": "hangup", "current_application": "bridge", "current_application_data": GATEWAY}, "outbound"),
        ({"last_app": "bridge", "last_arg": GATEWAY, "sip_gateway_name": "carrier"}, "outbound"),
        ({"last_app": "bridge", "last_arg": "user/101@acme.example", "sip_gateway_name": "carrier"}, "inbound"),
        ({"last_app": "bridge", "last_arg": "{fallback=sofia/gateway/a/1}user/101"}, "internal"),
        ({"last_app": "set", "last_arg": "next=sofia/gateway/a/1"}, "internal"),
        ({}, "internal"),
    ],
)
def test_the_direction_is_said_or_follows_from_the_gateway(variables: Any, direction: str) -> None:
    bodies = [as_json(leg(**variables)), as_json(leg(**variables), encode=True), as_xml(leg(**variables))]
    assert [read(body).direction for body in bodies] == [direction] * 3


@pytest.mark.parametrize(("bridged", "direction"), [({"bridge_uuid": "u-2"}, "outbound"), ({}, "internal")])
def test_the_log_counts_only_for_a_leg_that_was_bridged(bridged: Any, direction: str) -> None:
    log = {"app_log": {"applications": [{"app_name": "bridge", "app_data": GATEWAY}]}}
    element = f'<cdr><app_log><application app_name="bridge" app_data="{GATEWAY}"/></app_log>'
    cdr = leg(last_app="voicemail", **bridged)
    assert read(as_json(cdr | log)).direction == direction
    assert read(as_xml(cdr).replace("<cdr>", element)).direction == direction


def test_a_call_of_an_unmetered_direction_keeps_its_seconds() -> None:
    event = read(as_json(leg()))
    assert (event.direction, event.metered, event.quantity) == ("internal", False, 4)
    assert read(as_json(leg()), source=SourceSettings(metered_directions=("internal",))).metered


def test_the_numbers_are_those_first_dialled() -> None:
    flows = [
        {"profile_index": "2", "caller_profile": {"caller_id_number": "200", "destination_number": "201"}},
        {"profile_index": "1", "caller_profile": {"caller_id_number": "100", "destination_number": "101"}},
    ]
    cdr = leg() | {"callflow": flows}
    assert [(read(body).caller, read(body).callee) for body in (as_json(cdr), as_xml(cdr))] == [("100", "101")] * 2


# Fax


@pytest.mark.parametrize("gateway", [{"sip_gateway_name": "carrier"}, {}])
def test_a_fax_is_its_pages_and_no_voice_whatever_its_direction(gateway: Any) -> None:
    event = read(as_json(leg(fax_success="1", fax_document_transferred_pages="3", **gateway)))
    assert (event.resource, event.quantity, event.metered) == ("fax_pages", 3, True)


def test_a_fax_that_failed_is_neither_pages_nor_voice() -> None:
    assert read(as_json(leg(fax_success="0", fax_document_transferred_pages="1"))).reason == "fax_failed"


def test_a_fax_without_a_page_count_is_unreadable() -> None:
    assert code_of(as_json(leg(fax_success="1"))) == "unreadable_quantity"


# Whatever is sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"cdr=",
        b"cdr=%",
        b"cdr=====",
        b"null",
        b"[]",
        b"{}",
        b'{"variables":[]}',
        b'{"variables":{"uuid":7}',
        b"<cdr/>",
        b"<cdr><variables>",
        b"<html><body>no</body></html>",
        b'<?xml version="1.0" encoding="nonsense"?><cdr/>',
        b'<!DOCTYPE c [<!ENTITY a "b">]><cdr><variables><uuid>&a;</uuid></variables></cdr>',
        b"[" * 200_000,
        b'{"variables":' * 100_000,
        b"<a>" * 100_000 + b"</a>" * 100_000,
        b'{"variables":{"uuid":' + b"9" * 100_000 + b"}}",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_cdr_is_an_unreadable_body(body: bytes) -> None:
    assert code_of(body) == "unreadable_body"


def understood(body: bytes, uuid: str = "") -> bool:
    """Whether the parser kept its word: usage, a reason, or a known code."""
    try:
        outcome = parse_cdr(body, "", uuid, DEFAULT)
    except Unreadable as refused:
        return refused.code in {"unreadable_body", "unreadable_time", "unreadable_quantity", "unknown_tenant"}
    return isinstance(outcome, UsageEvent | Ignored)


@given(st.binary(), st.sampled_from([b"", b"cdr=", b"{", b"<", b"cdr=%7B"]), st.text())
def test_any_bytes_are_usage_a_reason_or_unreadable(body: bytes, start: bytes, uuid: str) -> None:
    assert understood(start + body, uuid)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BODIES), st.integers(0), st.integers(0, 40), st.binary(max_size=8))
def test_a_damaged_capture_is_usage_a_reason_or_unreadable(body: bytes, at: int, gone: int, put: bytes) -> None:
    at %= len(body)
    assert understood(body[:at] + put + body[at + gone :])


NAMES = st.sampled_from(
    ["uuid", "domain_name", "billmsec", "billsec", "start_uepoch", "answer_epoch", "answer_uepoch", "end_epoch",
     "fax_success", "fax_document_transferred_pages", "last_app", "last_arg", "call_direction", "caller_id_number",
     "originating_leg_uuid", "call_uuid"]
)  # fmt: skip
VALUES = st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.booleans(), st.lists(st.text(max_size=3)))


@given(st.dictionaries(NAMES, VALUES, max_size=4), VALUES)
def test_any_value_of_any_variable_is_usage_a_reason_or_unreadable(variables: Any, other: Any) -> None:
    cdr = leg() | {"callflow": other, "app_log": other}
    cdr["variables"] |= variables
    assert understood(json.dumps(cdr).encode())


@given(st.dictionaries(NAMES.filter(lambda name: name != "last_arg"), st.text("aä0+% &<{:/", min_size=1), max_size=5))
def test_the_xml_and_the_json_of_any_leg_mean_the_same(variables: dict[str, str]) -> None:
    def meaning(body: str) -> Any:
        try:
            return read(body, "u-1")
        except Unreadable as refused:
            return refused.code, refused.detail, refused.external_id

    # Enough blanks and colons that the plain document is known as one, as in every real CDR.
    cdr = leg(**{f"x{n}_stamp": "2026-11-22 20:16:02" for n in range(9)}, **variables)
    assert meaning(as_xml(cdr)) == meaning(as_json(cdr)) == meaning(as_json(cdr, encode=True))


def test_a_call_that_did_not_talk_says_what_it_frees() -> None:
    unanswered = read(as_json(leg(answer_epoch="0", answer_uepoch="0", call_uuid="c-1", billing_hold="h_1_2")))
    assert unanswered == Ignored("unanswered", "c-1", "h_1_2")


@pytest.mark.parametrize("sign", "{<[(\"'/ %")
def test_no_value_takes_more_than_a_time_of_its_length(sign):
    """A regular expression that looks for a closing sign from each opening one takes minutes, and all threads wait."""
    names = ("last_arg", "caller_id_number", "destination_number", "call_direction", "domain_name", "sip_gateway_name")
    for name in names:
        begun = time.process_time()
        with suppress(Unreadable):
            read(as_json(leg(**{"last_app": "bridge", "last_arg": "sofia/gateway/a/1", name: sign * 150_000})))
        assert time.process_time() - begun < 3, name

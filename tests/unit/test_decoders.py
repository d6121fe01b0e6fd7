"""Whatever a PBX sends, a parser answers: what it means, that it is no usage, or why it cannot be read."""

import json
from pathlib import Path

from hypothesis import given, settings as hypothesis_settings, strategies as st

from app.core.errors import DomainError
from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx import asterisk, freeswitch, generic
from app.pbx.reread import CLOUD_BATCH, CLOUD_ONE, reread

CAPTURED = Path(__file__).parent.parent / "data" / "captured"
SETTINGS = SourceSettings()
MEANINGS = UsageEvent | Ignored | Unreadable
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SPOILS = [
    "", "\0", "٣", "1e400", "-1", "9" * 400, "NaN", "null", "%", "%ff", "%00", '"', "'", ",", "\r\n", "\n", "\u2028", "=", "&",
    "&b;", "<a>", "</variables>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "{", "}", "[", "]", "[" * 2_000, ";", "//", "\\ud800",
]  # fmt: skip
posts = [json.loads(line) for line in (CAPTURED / "freeswitch1_11_posts_encoded.jsonl").read_text().splitlines()]
LEGS = [post["b"] for post in posts if post["p"].startswith("/cdr")]
XML = (
    "<cdr core-uuid='a'><channel_data/><variables><uuid>a</uuid><billing_tenant>acme</billing_tenant><billsec>60</billsec>"
    + ("<start_epoch>1795378500</start_epoch></variables><callflow><caller_profile/></callflow></cdr>")
)
ROWS = [(CAPTURED / f"asterisk22_{name}_real.csv").read_text() for name in ("master", "cdr_custom")]
EVENT = '{"id":"e","tenant":"acme","resource":"fax_pages","quantity":3,"occurred_at":"2026-11-22T20:00:00Z","attributes":{"a":[1]}}'
CLOUD = '{"specversion":"1.0","id":"e","source":"s","type":"t","subject":"acme","time":"2026-11-22T20:00:00Z","data":'
CLOUD += EVENT + "}"
EXAMPLES = hypothesis_settings(max_examples=120, deadline=None)


@st.composite
def spoilt(draw: st.DrawFn, samples: list[str]) -> str:
    """One of `samples` with a few places cut out or written over."""
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(0, 4))):
        at, length = draw(st.integers(0, len(text))), draw(st.sampled_from([0, 0, 1, 2, 30, 10_000]))
        text = text[:at] + draw(st.sampled_from(SPOILS) | st.text(max_size=8)) + text[at + length :]
    return text


def as_bytes(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    encodings = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"])
    return st.builds(lambda text, encoding: text.encode(encoding, "replace"), texts, encodings) | st.binary(
        max_size=200
    )


@EXAMPLES
@given(
    as_bytes(spoilt([*LEGS, XML])),
    st.sampled_from(["", JSON, "text/xml", FORM, "x/y;;"]),
    st.sampled_from(["", "a", "a_" + "b" * 300, "\0"]),
)
def test_a_leg_of_freeswitch(body, content_type, uuid):
    try:
        found = freeswitch.parse_cdr(body, content_type, uuid, SETTINGS)
    except Unreadable as problem:
        found = problem
    assert isinstance(found, MEANINGS)


@EXAMPLES
@given(spoilt(ROWS))
def test_the_rows_of_asterisk(text):
    rows = list(asterisk.parse_csv(text, SETTINGS))
    assert all(isinstance(row.outcome, MEANINGS) for row in rows)
    assert sum(len(row.raw.splitlines()) for row in rows) <= len(text.splitlines()) + 1  # nothing is told twice


@EXAMPLES
@given(
    as_bytes(spoilt([EVENT, CLOUD, f"[{EVENT},{EVENT}]", f"[{CLOUD}]", '{"events":[' + EVENT + "]}"])),
    st.sampled_from([JSON, CLOUD_ONE, CLOUD_BATCH, "", "text/plain; charset=utf-16"]),
)
def test_events(body, content_type):
    try:
        found = [each.outcome for each in generic.decode_events(body, content_type)]
    except DomainError:  # of the whole body, which its sender hears of
        return
    assert all(isinstance(each, MEANINGS) for each in found)


@EXAMPLES
@given(
    spoilt([*LEGS, XML, *ROWS, EVENT, CLOUD]),
    st.sampled_from(["event", "freeswitch", "asterisk"]),
    st.sampled_from(["", JSON, FORM, CLOUD_ONE, CLOUD_BATCH]),
)
def test_what_is_read_once_more(body, format, content_type):
    assert isinstance(reread(body, format, content_type, "", SETTINGS), MEANINGS)

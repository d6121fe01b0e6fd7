"""Any bytes at any endpoint of machines: never a failure, always an answer of the documented form, nothing taken is lost."""

import json
from urllib.parse import quote, quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings as hypothesis_settings, strategies as st
from sqlalchemy import func, select

from app.api.blueprint import Operation, operations
from app.api.examples import EXAMPLES
from app.db import db, snapshot
from app.domain.insight.verify import differences
from app.domain.metering.models import Quarantined, UsageRecord
from tests.conftest import NOW
from tests.faults.reporters import SOAK_MINUTES, sized

EXAMPLES_OF_EACH = {"sqlite": (15, 8), "postgresql": (4, 4)}  # in `make test`, and more for each minute of a soak
JSON, PROBLEM, LINE = "application/json", "application/problem+json", "text/plain; charset=utf-8"
FORM = "application/x-www-form-urlencoded"
BAD_WORDS = [
    "", "\0", "\ud800", "é\u0301", "\u202e", "٣", "𝟛", "1e400", "NaN", "-1", "9" * 400, "x" * 70_000, "a\r\nX-Injected: 1",
    "../..", "{{7*7}}", "%00", "=1+1", "null", "true", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "2026-11-22T20:10:60Z", "2026-02-30T00:00:00Z", "acme", "ACME", "voice_minutes", "fax_pages",
]  # fmt: skip
BAD_NUMBERS = [0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**400, -(2**63) - 1, 1.5, -0.0, 1e308]
RAW = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"{",
    b"[]",
    b"null",
    b"NaN",
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b"[1e999]",
    b"\xef\xbb\xbf{}",
]

words = st.sampled_from(BAD_WORDS) | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.sampled_from(BAD_NUMBERS) | st.integers() | st.floats() | words
values = st.recursive(
    scalars, lambda some: st.lists(some, max_size=4) | st.dictionaries(words, some, max_size=4), max_leaves=8
)
content_types = st.sampled_from([
    JSON, FORM, "text/xml", "text/csv", "text/plain", "", "application/cloudevents+json", "application/cloudevents-batch+json",
    "multipart/form-data; boundary=b", "multipart/form-data", "application/json; charset=utf-16", "x" * 300, ";;;", FORM + ";charset=nonsense",
])  # fmt: skip
encodings = st.sampled_from([None] * 8 + ["identity", "gzip", "br", "x, y", ""])
accepts = st.sampled_from(
    [None] * 3 + ["*/*", JSON, "text/plain", "application/pdf", "application/xml", "text/plain;q=0", ";q=x", "é"]
)
idempotency_keys = st.sampled_from([None] * 6 + ["one", "", " ", "x" * 256, "é"]) | st.uuids().map(str)


def body_of(operation: Operation, data: st.DataObject) -> bytes:
    """Something like what the endpoint takes, or not at all."""
    known = EXAMPLES[operation.endpoint].body
    kind = data.draw(st.sampled_from(["spoilt", "spoilt", "cut", "json", "form", "bytes"]))
    if kind == "spoilt" and isinstance(known, dict):
        return _json(_spoilt(known, data))
    if kind in ("spoilt", "cut"):
        raw = known.encode() if isinstance(known, str) else _json(known)
        start, length = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 12))
        return raw[:start] + data.draw(st.sampled_from(RAW) | st.binary(max_size=8)) + raw[start + length :]
    if kind == "json":
        return _json(data.draw(values))
    if kind == "form":
        fields = known if isinstance(known, dict) else {"tenant": "acme", "call_id": "c", "cdr": "{}"}
        return urlencode({**fields, data.draw(words): data.draw(words)}, errors="replace").encode()
    return data.draw(st.sampled_from(RAW) | st.binary(max_size=60))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()  # with NaN, Infinity and lone surrogates, as Python writes them


def _spoilt(known: dict, data: st.DataObject) -> dict:
    """With other values in some of its places."""
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(known)), values, max_size=2))
    return {**known, **changed, **data.draw(st.dictionaries(words, values, max_size=1))}


@pytest.fixture
def send(client, acme, source, make):
    """One request of an endpoint, spoilt."""

    def open_it(operation: Operation, data: st.DataObject):
        path = "/api/v1" + operation.path
        for name, value in {**EXAMPLES[operation.endpoint].path, "allocation_id": "1", "quote_id": "1"}.items():
            given = data.draw(
                st.sampled_from([value, value, "acme", "9" * 30, "é", "\0", "a\nb", "x" * 300, "٣"])
                | st.text(max_size=5)
            )
            path = path.replace(f"<{name}>", quote(given, safe="", errors="replace") or "-")
        query = {name: data.draw(words | st.binary(max_size=9)) for name in operation.query} | {"verbose": "1"}
        pairs = (
            f"{name}={quote(v, errors='replace') if isinstance(v, str) else quote_from_bytes(v)}"
            for name, v in query.items()
        )
        headers = {
            "Authorization": f"Bearer {source.key}", "Content-Encoding": data.draw(encodings), "Accept": data.draw(accepts),
            "Idempotency-Key": data.draw(idempotency_keys),
        }  # fmt: skip
        return client.open(
            path, method=operation.method, query_string="&".join(pairs), data=body_of(operation, data),
            content_type=data.draw(content_types), headers={name: value for name, value in headers.items() if value is not None},
        )  # fmt: skip

    return open_it


def kept() -> int:
    """How many reports the database has, one way or the other, conflicts apart."""
    with snapshot() as session:
        recorded = session.scalar(select(func.count()).select_from(UsageRecord))
        aside = session.scalar(select(func.count()).select_from(Quarantined).where(Quarantined.reason != "conflict"))
        return recorded + aside


def _taken(counts: dict) -> int:
    """How many reports an answer says are kept; conflicts apart, which are kept once and told each time."""
    if "accepted" in counts:
        return counts["accepted"]
    return counts["recorded"] + counts["quarantined"] - counts["reasons"].get("conflict", 0)


def test_any_bytes_are_answered_as_documented_and_what_is_taken_is_kept(app, send):
    limit, taken = sized(*EXAMPLES_OF_EACH[db.engine.dialect.name]), []

    def try_it(operation: Operation) -> None:
        @hypothesis_settings(
            max_examples=limit, deadline=None, database=None, derandomize=not SOAK_MINUTES,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.data())
        def is_answered(data):
            answer = send(operation, data)
            assert answer.status_code < 500, answer.text
            assert "X-Injected" not in answer.headers
            if answer.status_code >= 400:
                assert answer.content_type == PROBLEM or (
                    "text/plain" in operation.gives_also and answer.content_type == LINE
                )
            if answer.content_type == PROBLEM:
                assert answer.json["status"] == answer.status_code and answer.json["code"]
            elif (
                answer.status_code == 200 and operation.scope == "usage" and "Idempotent-Replayed" not in answer.headers
            ):
                taken.append(_taken(answer.json))

        is_answered()

    for operation in operations:
        try_it(operation)
    assert kept() == sum(taken) > 0
    with snapshot() as session:
        assert not list(differences(session, now=NOW))


@pytest.mark.databases("sqlite")
def test_any_question_to_the_gate_is_answered(client, acme, source):
    @hypothesis_settings(max_examples=sized(40, 40), deadline=None, database=None, derandomize=not SOAK_MINUTES)
    @given(st.dictionaries(st.sampled_from(["tenant_id", "type", "key"]), words), st.booleans())
    def is_answered(query, with_key):
        if with_key:
            query["key"] = source.key
        answer = client.get(
            "/billing/gate?" + urlencode(query, errors="replace"), environ_base={"REMOTE_ADDR": "192.0.2.9"}
        )
        assert answer.status_code == 200 if with_key else answer.status_code in (401, 429)
        assert "reason" in answer.json if with_key else True

    is_answered()

"""One wording of a statement, and what each driver is given of it."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from app.core.statements import as_json, as_moment, for_driver

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=2)))


@pytest.mark.parametrize(
    ("dialect", "statement", "values", "worded", "given"),
    [
        ("sqlite", "a = :a", {"a": 1}, "a = :a", {"a": 1}),
        ("postgresql", "a = :a_b AND b::text = :c", {"a_b": 1, "c": "x"}, "a = %(a_b)s AND b::text = %(c)s", None),
        ("sqlite", "a = ANY(:a)", {"a": [1, 2]}, "a IN (SELECT value FROM json_each(:a))", {"a": "[1, 2]"}),
        ("postgresql", "a = ANY(:a)", {"a": [1, 2]}, "a = ANY(%(a)s)", None),
        ("sqlite", "a = ANY(:a)", {"a": []}, "a IN (SELECT value FROM json_each(:a))", {"a": "[]"}),
        ("sqlite", "a = ANY(:a)", {"a": ["x"]}, "a = :a", {"a": "x"}),
        ("postgresql", "a = ANY(:a)", {"a": ["x"]}, "a = %(a)s", {"a": "x"}),
        ("sqlite", ":at", {"at": MOMENT}, ":at", {"at": "2026-03-04 03:06:07.000000"}),
        ("sqlite", ":on", {"on": date(2026, 3, 4)}, ":on", {"on": "2026-03-04"}),
        ("postgresql", ":at", {"at": MOMENT}, "%(at)s", None),
    ],
)
def test_a_statement_is_worded_for_its_driver(dialect, statement, values, worded, given):
    assert for_driver(dialect, statement, values) == (worded, values if given is None else given)


def test_moments_and_json_are_read_of_either_database():
    assert as_moment("2026-03-04 03:06:07.000000") == as_moment(MOMENT) == MOMENT
    assert as_moment("2026-03-04 03:06:07").tzinfo is as_moment(MOMENT).tzinfo is UTC
    assert as_json('["a"]') == as_json(["a"]) == ["a"]

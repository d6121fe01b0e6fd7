"""A CSV file as things to add."""

import tracemalloc

import pytest

from app.core.errors import Invalid
from app.domain.telephony.bulk import parse_csv
from app.domain.telephony.names import e164
from app.web.kit.csv import csv_lines


def found(text):
    return [(each.name, each.note, each.line) for each in parse_csv(text)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("101\n102", [("101", "", 1), ("102", "", 2)]),
        ("\ufeffname,note\r\n101, Front desk \r\n", [("101", "Front desk", 2)]),
        ("Name;Note;Since\n101;Desk;2026", [("101", "Desk", 2)]),
        ('"Smith, John","says ""hi"""', [("Smith, John", 'says "hi"', 1)]),
        ("101\n\n , \n103,", [("101", "", 1), ("103", "", 4)]),
        ("'+4930901820,'=1+1\n'quoted'", [("+4930901820", "=1+1", 1), ("'quoted'", "", 2)]),
        (",only a note", [("", "only a note", 1)]),
    ],
)
def test_what_a_file_says(text, rows):
    assert found(text) == rows


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_file"),
        ("name,note\n", "empty_file"),
        ("101,a,b", "unreadable_csv"),
        ('101\n"102', "unreadable_csv"),
        ("1\n" * 10_001, "too_many_rows"),
        ("12\n" * 3_000_000, "too_long"),
        ('"' + "a" * 200_000, "unreadable_csv"),
    ],
)
def test_what_cannot_be_read_is_refused(text, code):
    with pytest.raises(Invalid) as caught:
        parse_csv(text)
    assert caught.value.code == code


def test_an_export_can_be_imported():
    rows = [("+4930901820", "-"), ("=x", 'a "b"'), ("101", "")]
    assert [(each.name, each.note) for each in parse_csv("".join(csv_lines(("name", "note"), rows)))] == rows


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("030 901820", "DE", "+4930901820"),
        ("0049 30 901820", "DE", "+4930901820"),
        ("(020) 7946-0958", "GB", "+442079460958"),
        ("415.555.0134", "US", "+14155550134"),
        ("+1 555 123 4567", "", "+15551234567"),  # no such area, as in films
        ("+683 4000", "", "+6834000"),
    ],
)
def test_numbers_are_kept_in_e164(text, country, number):
    assert e164(text, country) == number


@pytest.mark.parametrize("bomb", ["12\n" * 400_000, "\n" * 1_200_000, "," * 1_200_000, "," * 999_999])
def test_a_bomb_takes_little_memory(bomb):
    tracemalloc.start()
    with pytest.raises(Invalid):
        parse_csv(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40_000_000

"""Exports that no spreadsheet runs."""

import csv
import io

import pytest

from app.web.kit.csv import csv_lines, harmless


@pytest.mark.parametrize(
    "cell", ["=1+1", "+442079460958", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＠SUM(A1)"]
)
def test_text_that_begins_like_a_formula_gets_an_apostrophe(cell):
    assert harmless(cell) == "'" + cell


@pytest.mark.parametrize(
    ("cell", "written"),
    [("Acme;=1+1", "Acme;'=1+1"), (";;@A1;x", ";;'@A1;x"), ("=1;-2", "'=1;'-2"), ('a";+1', "a\";'+1")],
)
def test_neither_does_a_cell_that_a_semicolon_begins(cell, written):
    """Where a comma is the decimal sign, a spreadsheet takes the file apart at semicolons."""
    assert harmless(cell) == written


@pytest.mark.parametrize("cell", ["Acme", "a=b", "a; b", "", "'=1", -5, 0, None, 2.5])
def test_everything_else_stays_as_it_is(cell):
    assert harmless(cell) == cell


def test_lines_come_one_by_one_and_read_back():
    rows = iter([["Acme, Ltd.", -5, None], ['say "hi"', "=cmd", "two\nlines"]])
    lines = list(csv_lines(["name", "quantity", "note"], rows))
    assert len(lines) == 3
    assert all(line.endswith("\r\n") for line in lines)
    assert list(csv.reader(io.StringIO("".join(lines), newline=""))) == [
        ["name", "quantity", "note"],
        ["Acme, Ltd.", "-5", ""],
        ['say "hi"', "'=cmd", "two\nlines"],
    ]


def test_an_export_does_not_read_ahead():
    read = []

    def rows():
        for number in range(3):
            read.append(number)
            yield [number]

    lines = csv_lines(["number"], rows())
    next(lines)
    assert read == []
    next(lines)
    assert read == [0]

"""Exports as CSV, written row by row and harmless in a spreadsheet."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from flask import Response, stream_with_context

_BEGINS = "=+-@\t\r\n＝＋－＠"  # the wide ones are formulas, too, where people write in wide letters
# A spreadsheet that separates by semicolon, as in much of Europe, begins a cell behind each, quoted or not.
_FORMULA = re.compile(rf"(^|;)(?=[{re.escape(_BEGINS)}])")


class _Line:
    """A file of one line: csv writes into it, we take it out."""

    text = ""

    def write(self, text: str) -> int:
        self.text = text
        return len(text)


def harmless(cell: Any) -> Any:
    """The cell as no spreadsheet will run it: what begins like a formula gets an apostrophe.

    Numbers stay numbers. Source: OWASP, "CSV Injection".

    >>> harmless("=1+1"), harmless(-5), harmless("Acme"), harmless("Acme;=1+1")
    ("'=1+1", -5, 'Acme', "Acme;'=1+1")
    """
    if isinstance(cell, str) and (cell[:1] in _BEGINS or ";" in cell):  # few are looked at closely
        return _FORMULA.sub(r"\1'", cell)
    return cell


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of a CSV file (RFC 4180, CRLF), one at a time; every cell passes through `harmless`."""
    line = _Line()
    writer = csv.writer(line)
    for row in chain([header], rows):
        writer.writerow([harmless(cell) for cell in row])
        yield line.text


def csv_response(filename: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A download that is written while it is read from the database. `filename` is ours, in plain ASCII."""
    response = Response(stream_with_context(csv_lines(header, rows)), mimetype="text/csv")
    response.headers.set("Content-Disposition", "attachment", filename=filename)
    response.headers["Cache-Control"] = "no-store"
    return response

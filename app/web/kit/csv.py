"""Exports as CSV, written row by row and harmless in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from flask import Response, stream_with_context

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Line:
    """A file of one line: csv writes into it, we take it out."""

    text = ""

    def write(self, text: str) -> int:
        self.text = text
        return len(text)


def harmless(cell: Any) -> Any:
    """The cell as no spreadsheet will run it: text that begins like a formula gets an apostrophe.

    Numbers stay numbers. Source: OWASP, "CSV Injection".

    >>> harmless("=1+1"), harmless(-5), harmless("Acme")
    ("'=1+1", -5, 'Acme')
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


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

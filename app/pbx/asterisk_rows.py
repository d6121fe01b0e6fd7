"""From the text of a CSV file to its rows, one broken row at a time."""

import csv
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_MAX_LINES = 20  # a quoted value over more lines than this is an unterminated quote


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stood in the file; `values` is None where its quoting is broken."""

    line_number: int  # of its first line, from 1
    raw: str
    values: list[str] | None


def read_records(text: str | Iterable[str], is_whole: Callable[[list[str]], bool]) -> Iterator[Record]:
    """The records of `text` (one string, or the lines of an open file), blank lines left out.

    A quoted value may hold line ends. A quote that never closes spoils its own line alone: lines are
    joined only when the result `is_whole` and no line in between is a whole record by itself.
    """
    lines = deque[str]()
    source = iter(text.split("\n") if isinstance(text, str) else text)
    number = 1
    while _fill(lines, source):
        count, values = _record(lines, is_whole)
        raw = "\n".join(lines.popleft() for _ in range(count))
        if raw.strip():
            yield Record(number, raw, values)
        number += count


def _fill(lines: deque[str], source: Iterator[str]) -> bool:
    """Have as many lines at hand as one record may span; False at the end of the file."""
    while len(lines) < _MAX_LINES and (line := next(source, None)) is not None:
        lines.append(line.rstrip("\r\n").removeprefix("\ufeff"))
    return bool(lines)


def _record(lines: deque[str], is_whole: Callable[[list[str]], bool]) -> tuple[int, list[str] | None]:
    """How many lines the first record spans, and its values."""
    if lines[0].count('"') % 2 == 0:
        return 1, _values(lines[0])
    for index in range(1, len(lines)):
        if lines[index].count('"') % 2:
            values = _values("\n".join(list(lines)[: index + 1]))
            return (index + 1, values) if values is not None and is_whole(values) else (1, None)
        alone = _values(lines[index])
        if alone is not None and is_whole(alone):
            break
    return 1, None


def _values(record: str) -> list[str] | None:
    try:
        rows = list(csv.reader(io.StringIO(record, newline=""), strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None

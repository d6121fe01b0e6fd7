"""A CSV file as things to add. Pure."""

import csv
from io import StringIO
from itertools import islice

from app.core.errors import Invalid
from app.domain.telephony.service import MOST_AT_ONCE, Wanted

MAX_TEXT = 1_000_000  # characters: what is read takes some ten times as much memory
_FORMULA = ("=", "+", "-", "@")


def parse_csv(text: str) -> list[Wanted]:
    r"""One thing a line: `name[,note]`. Raises Invalid: `empty_file`, `too_long`, `too_many_rows`, `unreadable_csv`.

    A first line that begins with `name` heads the columns, and further ones are left out. Semicolons may stand for
    commas. The apostrophe that an export puts before a plus, for spreadsheets, is taken away again.

    >>> parse_csv("name,note\n101,Front desk\n\n102\n")
    [Wanted(name='101', note='Front desk', line=2), Wanted(name='102', note='', line=4)]
    """
    if len(text) > MAX_TEXT:
        raise Invalid("too_long", f"A file may have {MAX_TEXT:,} characters.", field="file")
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    head = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=";" if ";" in head and "," not in head else ",", strict=True
    )
    found: list[Wanted] = []
    is_headed = False
    try:
        for cells in reader:
            values = [cell.strip() for cell in cells]
            if not any(values):
                continue
            if not found and not is_headed and values[0].lower() == "name":
                is_headed = True
                continue
            if len(values) > 2 and not is_headed:
                raise _unreadable(reader.line_num, "more than a name and a note")
            found.append(Wanted(_typed(values[0]), _typed("".join(islice(values, 1, 2))), reader.line_num))
            if len(found) > MOST_AT_ONCE:
                raise Invalid("too_many_rows", f"At most {MOST_AT_ONCE:,} lines at once.", field="file")
    except csv.Error as error:
        raise _unreadable(reader.line_num, str(error)) from None
    if not found:
        raise Invalid("empty_file", "There is no line with a name.", field="file")
    return found


def _typed(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(_FORMULA) else cell


def _unreadable(line: int, why: str) -> Invalid:
    return Invalid("unreadable_csv", f"Line {line} cannot be read: {why}.", field="file")

"""A bank's CSV file as lines of money that came in. Pure; README.md, "Bank files"."""

import csv
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import StringIO
from itertools import islice

from app.core.errors import Invalid
from app.core.money import MAX_MICROS, MICROS

MOST_LINES = 5_000
MOST_COLUMNS = 100
MOST_HEADS = 30  # some banks put the account above
# How banks head their columns, in small letters and without marks.
_HEADS = {
    "day": ("bookingdate", "buchungstag", "buchungsdatum", "date", "datum", "transactiondate", "completeddate",
            "valuedate", "valutadatum", "valuta", "wertstellung"),
    "amount": ("amount", "betrag", "umsatz", "betrageur", "amounteur", "betraginderkontowahrung"),
    "currency": ("currency", "wahrung", "waehrung"),
    "payer": ("payer", "name", "payername", "counterparty", "auftraggeber", "namezahlungsbeteiligter", "zahler",
              "beguenstigterzahlungspflichtiger", "auftraggeberzahlungspflichtiger"),
    "text": ("remittance", "remittanceinformation", "verwendungszweck", "reference", "paymentreference", "description",
             "details", "text", "zweck"),
}  # fmt: skip
_DAYS = ("%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%Y%m%d")
_NUMBER = re.compile(r"[+-]?\d[\d.,' \u00a0]*")


@dataclass(frozen=True, slots=True)
class BankLine:
    """One line. `key` is the same whenever the same line is read again, and another for one that is there twice."""

    number: int  # in the file, from 1
    day: date
    amount_micros: int
    currency: str
    payer: str
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A line that cannot be understood, and why."""

    number: int
    why: str


def read(content: str, currency: str) -> list[BankLine | Unread]:
    """The lines of a file with a header, whatever separates its columns; `currency` where no column says it.

    Raises Invalid (`unreadable_csv`, `too_many_rows`) for a file without a day, an amount and a text. Of a file that is
    too long no more is read than tells that it is.
    """
    content = content.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}").replace("\0", "")
    reader = csv.reader(StringIO(content, newline=""), delimiter=_separator(content))
    try:
        rows = list(islice(reader, MOST_HEADS + MOST_LINES + 1))
    except csv.Error as error:
        raise Invalid("unreadable_csv", f"Line {reader.line_num} cannot be read: {error}.", field="file") from None
    at, columns = _header(rows)
    if len(rows) - at > MOST_LINES:
        raise Invalid("too_many_rows", f"At most {MOST_LINES:,} lines at once.", field="file")
    seen: Counter[str] = Counter()
    return [_line(number, row, columns, currency, seen) for number, row in enumerate(rows[at:], at + 1) if any(row)]


def parse_amount(text: str, places: int = 2) -> int:
    """Micros of an amount as banks write it: `1.234,56`, `1,234.56`, `-12,5`. Raises ValueError.

    Three digits after a lone sign are thousands, unless the currency has three places itself.

    >>> parse_amount("1.234,56"), parse_amount("-12,5"), parse_amount("1,234"), parse_amount("1.234", 3)
    (1234560000, -12500000, 1234000000, 1234000)
    """
    text = text.strip().removesuffix("€").strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError("no amount")
    sign, digits = (-1 if text.startswith("-") else 1), re.sub(r"[+\-' \u00a0]", "", text)
    last = max(digits.rfind("."), digits.rfind(","))
    after = len(digits) - last - 1
    lone = last >= 0 and digits.count(digits[last]) == 1
    is_decimal = last >= 0 and lone and (after != 3 or places == 3 or len(set(digits) & {".", ","}) == 2)
    whole, fraction = (digits[:last], digits[last + 1 :]) if is_decimal else (digits, "")
    whole = re.sub(r"[.,]", "", whole)
    if len(fraction) > 6 or len(whole) > 12:
        raise ValueError("no amount")
    micros = int(whole or "0") * MICROS + int(fraction.ljust(6, "0") or "0")
    if micros > MAX_MICROS:
        raise ValueError("amount too large")
    return sign * micros


def parse_day(text: str) -> date:
    """A day as banks write it, the day before the month. Raises ValueError.

    >>> parse_day("23.11.2026"), parse_day("2026-11-23")
    (datetime.date(2026, 11, 23), datetime.date(2026, 11, 23))
    """
    for form in _DAYS:
        try:
            return datetime.strptime(text.strip()[:10], form).date()  # noqa: DTZ007  a day has no zone
        except ValueError:
            continue
    raise ValueError("no day")


def _separator(content: str) -> str:
    lines = islice(StringIO(content, newline=None), MOST_HEADS)
    head = next((line for line in lines if len(_known(re.split(r"[;,\t]", line))) >= 2), "")
    return max(";,\t", key=head.count)


def _header(rows: Sequence[Sequence[str]]) -> tuple[int, dict[str, list[int]]]:
    """Where the lines begin, and the columns by what they hold."""
    for at, row in enumerate(rows[:MOST_HEADS], 1):
        columns = _known(row)
        if {"day", "amount", "text"} <= columns.keys():
            return at, columns
    raise Invalid("unreadable_csv", "The file needs a line that heads a day, an amount and a text.", field="file")


def _known(row: Sequence[str]) -> dict[str, list[int]]:
    heads = [_plain(cell) for cell in row[:MOST_COLUMNS]]
    found = {what: [heads.index(name) for name in names if name in heads] for what, names in _HEADS.items()}
    return {what: places for what, places in found.items() if places}


def _plain(text: str) -> str:
    spelled = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in spelled if "a" <= letter <= "z")


def _line(
    number: int, row: Sequence[str], columns: dict[str, list[int]], currency: str, seen: Counter[str]
) -> BankLine | Unread:
    def cell(what: str) -> str:
        places = columns.get(what, ())
        found = [row[place].strip() for place in places if place < len(row) and row[place].strip()]
        return " ".join(found) if what == "text" else next(iter(found), "")

    try:
        day = parse_day(cell("day"))
    except ValueError:
        return Unread(number, "day")
    currency = (cell("currency") or currency).upper()
    try:
        amount = parse_amount(cell("amount"), 3 if currency in ("KWD", "BHD", "OMR", "TND", "JOD", "IQD", "LYD") else 2)
    except ValueError:
        return Unread(number, "amount")
    meaning = "|".join((day.isoformat(), str(amount), currency, cell("payer"), cell("text")))
    seen[meaning] += 1
    digest = hashlib.blake2b(f"{meaning}|{seen[meaning]}".encode(), digest_size=16).hexdigest()
    return BankLine(number, day, amount, currency, cell("payer"), cell("text"), f"bank-file:{digest}")

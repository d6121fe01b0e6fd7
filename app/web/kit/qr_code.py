"""QR codes as one path of an SVG picture, drawn on the server."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segno import QRCode

QUIET = 4  # modules of white on each side


@dataclass(frozen=True, slots=True)
class Drawing:
    """Black on white: `path` in SVG's terms fills the dark modules of a square of `side`."""

    side: int
    path: str


def drawn(code: "QRCode") -> Drawing:
    """The code with its quiet zone."""
    rows = list(code.matrix_iter(border=QUIET))
    return Drawing(len(rows), "".join(_runs(row, at) for at, row in enumerate(rows)))


def code_of(text: str) -> Drawing:
    """A code that says `text`."""
    from segno import make_qr  # noqa: PLC0415  only who sets up an app needs it

    return drawn(make_qr(text, error="m"))


def _runs(row: Iterable[int], at: int) -> str:
    """The dark modules of a row as rectangles, one for those side by side."""
    found, start = [], 0
    for is_dark, modules in groupby(row, bool):
        width = len(list(modules))
        if is_dark:
            found.append(f"M{start} {at}h{width}v1h-{width}z")
        start += width
    return "".join(found)

"""The EPC QR code (EPC069-12, version 2) that a banking app reads a SEPA transfer from."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from app.core.money import MICROS

MOST_MICROS = 999_999_999_990_000  # 999,999,999.99, the most that the code can say
QUIET = 4  # modules of white on each side


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """Black on white: `path` in SVG's terms fills the dark modules of a square of `side`."""

    side: int
    path: str


def payment_code(*, name: str, iban: str, bic: str, micros: int, currency: str, text: str) -> PaymentCode | None:
    """The code of a transfer; None where SEPA has none: another currency, no valid account, no amount."""
    # They bring much along that only documents need.
    from segno.helpers import make_epc_qr  # noqa: PLC0415
    from stdnum.iban import compact, is_valid  # noqa: PLC0415

    if currency != "EUR" or not 0 < micros <= MOST_MICROS or not is_valid(iban):
        return None
    amount = Decimal(micros) / MICROS
    code = make_epc_qr(name[:70], compact(iban), amount, text=text, bic=bic.replace(" ", "") or None, encoding="utf-8")
    rows = list(code.matrix_iter(border=QUIET))
    return PaymentCode(len(rows), "".join(_runs(row, at) for at, row in enumerate(rows)))


def _runs(row: Iterable[int], at: int) -> str:
    """The dark modules of a row as rectangles, one for those side by side."""
    found, start = [], 0
    for is_dark, modules in groupby(row, bool):
        width = len(list(modules))
        if is_dark:
            found.append(f"M{start} {at}h{width}v1h-{width}z")
        start += width
    return "".join(found)

"""The EPC QR code (EPC069-12, version 2) that a banking app reads a SEPA transfer from."""

from decimal import Decimal

from app.core.money import MICROS
from app.web.kit.qr_code import Drawing, drawn

MOST_MICROS = 999_999_999_990_000  # 999,999,999.99, the most that the code can say


def payment_code(*, name: str, iban: str, bic: str, micros: int, currency: str, text: str) -> Drawing | None:
    """The code of a transfer; None where SEPA has none: another currency, no valid account, no amount."""
    # They bring much along that only documents need.
    from segno.helpers import make_epc_qr  # noqa: PLC0415
    from stdnum.iban import compact, is_valid  # noqa: PLC0415

    if currency != "EUR" or not 0 < micros <= MOST_MICROS or not is_valid(iban):
        return None
    amount = Decimal(micros) / MICROS
    return drawn(
        make_epc_qr(name[:70], compact(iban), amount, text=text, bic=bic.replace(" ", "") or None, encoding="utf-8")
    )

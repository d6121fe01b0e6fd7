"""The EPC QR code: drawn as it is read."""

import re

import pytest
import segno
from segno.helpers import make_epc_qr

from app.web.kit.payment_code import payment_code
from app.web.kit.qr_code import QUIET

PAYEE = {"name": "Northline", "iban": "DE02 1203 0000 0000 2020 51", "bic": "BYLADEM1001", "text": "2026-00001"}


def drawn(code):
    rows = [[0] * code.side for _ in range(code.side)]
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", code.path):
        for at in range(int(width)):
            rows[int(y)][int(x) + at] = 1
    return rows


def test_the_path_draws_the_code_of_the_transfer():
    code = payment_code(**PAYEE, micros=58_350_000, currency="EUR")
    written = make_epc_qr("Northline", "DE02120300000000202051", 58.35, "2026-00001", bic="BYLADEM1001", encoding=1)
    assert drawn(code) == [list(row) for row in written.matrix_iter(border=QUIET)]
    assert written.error == "M" and isinstance(written, segno.QRCode)


@pytest.mark.parametrize(
    "changed",
    [
        {"currency": "USD"},
        {"micros": 0},
        {"micros": -1_000_000},
        {"micros": 10**15},
        {"iban": ""},
        {"iban": "DE03 1203 0000 0000 2020 51"},
    ],
)
def test_what_sepa_cannot_transfer_has_no_code(changed):
    assert payment_code(**{**PAYEE, "micros": 58_350_000, "currency": "EUR", **changed}) is None


def test_a_long_name_is_cut():
    assert payment_code(**{**PAYEE, "name": "Ö" * 200, "text": "x" * 64}, micros=10_000, currency="EUR")

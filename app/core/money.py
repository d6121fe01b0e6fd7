"""Integer micros plus an ISO 4217 code. 1,000,000 micros are one unit of the currency."""

from decimal import Decimal, InvalidOperation

MICROS = 1_000_000
MAX_MICROS = 10**15  # one billion units: a bound for input, far below 64 bits


def parse_micros(text: str) -> int:
    """Micros of a decimal string such as `"49.00"` or `"0.0215"`.

    Raises ValueError for anything that is not a plain non-negative decimal of at most six places.

    >>> parse_micros("0.02")
    20000
    """
    text = text.strip()
    if not text or not set(text) <= set("0123456789."):
        raise ValueError("not a decimal amount")
    try:
        micros = Decimal(text) * MICROS
    except InvalidOperation as error:
        raise ValueError("not a decimal amount") from error
    if micros != micros.to_integral_value():
        raise ValueError("more than six decimal places")
    if micros > MAX_MICROS:
        raise ValueError("amount too large")
    return int(micros)


def format_micros(micros: int, places: int = 2) -> str:
    """The exact decimal string of an amount with at least `places` decimals.

    >>> format_micros(20000), format_micros(49_000_000), format_micros(500, 0)
    ('0.02', '49.00', '0.0005')
    """
    sign, whole, fraction = "-" if micros < 0 else "", *divmod(abs(micros), MICROS)
    digits = f"{fraction:06d}".rstrip("0").ljust(places, "0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def half_up(numerator: int, denominator: int, unit_micros: int = 1) -> int:
    """`numerator / denominator` micros rounded to whole `unit_micros`, a half away from zero; exact for any size.

    `denominator` is positive. 10,000 `unit_micros` are cents.

    >>> half_up(5, 2), half_up(-5, 2), half_up(1_700_000_000, 31, 10_000)
    (3, -3, 54840000)
    """
    scale = denominator * unit_micros
    units = (2 * abs(numerator) + scale) // (2 * scale) * unit_micros
    return -units if numerator < 0 else units


def price_of(quantity: int, price_micros: int, factor: int, unit_micros: int = 1) -> int:
    """Micros for `quantity` base units at `price_micros` per display unit of `factor` base units, half-up.

    Rounded once, to whole `unit_micros`: 10,000 are cents.

    >>> price_of(90, 20_000, 60), price_of(35, 20_000, 60), price_of(35, 20_000, 60, 10_000)
    (30000, 11667, 10000)
    """
    return half_up(quantity * price_micros, factor, unit_micros)

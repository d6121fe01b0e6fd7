"""Colours as `#rrggbb`, and how well one is read on another (WCAG 2.2, relative luminance and contrast ratio)."""

import re

READABLE = 4.5  # the least contrast of ordinary text, WCAG 1.4.3
_HEX = re.compile(r"#[0-9a-f]{6}")


def is_color(text: str) -> bool:
    """True for `#rrggbb` in small letters."""
    return _HEX.fullmatch(text) is not None


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1.0 to 21.0."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mix(one: str, other: str, percent: int) -> str:
    """`percent` of one with the rest of the other, as CSS's `color-mix(in srgb, …)`."""
    parts = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round((a * percent + b * (100 - percent)) / 100):02x}" for a, b in parts)


def _channels(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


def _luminance(color: str) -> float:
    linear = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in _channels(color))
    )
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

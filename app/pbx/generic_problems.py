"""All that is wrong with a usage event: the slow path, for events that the typed decoder refused."""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from app.core.quantities import MAX_QUANTITY
from app.pbx.text import MAX_TEXT

Problem = dict[str, str]  # {"pointer": a JSON pointer, "detail": what is wrong there}
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
_Check = Callable[[Any], str]  # what is wrong with a value, or nothing


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "a number")


def _text_problem(value: Any) -> str:
    if not isinstance(value, str):
        return f"expected a string, got {_kind(value)}"
    if not 1 <= len(value) <= MAX_TEXT:
        return f"expected 1 to {MAX_TEXT} characters, got {len(value)}"
    return "a NUL character is not allowed" if "\x00" in value else ""


def quantity_problem(value: Any) -> str:
    if value is None:
        return "required: a whole number"
    if not isinstance(value, int) or isinstance(value, bool):
        return f"expected a whole number, got {value if isinstance(value, float) else _kind(value)}"
    return "" if 0 <= value <= MAX_QUANTITY else f"expected 0 to {MAX_QUANTITY}"


def _time_problem(value: Any) -> str:
    return "" if isinstance(value, str) else f"expected a string, got {_kind(value)}"


def _object_problem(value: Any) -> str:
    return "" if isinstance(value, dict) else f"expected an object, got {_kind(value)}"


def _version_problem(value: Any) -> str:
    return "" if value == "1.0" else 'expected "1.0"'


EVENT: dict[str, _Check] = {
    "id": _text_problem,
    "tenant": _text_problem,
    "resource": _text_problem,
    "quantity": quantity_problem,
    "occurred_at": _time_problem,
    "attributes": _object_problem,
}
CLOUD_EVENT: dict[str, _Check] = {
    "specversion": _version_problem,
    "id": _text_problem,
    "source": _text_problem,
    "type": _text_problem,
    "subject": _text_problem,
    "time": _time_problem,
    "data": _object_problem,
}


def find(raw: bytes, checks: dict[str, _Check], pointer: str = "") -> list[Problem]:
    """Everything that is wrong with one event at `pointer`, in the order of the contract.

    Empty where only the decoder knows, as with a number that no float holds.
    """
    try:
        event = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        return []
    if not isinstance(event, dict):
        return [{"pointer": pointer, "detail": f"expected an object, got {_kind(event)}"}]
    found = {name: _problem(event, name, check) for name, check in checks.items()}
    data = event.get("data") if "data" in checks else None
    if isinstance(data, dict):
        found["data/quantity"] = quantity_problem(data.get("quantity"))
    return [{"pointer": f"{pointer}/{name}", "detail": detail} for name, detail in found.items() if detail]


def of(error: msgspec.ValidationError, pointer: str = "") -> Problem:
    """The decoder's own words at `pointer`, its `$.a[0]` path turned into a JSON pointer."""
    detail, _, path = str(error).partition(" - at `$")
    return {"pointer": pointer + re.sub(r"[.\[]", "/", path.rstrip("`")).replace("]", ""), "detail": detail}


def _problem(event: dict[str, Any], name: str, check: _Check) -> str:
    if name in event:
        return check(event[name])
    return "" if name == "attributes" else "required"

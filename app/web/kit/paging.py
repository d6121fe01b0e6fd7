"""The addresses of a paged, filtered list."""

from datetime import datetime
from typing import Any

from flask import request, url_for

from app.core.cursor import decode_cursor, encode_cursor

__all__ = ["decode_cursor", "encode_cursor", "here", "newest_first_key"]


def newest_first_key(name: str) -> tuple[datetime, int] | None:
    """The key in the argument `after` or `before` of a list by moment and id, or None for the first page."""
    found = decode_cursor(request.args.get(name), datetime, int)
    return (found[0], found[1]) if found else None


def here(**changes: str | int | None) -> str:
    """The address of this page with some query arguments changed; None takes one away."""
    arguments: dict[str, Any] = {**request.args.to_dict(flat=False), **changes}
    kept = {name: value for name, value in arguments.items() if value not in (None, "", [""])}
    # Left out is what url_for itself would understand.
    names = {name: value for name, value in kept.items() if not name.startswith("_") and name != "endpoint"}
    return url_for(request.endpoint or "static", **(names | (request.view_args or {})))

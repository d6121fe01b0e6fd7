"""The addresses of a paged, filtered list."""

from typing import Any

from flask import request, url_for

from app.core.cursor import decode_cursor, encode_cursor

__all__ = ["decode_cursor", "encode_cursor", "here"]


def here(**changes: str | int | None) -> str:
    """The address of this page with some query arguments changed; None takes one away."""
    arguments: dict[str, Any] = {**request.args.to_dict(flat=False), **changes}
    kept = {name: value for name, value in arguments.items() if value not in (None, "", [""])}
    # Left out is what url_for itself would understand.
    names = {name: value for name, value in kept.items() if not name.startswith("_") and name != "endpoint"}
    return url_for(request.endpoint or "static", **(names | (request.view_args or {})))

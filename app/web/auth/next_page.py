"""Where to go after signing in: a page of this portal, and nothing that a browser could read as another site."""

import re

MAX_LENGTH = 2_000
# What is allowed, rather than what is forbidden: browsers drop tabs and newlines, read a backslash as a
# slash and two slashes as a host (WHATWG URL), and every list of tricks misses the next one.
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_QUERY = re.compile(r"[A-Za-z0-9._~%&=+:,;@!$'()*/?|-]*")


def local_page(target: str | None) -> str | None:
    """`target` when it is a path of this portal with or without a query, else None.

    >>> local_page("/portal/usage?day=2026-11-30"), local_page("//evil.example"), local_page("https://evil.example")
    ('/portal/usage?day=2026-11-30', None, None)
    """
    if not target or not target.startswith("/") or len(target) > MAX_LENGTH:
        return None
    path, _, query = target.partition("?")
    return target if _PATH.fullmatch(path) and _QUERY.fullmatch(query) else None

"""What a process writes about itself, a line for each request, job and problem, without personal data beyond ids.

JSON for machines that collect it, words on a terminal. A line's `request` is the id that the answer carries as
`X-Request-ID`, and that an error page shows.
"""

import atexit
import logging
import re
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from threading import Thread
from time import perf_counter, sleep, time
from typing import Any, TextIO

import msgspec
from flask import Flask, Response, g, has_request_context, request

from app.config import Settings

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # of one that a proxy gave
# PostgreSQL's reports repeat the values of a row: "DETAIL:  Key (email)=(…) already exists."
_VALUES = re.compile(r"^\s*(DETAIL|CONTEXT|LINE \d+):.*$\n?", re.MULTILINE)
_encode = msgspec.json.Encoder().encode
Fields = dict[str, Any]
PAUSE_SECONDS = 0.2
_ids = Random()  # noqa: S311  nothing is guarded by the id of a request, and to ask the system for each is slow


def init_app(app: Flask) -> None:
    """Write to standard error, and note every request from here on."""
    settings: Settings = app.config["RINGPLAN"]
    as_json = settings.LOG_FORMAT == "json" or (settings.LOG_FORMAT != "text" and not sys.stderr.isatty())
    app.logger.setLevel(logging.INFO)
    app.logger.handlers = [_ToStandardError()]
    app.logger.handlers[0].setFormatter(_Formatter(_as_json if as_json else _as_words))
    _ids.seed()  # a process that was forked would go on with its parent's
    app.before_request(_begin)
    if settings.BEHIND_PROXY:
        app.before_request(_take_proxys_id)
    app.after_request(_name)
    if settings.LOG_REQUESTS:
        app.after_request(partial(_note, _as_json if as_json else _as_words))


def seconds() -> float:
    """How long the running request takes so far."""
    return perf_counter() - float(g.began_at)


def _begin() -> None:
    g.began_at, g.request_id = perf_counter(), f"{_ids.getrandbits(64):016x}"


def _take_proxys_id() -> None:
    """So that both logs tell of the same request."""
    given = request.headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(given):
        g.request_id = given


def _name(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    return response


def _note(written: Callable[[Fields], str], response: Response) -> Response:
    """Without a logger, which would cost more than the rest of the line: it looks for its caller on the stack."""
    rule = request.url_rule
    fields = {
        "time": _stamp(time()),
        "level": "info",
        "message": "request",
        "request": g.request_id,
        "method": request.method,
        "route": rule.rule if rule else "",  # the path may hold names and tokens
        "status": response.status_code,
        "ms": round(seconds() * 1000, 1),
    }
    _add_who(fields)
    _out(written(fields) + "\n")
    return response


def _write(text: str) -> None:
    with suppress(OSError):  # a log that cannot be written, as on a full disk, is no reason to refuse anything
        sys.stderr.write(text)


_out: Callable[[str], object] = _write


def write_behind() -> None:
    """Have a thread of its own write the requests' lines, up to PAUSE_SECONDS later.

    To write is to let go of Python's lock, and with sixteen requests at once each of them paid for that with a tenth of
    its time.
    """
    global _out  # noqa: PLW0603  a process serves, or it does not
    lines: deque[str] = deque()
    _out = lines.append

    def write_all() -> None:
        if lines:
            _write("".join(lines.popleft() for _ in range(len(lines))))

    def keep_writing() -> None:
        while True:
            sleep(PAUSE_SECONDS)
            write_all()

    atexit.register(write_all)
    Thread(target=keep_writing, name="log", daemon=True).start()


def _add_who(fields: Fields) -> None:
    """Ids of who asked: of the key, or of the account, as far as they were looked up."""
    context = g._get_current_object().__dict__
    if key := context.get("key"):
        fields["key"] = key.id
    if account_id := getattr(context.get("_login_user"), "account_id", None):
        fields["account"] = account_id
    if tenant_id := context.get("tenant_id"):
        fields["tenant"] = tenant_id


class _ToStandardError(logging.StreamHandler[TextIO]):
    """Whatever standard error is at the moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Formatter(logging.Formatter):
    def __init__(self, written: Callable[[Fields], str]) -> None:
        super().__init__()
        self._written = written

    def format(self, record: logging.LogRecord) -> str:
        """The record with its fields, and of what went wrong no value of a row."""
        fields: Fields = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "message": _VALUES.sub("", record.getMessage()),
        }
        if has_request_context() and "request_id" in g:
            fields["request"] = g.request_id
        fields.update(getattr(record, "fields", {}))
        if record.exc_info:
            fields["trace"] = _VALUES.sub("", self.formatException(record.exc_info))
        return self._written(fields)


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _as_json(fields: Fields) -> str:
    return _encode(fields).decode()


def _as_words(fields: Fields) -> str:
    moment = datetime.fromisoformat(fields.pop("time")).astimezone()
    level, message, trace = fields.pop("level"), fields.pop("message"), fields.pop("trace", "")
    rest = "".join(f" {name}={value}" for name, value in fields.items())
    return f"{moment:%H:%M:%S} {level} {message}{rest}" + (f"\n{trace}" if trace else "")

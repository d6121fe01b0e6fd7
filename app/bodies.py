"""Bodies of requests: read whole or not at all, and never by all threads at once.

A thread that reads a body waits for its sender. Whoever drips many of them holds no more than a share of the threads,
so that everybody else is still served.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BytesIO
from threading import Lock
from typing import IO, Any, cast

from flask import Request, current_app
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, TooManyRequests
from werkzeug.formparser import FormDataParser
from werkzeug.wsgi import LimitedStream

from app import lanes

ONE_ADDRESS, ALL = 6, 2  # the part of the threads that may wait for bodies: a sixth, and half
RETRY_SECONDS = 5
MOST_DISCARDED = 20_000_000  # bytes of a body that is too long
PIECE = 65_536
_lock = Lock()
_waiting: Counter[str] = Counter()


class _WholeBody(LimitedStream):
    """A body that ends before its length is no body; one that is longer than allowed is refused, not cut short.

    Werkzeug's own hands out the beginning of either where the server marks the end of bodies.
    """

    def __init__(self, stream: IO[bytes], limit: int, length: int | None, address: str) -> None:
        super().__init__(stream, limit, is_max=True)
        self._length, self._address = length, address

    def on_exhausted(self) -> None:
        """Exactly the limit is allowed."""
        if self._stream.read(1):
            raise RequestEntityTooLarge

    def readinto(self, b: Any) -> int | None:
        with _place(self._address):
            count = super().readinto(b)
        if not count and self._pos < (self._length or 0):
            raise ClientDisconnected
        return count

    def readall(self) -> bytes:
        pieces: list[bytes] = []
        with _place(self._address):
            # Not once more than its length: each read lets go of Python's lock, and waits for it again.
            while (self._length is None or self._pos < self._length) and (piece := self._piece()):
                pieces.append(piece)
        if self._pos < (self._length or 0):
            raise ClientDisconnected
        return b"".join(pieces)

    def _piece(self) -> bytes:
        """What is there of the rest, at most all of it; nothing at its end."""
        try:
            piece = self._stream.read(self.limit - self._pos + 1)
        except (OSError, ValueError):
            raise ClientDisconnected from None
        self._pos += len(piece)
        if self._pos > self.limit:
            raise RequestEntityTooLarge
        return piece


class _FieldsParser(FormDataParser):
    """Werkzeug's own bounds the fields of a multipart form alone, and reads a million others in seconds."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> Any:
        if mimetype == "application/x-www-form-urlencoded":
            fields = stream.read()
            if len(fields) > (self.max_form_memory_size or 0):
                raise RequestEntityTooLarge
            stream = BytesIO(fields)
        return super().parse(stream, mimetype, content_length, options)


class PortalRequest(Request):
    """Flask's request, whose body is read in bounds."""

    form_data_parser_class = _FieldsParser

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body, from its beginning."""
        try:
            stream = super().stream
        except RequestEntityTooLarge:
            self._discard()
            raise
        if not isinstance(stream, LimitedStream):
            return stream
        body = _WholeBody(stream._stream, stream.limit, self.content_length, self.remote_addr or "")
        return cast("IO[bytes]", body)

    def _discard(self) -> None:
        """Take the whole of a body that is a little too long: who writes to the end before it reads hears the answer.

        Who asks first whether to send it (`Expect`) is spared the sending.
        """
        left = self.content_length or 0
        if left > MOST_DISCARDED or "Expect" in self.headers:
            return
        with _place(self.remote_addr or ""), suppress(OSError, ValueError):
            while left > 0 and (piece := self.environ["wsgi.input"].read(min(left, PIECE))):
                left -= len(piece)


@contextmanager
def _place(address: str) -> Iterator[None]:
    """One of the threads that may wait for a body. Raises TooManyRequests."""
    threads = current_app.config["RINGPLAN"].BLOCKING_THREADS
    with _lock:
        if _waiting[address] * ONE_ADDRESS >= threads or _waiting.total() * ALL >= threads:
            raise TooManyRequests(retry_after=RETRY_SECONDS)
        _waiting[address] += 1
    try:
        with lanes.outside():
            yield
    finally:
        with _lock:
            _waiting[address] -= 1
            if not _waiting[address]:
                del _waiting[address]

"""Send one webhook: to the address that was checked, within a bounded time, reading a bounded answer."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection

from app.core.addresses import Network, is_allowed, is_within
from app.core.errors import Invalid
from app.domain.webhooks.delivery import MAX_ANSWER, Outcome

TIMEOUT_SECONDS = 15  # from the first question to the name server to the last byte that is read
LOOKUP_SECONDS = 5  # of them, for the name server
PORTS = {"https": 443, "http": 80}
TIMED_OUT = f"no whole answer within {TIMEOUT_SECONDS} seconds"
# One sentence for both: a tenant does not learn which names there are inside.
NOT_PUBLIC = "There is no server of this name with public addresses alone."
HTTP = HTTPConnection | HTTPSConnection


class Refused(Exception):
    """Nothing may be sent there; the message says why, without the address that a name stands for."""


def check(url: str, allowed: Sequence[Network]) -> None:
    """Raise Invalid (`invalid_url`) for an address that nothing would be sent to now."""
    try:
        resolve(parse(url), allowed)
    except Refused as refused:
        raise Invalid("invalid_url", str(refused), field="url") from None


def parse(url: str) -> SplitResult:
    """The parts of an address of the form that is allowed. Raises Refused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("This is not the address of a web server.") from None
    if parts.scheme not in PORTS or not host or port == 0:
        raise Refused("Enter an address that begins with https://.")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise Refused("Write the address without blanks and other special characters.")
    if parts.username is not None or parts.password is not None:
        raise Refused("No user name or password may stand in the address.")
    if parts.fragment:
        raise Refused("What follows # is never sent; leave it out.")
    return parts


def resolve(parts: SplitResult, allowed: Sequence[Network]) -> list[str]:
    """The IP addresses behind a name, each of them allowed; plain HTTP needs a range. Raises Refused."""
    port = parts.port or PORTS[parts.scheme]
    addresses = _look_up(parts.hostname or "", port)
    if not addresses or not all(is_allowed(each, allowed) for each in addresses):
        raise Refused(NOT_PUBLIC)
    if parts.scheme == "http" and not all(is_within(each, allowed) for each in addresses):
        raise Refused("Enter an address that begins with https://.")
    return addresses


def _look_up(host: str, port: int) -> list[str]:
    """The IP addresses behind a name, none where there is no such name. Raises Refused for one that takes too long.

    In a thread that may be left behind: the system's resolver knows no limit, and whoever runs a zone can let it wait
    for most of a minute.
    """
    answer: SimpleQueue[list[str]] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answer.put(list(dict.fromkeys(str(each[4][0]) for each in found)))

    threading.Thread(target=ask, name="look up", daemon=True).start()
    try:
        return answer.get(timeout=LOOKUP_SECONDS)
    except Empty:
        raise Refused(f"The name server did not answer within {LOOKUP_SECONDS} seconds.") from None


def post(url: str, headers: dict[str, str], body: bytes, allowed: Sequence[Network]) -> Outcome:
    """One attempt: nothing is followed, nothing is raised."""
    begun = time.monotonic()
    status: int | None = None
    answer, problem = b"", ""
    try:
        parts = parse(url)
        line = _Line(resolve(parts, allowed), begun + TIMEOUT_SECONDS)
        with closing(line.to(parts)) as connection, line.cut_in_time():
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, headers, preload_content=False, decode_content=False)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER, decode_content=False)
            status = response.status
    except Refused as refused:
        problem = str(refused)
    except Exception as error:  # whatever a server answers is noted with the attempt, and stops nothing
        problem = _words(error)
    if time.monotonic() - begun >= TIMEOUT_SECONDS:
        status, problem = None, TIMED_OUT
    text = answer.decode(errors="replace").replace("\0", "\ufffd")
    return Outcome(status, round((time.monotonic() - begun) * 1000), text, problem)


class _Line:
    """A connection to one of these addresses and no other, whatever its name stands for meanwhile."""

    def __init__(self, addresses: Sequence[str], deadline: float) -> None:
        self.addresses, self.deadline = addresses, deadline
        self.handle: socket.socket | None = None

    def to(self, parts: SplitResult) -> HTTP:
        """A connection that calls the server by its name: Host, SNI and its certificate are that of the name."""
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        if parts.scheme == "http":
            connection: HTTP = HTTPConnection(host, port, timeout=self.left)
        else:
            connection = HTTPSConnection(host, port, timeout=self.left, ssl_context=ssl.create_default_context())
        # urllib3 opens its socket here, as its own proxies for SOCKS override it.
        connection._new_conn = self.open  # type: ignore[method-assign]
        connection.port = port
        self.port = port
        return connection

    @property
    def left(self) -> float:
        """Seconds until the time is up; never nothing, which would mean for ever."""
        return max(0.01, self.deadline - time.monotonic())

    def open(self) -> socket.socket:
        """The first of the addresses that answers."""
        for is_last, address in enumerate(self.addresses, start=1 - len(self.addresses)):
            try:
                found = socket.create_connection((address, self.port), self.left)
            except OSError:
                if is_last == 0:
                    raise
            else:
                self.handle = found.dup()
                return found
        raise AssertionError("unreachable")

    @contextmanager
    def cut_in_time(self) -> Iterator[None]:
        """Shut it down when the time is up: a timeout of the socket alone starts anew with every byte."""
        timer = threading.Timer(self.left, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if self.handle is not None:
                self.handle.close()

    def _cut(self) -> None:
        if self.handle is not None:
            with suppress(OSError):
                self.handle.shutdown(socket.SHUT_RDWR)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    return f"{type(error).__name__}: {error}"[:200].replace("\0", "")

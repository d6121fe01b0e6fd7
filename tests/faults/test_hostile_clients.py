"""Bodies that are too large, too deep, too many or too slow are refused or do no harm, and everybody else is served."""

import gzip
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
import requests

from app.db import db
from app.domain.metering.models import Quarantined
from tests.server import LiveServer, serving

MB = 1_000_000
GROWTH = 20 * MB  # which the memory of the server's processes may show afterwards
THREADS = 24
FORM = "application/x-www-form-urlencoded"
FREESWITCH, ASTERISK = "/api/v1/cdr/freeswitch", "/api/v1/cdr/asterisk"
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
PARTS = (
    "".join(f'--b\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n1\r\n' for n in range(100_000)) + "--b--\r\n"
)
BOMBS = {
    "json deep": ("/api/v1/usage", "application/json", b"[" * 1_000 + b"]" * 1_000, 400),
    "json deeper": ("/api/v1/usage", "application/json", b'{"a":' * 1_500_000, 400),
    "json deep in an event": ("/api/v1/usage", "application/json", b'{"attributes":' * 1_000 + b"1" + b"}" * 1_000, 400),
    "call deep": ("/api/v1/calls/authorize", "application/json", b'{"a":' * 1_000 + b"1" + b"}" * 1_000, 400),
    "leg deep": (FREESWITCH, "application/json", b'{"variables":' * 1_000 + b"1" + b"}" * 1_000, 200),
    "number": ("/api/v1/usage", "application/json", b'{"quantity":' + b"9" * 5_000_000 + b"}", 422),
    "events": ("/api/v1/usage", "application/json", b'{"events":[' + b"{}," * 2_000_000 + b"{}]}", 413),
    "entities": (FREESWITCH, "text/xml", f"<!DOCTYPE l [<!ENTITY e0 'aa'>{ENTITIES}]><cdr>&e9;</cdr>".encode(), 200),
    "file": (FREESWITCH, "text/xml", b'<!DOCTYPE c [<!ENTITY f SYSTEM "file:///etc/passwd">]><cdr>&f;</cdr>', 200),
    "tags": (FREESWITCH, "text/xml", b"<a>" * 200_000, 200),
    "percent": (FREESWITCH, FORM, b"cdr=" + b"%25" * 300_000, 200),
    "rows": (ASTERISK, "text/csv", b"1\n" * 4_000_000, 413),
    "fields": ("/api/v1/calls/authorize", FORM, b"a=1&" * 2_000_000, 413),
    "fields of a page": ("/login", FORM, b"a=1&" * 2_000_000, 413),
    "parts": ("/login", "multipart/form-data; boundary=b", PARTS.encode(), 413),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[LiveServer]:
    with serving(tmp_path_factory.mktemp("served"), BLOCKING_THREADS=str(THREADS)) as server:
        yield server


@pytest.fixture(scope="module")
def key(server) -> str:
    with server.seeding() as make:
        make.subscribe(make.tenant("Acme"), make.package("gold", {"voice_minutes": 6_000}))
        return make.source("pbx1").key


@pytest.fixture
def unharmed(server, key) -> Iterator[Callable[[], None]]:
    """Somebody else is served at once, when it is called and at the end; the memory is what it was, at the end."""

    def serve_somebody() -> None:
        headers = {"Authorization": f"Bearer {key}"}
        answer = requests.get(f"{server.url}/api/v1/tenants/acme/meters", headers=headers, timeout=5)
        assert answer.status_code == 200

    for _ in range(THREADS):
        serve_somebody()
    before = memory(server)
    yield serve_somebody
    serve_somebody()
    deadline = time.monotonic() + 10
    while (grown := memory(server) - before) > GROWTH and time.monotonic() < deadline:
        time.sleep(0.2)
    assert grown <= GROWTH
    assert "Traceback" not in server.output


def memory(server: LiveServer) -> int:
    """Bytes that the server and its workers have in memory."""
    process = psutil.Process(server.process.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


def head(path: str, key: str, *fields: str) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", "Connection: close", *fields)
    return "\r\n".join((*lines, "", "")).encode()


def send(server: LiveServer, *pieces: bytes) -> bytes:
    """What comes back; who is answered early may find that the rest is not taken."""
    with closing(connect(server)) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass
        return connection.recv(65_536)


def connect(server: LiveServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.environment["PORT"])), timeout=10)


@pytest.mark.parametrize("path", ["/api/v1/usage", FREESWITCH, ASTERISK, "/api/v1/calls/authorize", "/login"])
def test_a_hundred_megabytes_are_refused(server, key, unharmed, path):
    content = f"Content-Type: {FORM}"
    with_length = send(server, head(path, key, content, "Content-Length: 100000000"), *[b"x" * MB] * 100)
    chunk = b"f4240\r\n" + b"x" * MB + b"\r\n"
    chunked = send(server, head(path, key, content, "Transfer-Encoding: chunked"), *[chunk] * 100, b"0\r\n\r\n")
    assert with_length.split(b" ")[1] == chunked.split(b" ")[1] == b"413"


def test_who_writes_all_of_a_body_that_is_a_little_too_long_reads_the_answer(server, key, unharmed):
    """As Python's own client does, which reads nothing once a write failed."""
    headers = {"Authorization": f"Bearer {key}"}
    for path in ("/api/v1/usage", "/api/v1/calls/authorize"):
        asked = Request(server.url + path, data=b" " * (11 * MB), headers=headers)
        with pytest.raises(HTTPError) as refused:
            urlopen(asked, timeout=30)
        assert refused.value.code == 413
        refused.value.close()


def test_who_asks_whether_to_send_a_body_that_is_too_long_sends_none_of_it(server, key, unharmed):
    answer = send(server, head("/api/v1/usage", key, "Content-Length: 11000000", "Expect: 100-continue"))
    assert answer.split(b" ")[1] == b"413"


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_does_not_go_off(server, key, unharmed, name):
    path, content_type, body, status = BOMBS[name]
    headers = {"Authorization": f"Bearer {key}", "Content-Type": content_type}
    answer = requests.post(server.url + path, data=body, headers=headers, timeout=30)
    assert answer.status_code == status
    if path == FREESWITCH:
        assert answer.json()["quarantined"] == 1


def test_a_compressed_body_is_refused_unread(server, key, unharmed):
    headers = {"Authorization": f"Bearer {key}", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b"1" * 50 * MB)
    for path in ("/api/v1/usage", FREESWITCH, ASTERISK, "/api/v1/calls/authorize"):
        assert requests.post(server.url + path, data=bomb, headers=headers, timeout=10).status_code == 415


@pytest.mark.parametrize("path", ["/api/v1/usage", "/login"])
def test_those_who_drip_their_bodies_hold_up_nobody(server, key, unharmed, path):
    start = head(path, key, f"Content-Type: {FORM}", "Content-Length: 1000") + b"a"
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(connect(server))) for _ in range(3 * THREADS)]
        for connection in slow:
            connection.sendall(start)
        time.sleep(0.3)
        unharmed()
        refused = [b"429" in connection.recv(1_000) for connection in slow if _has_answer(connection)]
        assert len(refused) >= 2 * THREADS and all(refused)


def _has_answer(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False


@pytest.mark.parametrize("said", [b"", b"POST /api/v1/usage HTTP/1.1\r\nX-A: "])
def test_those_who_connect_and_say_little_hold_up_nobody(server, unharmed, said):
    with ExitStack() as stack:
        for _ in range(10 * THREADS):
            stack.enter_context(closing(connect(server))).sendall(said)
        unharmed()


def test_half_a_body_is_no_body(server, key, unharmed):
    rows = b'"acme"\n' * 3
    with closing(connect(server)) as connection:
        connection.sendall(head(ASTERISK, key, "Content-Length: 1000") + rows)
    time.sleep(0.3)
    with server.app():
        assert not db.session.query(Quarantined).filter(Quarantined.body.contains('"acme"')).count()

"""How the bytes of a request are read: the whole of it, or not at all."""

import io

import pytest
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, TooManyRequests

from app import bodies
from app.bodies import PortalRequest

LIMIT = 10_000_000
FORM = "application/x-www-form-urlencoded"
pytestmark = pytest.mark.databases("sqlite")


class Trickle:
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, body: bytes, step: int = 3_000_000) -> None:
        self.rest, self.step = io.BytesIO(body), step

    def read(self, size: int = -1) -> bytes:
        return self.rest.read(min(size, self.step))


@pytest.fixture
def receive(app):
    """`receive(body, …)`: the request as a server that marks the end of bodies hands it over."""

    def make(body, length=None, content_type="text/csv", address="192.0.2.1"):
        environ = {
            "REQUEST_METHOD": "POST", "wsgi.input": Trickle(body), "wsgi.input_terminated": True,
            "CONTENT_TYPE": content_type, "REMOTE_ADDR": address, "SERVER_NAME": "localhost", "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }  # fmt: skip
        return PortalRequest(environ | ({} if length is None else {"CONTENT_LENGTH": str(length)}))

    return make


@pytest.mark.parametrize("known", [True, False])
def test_exactly_the_limit_is_read_and_one_byte_more_is_refused(receive, known):
    assert len(receive(b"x" * LIMIT, LIMIT if known else None).get_data()) == LIMIT
    with pytest.raises(RequestEntityTooLarge):
        receive(b"x" * (LIMIT + 1), LIMIT + 1 if known else None).get_data()


def test_a_body_that_breaks_off_is_none(receive):
    with pytest.raises(ClientDisconnected):
        receive(b"a,b\n", 100).get_data()
    with pytest.raises(ClientDisconnected):
        receive(b"--b\r\n", 100, "multipart/form-data; boundary=b").form  # noqa: B018
    with pytest.raises(ClientDisconnected):
        receive(b"a=1", 100, FORM).form  # noqa: B018


def test_fields_are_bounded_however_they_are_sent(receive):
    assert receive(b"a=1&b=2", content_type=FORM).form.to_dict() == {"a": "1", "b": "2"}
    with pytest.raises(RequestEntityTooLarge):
        receive(b"a=1&" * 600_000, content_type=FORM).form  # noqa: B018


def test_one_address_and_all_together_hold_a_part_of_the_threads(receive, app, monkeypatch):
    threads = app.config["RINGPLAN"].BLOCKING_THREADS
    monkeypatch.setitem(bodies._waiting, "192.0.2.1", threads // bodies.ONE_ADDRESS)
    with pytest.raises(TooManyRequests):
        receive(b"x").get_data()
    assert receive(b"x", address="192.0.2.2").get_data() == b"x"
    monkeypatch.setitem(bodies._waiting, "192.0.2.3", threads // bodies.ALL)
    with pytest.raises(TooManyRequests):
        receive(b"x", address="192.0.2.2").get_data()
    assert "192.0.2.2" not in bodies._waiting


def test_too_many_at_once_are_told_when_to_come_again(client, make, monkeypatch):
    monkeypatch.setitem(bodies._waiting, "127.0.0.1", 1_000)
    headers = {"Authorization": f"Bearer {make.source().key}"}
    answer = client.post(
        "/api/v1/usage", data=b"{}", headers=headers, environ_overrides={"wsgi.input_terminated": True}
    )
    assert (answer.status_code, answer.headers["Retry-After"], answer.json["code"]) == (429, "5", "rate_limited")

"""A sign-in that ends takes its open streams with it, at once."""

import threading
import time

import pytest

from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from tests.server import LiveServer


@pytest.fixture(scope="module")
def office(live_server: LiveServer) -> str:
    with live_server.seeding() as make:
        tenant = make.tenant("Acme")
        make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000}))
        return make.user(tenant, "office@acme.example").email


class Reader(threading.Thread):
    """Reads a stream until it ends; `ended_at` is when."""

    def __init__(self, browser, url):
        super().__init__(daemon=True)
        self.stream = browser.get(f"{url}/portal/meters/stream", stream=True, timeout=30)
        assert self.stream.status_code == 200
        self.parts = self.stream.iter_content(None)
        assert b"data:" in next(self.parts)
        self.ended_at = 0.0

    def run(self):
        for _ in self.parts:
            pass
        self.ended_at = time.monotonic()


def seconds_until_over(readers, act):
    for reader in readers:
        reader.start()
    time.sleep(1)
    assert all(reader.is_alive() for reader in readers)
    began = time.monotonic()
    act()
    for reader in readers:
        reader.join(20)
    assert all(reader.ended_at for reader in readers), "a stream stays open"
    return max(reader.ended_at for reader in readers) - began


def test_end_all_others_closes_their_streams_and_leaves_ones_own(live_server: LiveServer, office):
    here, *others = (live_server.signed_in(office) for _ in range(3))
    own = Reader(here, live_server.url)
    keep = token_of(here, live_server)

    def end_others():
        with live_server.app(), unit_of_work() as session:
            account = accounts.by_email(session, office)
            assert accounts.end_others(session, account.id, keep, actor=office, now=utc_now()) == 2

    assert seconds_until_over([Reader(each, live_server.url) for each in others], end_others) < 4
    assert b"beat" in next(own.parts)
    assert b"beat" in next(own.parts), "one's own stream goes on"
    own.stream.close()


def test_a_closed_account_has_no_stream_any_more(live_server: LiveServer, office):
    reader = Reader(live_server.signed_in(office), live_server.url)

    def close():
        with live_server.app(), unit_of_work() as session:
            account = accounts.by_email(session, office)
            accounts.disable_account(session, account, actor="test", now=utc_now())

    assert seconds_until_over([reader], close) < 4


def token_of(browser, server):
    """What the browser's cookie holds, read with the served portal's own key."""
    with server.app() as app:
        serializer = app.session_interface.get_signing_serializer(app)
        return serializer.loads(browser.cookies["ringplan"])["_user_id"]

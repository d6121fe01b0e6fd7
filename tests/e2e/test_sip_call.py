"""Real calls: sipp calls sipp through Sippy's B2BUA, which asks a served Ringplan about each of them."""

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.core.clock import utc_now
from app.db import db
from app.domain.metering import meters
from app.domain.metering.models import Hold, Refusal, UsageRecord
from app.domain.tenants.models import Tenant
from tests.e2e.sip import sipp
from tests.e2e.sip.sipp import free_udp_port
from tests.server import LiveServer, serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not shutil.which("sipp"), reason="sipp is not installed (Debian: apt install sip-tester)"),
    pytest.mark.skipif(not importlib.util.find_spec("sippy"), reason="Sippy is installed on Linux alone"),
]
B2BUA = Path(sipp.__file__).with_name("b2bua.py")
REPORT_SECONDS = 5
CHUNK = 4  # seconds that a call is granted at once; the B2BUA asks for more when one of them is left
CALLEE = "4420123456"


@dataclass(frozen=True)
class Switch:
    """The B2BUA: where it listens, and where it sends calls."""

    port: int
    next_hop_port: int


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A served portal that grants a few seconds at a time, so that calls of a few seconds meet every rule."""
    with serving(tmp_path_factory.mktemp("served"), CALL_GRANT_SECONDS=str(CHUNK)) as server:
        yield server


@pytest.fixture(scope="module")
def switch(portal: LiveServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """The B2BUA in a process of its own, connected to the portal with a source's key."""
    with portal.seeding() as make:
        key = make.source("b2bua", scopes=("calls", "usage")).key
    switch = Switch(free_udp_port(), free_udp_port())
    arguments = (str(B2BUA), str(switch.port), str(switch.next_hop_port), portal.url, key)
    log = tmp_path_factory.mktemp("b2bua") / "log"
    with log.open("w") as errors:
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True)
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n", log.read_text()
            yield switch
        finally:
            process.kill()  # a call that got stuck would keep it from ending in its own time


@pytest.fixture
def customer(portal: LiveServer) -> Callable[..., Tenant]:
    """`customer(name, seconds)`: a tenant with a domain and so much voice included, which blocks."""

    def make_one(name: str, seconds: int) -> Tenant:
        with portal.seeding() as make:
            tenant = make.tenant(name, domain=f"{name.lower()}.example")
            make.subscribe(tenant, make.package(name.lower(), {"voice_minutes": seconds, "concurrent_calls": 2}))
            return tenant

    return make_one


@pytest.fixture
def call(switch: Switch, tmp_path: Path) -> Callable[..., None]:
    """`call(tenant, the caller's steps, the callee's)`: returns when both sides are through with it."""

    def through(tenant: Tenant, caller: tuple[str, ...], callee: tuple[str, ...]) -> None:
        with sipp.playing(tmp_path, "callee", callee, switch.next_hop_port):
            sipp.call(tmp_path, switch.port, caller, str(tenant.domain), CALLEE)

    return through


@dataclass
class Account:
    """What the portal holds of one tenant."""

    used: int
    on_hold: int
    calls_in_progress: int
    records: list[UsageRecord]
    holds: list[str]  # how each ended; empty: it is open
    refusals: list[Refusal]


@pytest.fixture
def account(portal: LiveServer) -> Callable[[Tenant], Account]:
    """`account(tenant)`, once the B2BUA has reported the call that the two ends are through with."""

    def read(tenant: Tenant) -> Account:
        deadline = time.monotonic() + REPORT_SECONDS
        with portal.app():
            while "" in (found := _account(tenant)).holds and time.monotonic() < deadline:
                db.session.rollback()
                time.sleep(0.02)
            return found

    return read


def _account(tenant: Tenant) -> Account:
    def rows(kind: Any) -> list[Any]:
        return list(db.session.scalars(select(kind).where(kind.tenant_id == tenant.id)))

    view = {meter.resource_code: meter for meter in meters.current(db.session(), tenant, now=utc_now()).meters}
    voice, calls = view["voice_minutes"], view["concurrent_calls"]
    ends = [hold.ended_as for hold in rows(Hold)]
    return Account(voice.used, voice.on_hold, calls.used, rows(UsageRecord), ends, rows(Refusal))


def test_an_authorised_call_is_metered_to_the_second(customer, call, account):
    acme = customer("Acme", 600)
    call(acme, sipp.caller_talks(2), sipp.CALLEE_ANSWERS)
    found = account(acme)
    assert (found.used, found.on_hold, found.calls_in_progress) == (2, 0, 0)
    [record] = found.records
    assert (record.caller, record.callee, record.direction) == ("101", CALLEE, "outbound")
    assert found.holds == ["settled"] and found.refusals == []


def test_a_call_without_quota_is_refused(customer, switch, account, tmp_path):
    globex = customer("Globex", 0)
    sipp.call(tmp_path, switch.port, sipp.CALLER_IS_REFUSED, str(globex.domain), CALLEE)  # nobody is there to answer
    found = account(globex)
    assert (found.used, found.records, found.holds) == (0, [], [])
    [refusal] = found.refusals
    assert (refusal.reason, refusal.caller, refusal.callee) == ("quota_exhausted", "101", CALLEE)


def test_a_call_is_cut_where_its_grant_ends(customer, call, account):
    initech = customer("Initech", 2)  # less than a chunk
    call(initech, sipp.CALLER_STAYS, sipp.CALLEE_ANSWERS)
    found = account(initech)
    assert (found.used, found.on_hold, [record.beyond for record in found.records]) == (2, 0, [0])
    assert found.holds == ["settled"]
    assert [refusal.reason for refusal in found.refusals] == ["quota_exhausted"]  # of its renewal


def test_a_call_is_renewed_up_to_the_last_second_of_its_quota(customer, call, account):
    umbrella = customer("Umbrella", CHUNK + 2)
    call(umbrella, sipp.CALLER_STAYS, sipp.CALLEE_ANSWERS)
    found = account(umbrella)
    assert (found.used, found.on_hold, [record.beyond for record in found.records]) == (CHUNK + 2, 0, [0])
    assert found.holds == ["settled"]


def test_a_call_given_up_while_it_rings_holds_nothing(customer, call, account):
    hooli = customer("Hooli", 600)
    call(hooli, sipp.CALLER_GIVES_UP, sipp.CALLEE_RINGS)
    found = account(hooli)
    assert (found.used, found.on_hold, found.calls_in_progress, found.records) == (0, 0, 0, [])
    assert found.holds == ["released"]

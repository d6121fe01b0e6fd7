"""`flask backup` and `flask restore`, on the file that a server writes to meanwhile; and PostgreSQL's own way."""

import os
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app import intake
from app.config import Settings
from app.core.usage import UsageEvent
from app.db import db, unit_of_work
from app.domain.insight.verify import CODES
from app.domain.metering.models import Meter, UsageRecord
from app.domain.metering.reports import Report
from tests.conftest import NOW, postgres_database
from tests.postgres import program

AGREES = f"{len(CODES)} checks: everything agrees"
sqlite_alone = pytest.mark.databases("sqlite")


@pytest.fixture
def source(make):
    acme, source = make.tenant("Acme"), make.source("pbx1")
    make.subscribe(acme, make.package("gold", {"voice_minutes": 1_000_000}))
    make.usage(acme, 60, source=source, external_id="first")
    return source


@pytest.fixture
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("backups") / "ringplan.tar.gz"


def _run(app, *arguments):
    return app.test_cli_runner().invoke(args=[str(each) for each in arguments])


def _elsewhere(folder: Path, *arguments, **environment) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, on the instance in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", *map(str, arguments)],
        env={**os.environ, "RINGPLAN_INSTANCE": str(folder), "SECRET_KEY": "of a test", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _stop(app) -> None:
    db.session.remove()
    for engine in db.engines.values():
        engine.dispose()


def _records(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT external_id FROM usage_record")}


@sqlite_alone
def test_what_was_accepted_before_a_backup_is_in_it_though_the_writers_go_on(app, source, file, tmp_path):
    accepted, over = [], threading.Event()

    def write(writer: int) -> None:
        with app.app_context():
            for number in count():
                if over.is_set():
                    return
                event = UsageEvent(f"{writer}-{number}", "acme", "voice_minutes", 1, NOW)
                results = intake.store(source.id, [Report(event, "{}")])
                assert results[0].status == "recorded"
                accepted.append(event.external_id)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    while len(accepted) < 30:
        pass
    before = {"first", *accepted}
    done = _run(app, "backup", file)
    over.set()
    for writer in writers:
        writer.join()
    assert (done.exit_code, AGREES in done.output) == (0, True), done.output
    assert file.stat().st_mode & 0o777 == 0o600

    other = tmp_path / "other"
    restored = _elsewhere(other, "restore", file)
    assert (restored.returncode, AGREES in restored.stdout) == (0, True), restored.stderr
    assert before <= _records(other / "ringplan.sqlite")
    assert _elsewhere(other, "verify").returncode == 0


@sqlite_alone
def test_restore_goes_back_and_keeps_what_was_in_place(app, source, file, tmp_path, make):
    (tmp_path / "secret_key").write_text("the key of then")
    assert _run(app, "backup", file).exit_code == 0
    intake.store(source.id, [Report(UsageEvent("later", "acme", "voice_minutes", 1, NOW), "{}")])
    (tmp_path / "secret_key").write_text("another key")
    _stop(app)
    done = _run(app, "restore", file)
    assert done.exit_code == 0, done.output
    assert _records(tmp_path / "ringplan.sqlite") == {"first"}
    assert (tmp_path / "secret_key").read_text() == "the key of then"
    (aside,) = tmp_path.glob("ringplan.sqlite.before-*")
    assert _records(aside) == {"first", "later"} and str(aside) in done.output
    assert (tmp_path / "secret_key.before").read_text() == "another key"


@sqlite_alone
def test_restore_refuses_while_somebody_has_the_database_open(app, source, file, tmp_path):
    assert _run(app, "backup", file).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "ringplan.sqlite")) as other:
        other.execute("SELECT * FROM tenant").fetchall()
        done = _run(app, "restore", file)
    assert (done.exit_code, "in use" in done.output) == (1, True)
    assert _records(tmp_path / "ringplan.sqlite") == {"first"}
    assert sorted(path.name for path in tmp_path.glob("ringplan.sqlite.before*")) == []


@sqlite_alone
def test_a_backup_tells_of_what_differs_and_is_written(app, source, file):
    with unit_of_work() as act:
        act.query(Meter).update({Meter.used: Meter.used - 10})
    done = _run(app, "backup", file)
    assert (done.exit_code, "expected 60, found 50" in done.output) == (1, True)
    with tarfile.open(file) as archive:
        assert archive.getnames()[:2] == ["about.json", "ringplan.sqlite"]


@sqlite_alone
def test_a_backup_overwrites_nothing_unasked(app, source, file):
    file.write_text("precious")
    assert "exists" in _run(app, "backup", file).output
    assert file.read_text() == "precious"
    assert _run(app, "backup", file, "--replace").exit_code == 0
    assert "cannot write" in _run(app, "backup", file.parent / "nowhere" / "file").output


@sqlite_alone
@pytest.mark.parametrize(
    "kind", ["half", "text", "empty", "other archive", "damaged database", "newer schema", "no moment", "no object"]
)
def test_what_is_no_backup_changes_nothing(app, source, file, tmp_path, kind):
    assert _run(app, "backup", file).exit_code == 0
    _spoil(file, kind, tmp_path / "spoilt")
    _stop(app)
    done = _run(app, "restore", file)
    assert done.exit_code == 1 and done.output.startswith("Error: "), done.output
    assert "Traceback" not in done.output
    assert _records(tmp_path / "ringplan.sqlite") == {"first"}
    assert not list(tmp_path.glob("ringplan.sqlite.before*"))


def _spoil(file: Path, kind: str, folder: Path) -> None:
    folder.mkdir()
    if kind in ("half", "text", "empty"):
        whole = file.read_bytes()
        file.write_bytes({"half": whole[: len(whole) // 2], "text": b"not an archive", "empty": b""}[kind])
        return
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    database = folder / "ringplan.sqlite"
    if kind == "damaged database":
        content = bytearray(database.read_bytes())
        content[8192:40960] = bytes(32768)
        database.write_bytes(content)
    elif kind == "newer schema":
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
    elif kind in ("no moment", "no object"):
        (folder / "about.json").write_text({"no moment": '{"schema": "0039"}', "no object": "[]"}[kind])
    names = ["about.json"] if kind == "other archive" else ["about.json", "ringplan.sqlite"]
    with tarfile.open(file, "w:gz") as archive:
        for name in names:
            archive.add(folder / name, arcname=name)


@sqlite_alone
def test_an_older_backup_is_brought_to_this_schema(app, source, file, tmp_path):
    older = tmp_path / "older"
    older.mkdir()
    environment = {"DATABASE_URL": ""}
    assert _elsewhere(older, "db", "upgrade", "0033", **environment).returncode == 0
    made = _elsewhere(older, "backup", file)
    assert made.returncode == 0 and "not recounted" in made.stdout, made.stderr
    done = _elsewhere(older, "restore", file)
    assert done.returncode == 0 and AGREES in done.stdout, done.stderr


@pytest.mark.databases("postgresql")
def test_postgresql_has_its_own_way(app, source, file, settings: Settings, postgres_server, tmp_path):
    assert "pg_dump" in _run(app, "backup", file).output
    dump = tmp_path / "ringplan.dump"
    dumping = [program("pg_dump"), "--enable-row-security", "-Fc", "-N", "seed", "-f", dump]
    every_tenant = {"PGOPTIONS": "-c ringplan.every_tenant=on"}
    subprocess.run([*dumping, settings.DATABASE_OWNER_URL], env=os.environ | every_tenant, check=True)
    with postgres_database(postgres_server, "restored") as url:
        subprocess.run([program("pg_restore"), "--no-owner", "--exit-on-error", "-d", url, dump], check=True)
        done = _elsewhere(tmp_path, "verify", DATABASE_URL=url)
    assert (done.returncode, AGREES in done.stdout) == (0, True), done.stderr
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == 1

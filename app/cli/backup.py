"""`flask backup` and `flask restore`: the embedded database and what stands beside it, as one file."""

import gzip
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import flask_migrate
from alembic.script import ScriptDirectory
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.cli.verify import echo_differences
from app.config import Settings, database_url
from app.core.clock import utc_now
from app.db import db

DATABASE, SECRET_KEY, CONFIG, ABOUT = "ringplan.sqlite", "secret_key", "config.py", "about.json"
MEMBERS = (ABOUT, DATABASE, SECRET_KEY, CONFIG)


@click.command("backup")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", "may_replace", is_flag=True, help="Overwrite FILE.")
@with_appcontext
def backup(file: Path, may_replace: bool) -> None:
    """Write the embedded database, its secret key and config.py to FILE, while the server runs.

    The copy is one moment of the database. It is recounted as `flask verify` does; exits 1 when something differs.
    """
    settings: Settings = current_app.config["RINGPLAN"]
    path = _database_path(settings)
    if file.exists() and not may_replace:
        raise click.ClickException(f"{file} exists; --replace overwrites it")
    if not path.exists():
        raise click.ClickException(f"there is no database at {path}")
    try:
        with _folder_beside(file) as folder:
            now = utc_now()
            _copy(path, folder / DATABASE)
            revision = _check(folder / DATABASE)
            (folder / ABOUT).write_text(json.dumps({"made_at": now.isoformat(), "schema": revision}))
            for name in (SECRET_KEY, CONFIG):
                if (path.parent / name).exists():
                    shutil.copy(path.parent / name, folder / name)
            count = _recount(folder / DATABASE, revision)
            _pack(folder, folder / "packed")
            (folder / "packed").replace(file)
            _sync(file.parent)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror}") from None
    click.echo(f"{file}: {file.stat().st_size:,} bytes, schema {revision}, as of {now.isoformat(timespec='seconds')}")
    if count:
        raise SystemExit(1)


@click.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_appcontext
def restore(file: Path) -> None:
    """Put the database of FILE in place, brought to this version's schema. The server and the worker must be stopped.

    What was in place is kept beside it. Ends with the recount of `flask verify`; exits 1 when something differs.
    """
    settings: Settings = current_app.config["RINGPLAN"]
    path = _database_path(settings)
    db.session.remove()
    for engine in db.engines.values():
        engine.dispose()
    with _folder_beside(path) as folder:
        made_at = _unpack(file, folder)
        _refuse_newer(_check(folder / DATABASE))
        kept = [_set_aside(path, utc_now())] if path.exists() else []
        (folder / DATABASE).replace(path)
        for name in (SECRET_KEY, CONFIG):
            kept += _put_beside(folder / name, path.parent / name)
        _sync(path.parent)
    click.echo(f"{path}: as of {made_at}")
    for each in kept:
        click.echo(f"what was there before: {each}")
    flask_migrate.upgrade()
    if _recount(path, _check(path)):
        raise SystemExit(1)


def _database_path(settings: Settings) -> Path:
    url = database_url(settings)
    if not url.startswith("sqlite:///"):
        raise click.ClickException("the database is PostgreSQL: use pg_dump and pg_restore, see docs/operations.md")
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def _folder_beside(file: Path) -> Iterator[Path]:
    """A folder of its owner alone, on the file system of `file`, so that what is made in it moves at once."""
    with TemporaryDirectory(prefix=".ringplan-", dir=file.absolute().parent) as name:
        yield Path(name)


def _copy(path: Path, copy: Path) -> None:
    """One moment of the database: SQLite's online backup in a single step, beside which others read and write on."""
    copy.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")  # one file: nothing is left in a log beside it


def _check(copy: Path) -> str:
    """The schema's revision. Raises ClickException for what is no sound database of Ringplan."""
    try:
        with closing(sqlite3.connect(copy)) as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)") if row[0] != "ok"]
            if problems:
                raise click.ClickException(f"the database is damaged: {'; '.join(problems)}")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise click.ClickException(f"this is no database of Ringplan: {error}") from None
    if row is None:
        raise click.ClickException("this is no database of Ringplan: it has no schema")
    return str(row[0])


def _pack(folder: Path, packed: Path) -> None:
    """The members as a compressed archive that its owner alone may read, safe on the disk."""
    packed.touch(mode=0o600)
    with packed.open("wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz", compresslevel=1) as archive:
            for name in MEMBERS:
                if (folder / name).exists():
                    archive.add(folder / name, arcname=name)
        raw.flush()
        os.fsync(raw.fileno())


def _unpack(file: Path, folder: Path) -> str:
    """Members that are known, as plain files; returns of when the backup is. Raises ClickException."""
    try:
        with tarfile.open(file, mode="r|gz") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() and member.name in MEMBERS else None
                if content is not None:
                    with (folder / member.name).open("wb") as target:
                        (folder / member.name).chmod(0o600)
                        shutil.copyfileobj(content, target)
                        target.flush()
                        os.fsync(target.fileno())
        made_at = str(json.loads((folder / ABOUT).read_text())["made_at"])
        if not (folder / DATABASE).exists():
            raise click.ClickException(f"{file} holds no database")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, ValueError, FileNotFoundError, LookupError, TypeError):
        raise click.ClickException(f"{file} is no whole backup of Ringplan") from None
    return made_at


def _recount(path: Path, revision: str) -> int:
    """How many differences the rows have; they are printed. An older schema lacks what is asked, so it has none."""
    if revision != _revisions().get_current_head():
        click.echo(f"not recounted: schema {revision} is older than this version's")
        return 0
    engine = create_engine(f"sqlite:///{path.absolute()}")
    try:
        with Session(engine) as session:
            return echo_differences(session, now=utc_now())
    finally:
        engine.dispose()


def _revisions() -> ScriptDirectory:
    return ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config())


def _refuse_newer(revision: str) -> None:
    if revision not in {script.revision for script in _revisions().walk_revisions()}:
        raise click.ClickException(f"the backup is of a newer version of Ringplan (schema {revision})")


def _set_aside(path: Path, now: datetime) -> Path:
    """Move the database that is in place out of the way. Raises ClickException while anybody has it open."""
    with closing(sqlite3.connect(path, timeout=1)) as connection:
        try:
            # Granted to the last connection alone; what is in the log beside the file moves into it.
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            raise click.ClickException("the database is in use: stop the server and the worker first") from None
    aside = path.with_name(f"{path.name}.before-{now:%Y%m%dT%H%M%S}")
    path.replace(aside)
    return aside


def _put_beside(source: Path, target: Path) -> list[Path]:
    """Place `source`, if there is one and it differs; returns where what was there before is kept, if it was."""
    if not source.exists() or (target.exists() and target.read_bytes() == source.read_bytes()):
        return []
    aside = [target.replace(target.with_name(f"{target.name}.before"))] if target.exists() else []
    source.replace(target)
    return aside


def _sync(folder: Path) -> None:
    """Have the file system keep what was renamed in it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

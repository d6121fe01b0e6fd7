"""`flask import`: call records out of files, through the same door as the API's."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from sqlalchemy import select

from app.cli.kit import Commands
from app.core.errors import Invalid
from app.db import db
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Source
from app.domain.metering.reports import Result
from app.intake import CdrCount, count_asterisk, count_freeswitch

_FREESWITCH_NAME = re.compile(r"(a_)?[0-9A-Za-z-]+\.cdr\.(json|xml)")

group = Commands("import", help="Call records out of files.")


@group.command("freeswitch")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--source", "code", default="", help="Code of the source; may be left out where there is only one.")
@click.option("--delete", is_flag=True, help="Remove each file once it is stored; what is ignored stays.")
def import_freeswitch(paths: tuple[Path, ...], code: str, delete: bool) -> None:
    """Take what FreeSWITCH left in its error folder (files, or folders of them) while the portal was down."""
    source = _source(code)
    source_id, settings = source.id, accounts.settings_of(source)
    count = CdrCount()
    for path in _cdr_files(paths):
        count.tell = partial(_tell, path)
        content_type = "text/xml" if path.suffix == ".xml" else "application/json"
        with _opened(path):
            body = path.read_bytes()
        stored = count_freeswitch(count, source_id, settings, body, content_type, path.name.split(".")[0])
        if delete and stored:
            with _opened(path):
                path.unlink()  # committed: what cannot be read is in quarantine, whole
    _report(count)


@group.command("asterisk")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", "code", default="", help="Code of the source; may be left out where there is only one.")
def import_asterisk(files: tuple[Path, ...], code: str) -> None:
    """Take the rows of Master.csv files; importing a growing file again adds only what is new."""
    source = _source(code)
    source_id, settings = source.id, accounts.settings_of(source)
    count = CdrCount()
    for path in files:
        count.tell = partial(_tell, path)
        with _opened(path), path.open(encoding="utf-8", errors="replace", newline="") as lines:
            count_asterisk(count, source_id, settings, lines)
    _report(count)


@contextmanager
def _opened(path: Path) -> Iterator[None]:
    """Names the file that cannot be read or removed; what came before it is committed and found again next time."""
    try:
        yield
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None


def _tell(path: Path, line_number: int, result: Result) -> None:
    place = f"{path}:{line_number}" if line_number else str(path)
    click.echo(f"{place}: {result.code}: {result.detail.removeprefix(f'line {line_number}: ')}", err=True)


def _source(code: str) -> Source:
    """The named source, or the only one. Raises Invalid or NotFound."""
    if code:
        return accounts.source_by_code(db.session(), code)
    codes = list(db.session.scalars(select(Source.code).order_by(Source.code)))
    if len(codes) != 1:
        raise Invalid("which_source", f"Name one with --source: {', '.join(codes) or 'there is none yet'}.")
    return accounts.source_by_code(db.session(), codes[0])


def _cdr_files(paths: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [file for file in inside if file == path or _FREESWITCH_NAME.fullmatch(file.name)]
    return found


def _report(count: CdrCount) -> None:
    found = count.found
    click.echo(
        f"recorded {found['recorded']}, duplicates {found['duplicate']}, "
        f"ignored {found['ignored']}, quarantined {found['quarantined']}"
    )
    for reason, times in sorted(count.reasons.items()):
        click.echo(f"  {reason}: {times}")

"""flask import: files into usage, each once, and nothing lost on the way."""

import json
from datetime import timedelta
from urllib.parse import unquote

import pytest
from sqlalchemy import select

from app.core.usage import Ignored, SourceSettings
from app.db import db
from app.domain.catalog.specs import LimitSpec
from app.domain.metering.models import Quarantined, UsageRecord
from app.pbx.freeswitch import parse_cdr
from tests.api.conftest import CAPTURED, freeswitch_posts

MASTER = CAPTURED / "asterisk22_master_real.csv"


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", domain="acme.example", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", [LimitSpec("voice_minutes", 60_000)]), now - timedelta(days=21))
    return tenant


@pytest.fixture
def run(app, acme):
    """`run("freeswitch", …)`: the command's result, of a portal with one source unless a test adds more."""

    def invoke(*words):
        return app.test_cli_runner().invoke(args=["import", *map(str, words)])

    return invoke


@pytest.fixture
def spool(tmp_path):
    """FreeSWITCH's error folder: every leg as JSON or XML, under the names that it gives, and a stranger."""
    folder = tmp_path / "errors"
    folder.mkdir()
    for path, headers, body in freeswitch_posts():
        uuid = path.partition("uuid=")[2]
        kind = "json" if "json" in headers["User-Agent"] else "xml"
        (folder / f"{uuid}.cdr.{kind}").write_text(body)
    (folder / "README").write_text("keep me")
    return folder


def quantities():
    return sorted(db.session.scalars(select(UsageRecord.quantity)))


def is_ignored(path):
    return isinstance(parse_cdr(path.read_bytes(), "", path.name.split(".")[0], SourceSettings()), Ignored)


def test_the_error_folder_is_counted_once_and_left_as_it_is(run, make, spool):
    make.source("pbx1")
    before = sorted(spool.iterdir())
    first = run("freeswitch", spool)
    assert first.exit_code == 0, first.output
    assert quantities() == [3, 4]
    assert first.output.startswith("recorded 2, ")
    assert "detail_leg" in first.output
    assert run("freeswitch", spool).output.startswith("recorded 0, ")
    assert quantities() == [3, 4]
    assert sorted(spool.iterdir()) == before


def test_delete_removes_what_is_stored_and_nothing_else(run, make, spool):
    make.source("pbx1")
    ignored = {path for path in spool.iterdir() if path.name == "README" or is_ignored(path)}
    (spool / "0badc0de.cdr.json").write_text("{")
    assert 1 < len(ignored) < len(list(spool.iterdir())) - 2
    assert run("freeswitch", spool, "--delete").exit_code == 0
    assert set(spool.iterdir()) == ignored
    assert spool / "README" in ignored
    assert db.session.scalars(select(Quarantined.body)).one() == "{"


def test_a_file_that_cannot_be_read_as_a_cdr_is_named(run, make, tmp_path):
    make.source("pbx1")
    file = tmp_path / "a_0badc0de.cdr.json"
    file.write_text("{")
    result = run("freeswitch", file)
    assert result.exit_code == 0
    assert f"{file}: unreadable_body: " in result.output
    assert "quarantined 1" in result.output


@pytest.mark.databases("sqlite")
def test_the_source_must_be_clear(run, make, spool):
    assert "there is none yet" in run("freeswitch", spool).output
    make.source("pbx1")
    make.source("pbx2")
    result = run("freeswitch", spool)
    assert (result.exit_code, result.output) == (1, "Error: Name one with --source: pbx1, pbx2.\n")
    assert run("freeswitch", spool, "--source", "pbx3").exit_code == 1
    assert run("freeswitch", spool, "--source", "pbx2").exit_code == 0
    assert quantities() == [3, 4]


def test_a_growing_file_adds_only_what_is_new(run, make, tmp_path):
    make.source("pbx1")
    lines = MASTER.read_text().splitlines(keepends=True)
    file = tmp_path / "Master.csv"
    file.write_text(lines[0])
    assert run("asterisk", file).output == "recorded 1, duplicates 0, ignored 0, quarantined 0\n"
    file.write_text("".join(lines))
    assert run("asterisk", file).output == "recorded 1, duplicates 1, ignored 1, quarantined 0\n  unanswered: 1\n"
    assert quantities() == [3, 4]


def test_rows_that_are_set_aside_are_named_by_their_line(run, make, tmp_path):
    make.source("pbx1")
    lines = MASTER.read_text().splitlines()
    file = tmp_path / "Master.csv"
    file.write_text("\n".join([lines[0], "only,three,columns", lines[2].replace('"acme"', '"nobody"')]) + "\n")
    result = run("asterisk", file, "--source", "pbx1")
    assert f"{file}:2: unreadable_row: 3 columns" in result.output
    assert f"{file}:3: unknown_tenant: " in result.output
    assert "recorded 1, duplicates 0, ignored 0, quarantined 2\n" in result.output


@pytest.mark.databases("sqlite")
def test_a_long_file_goes_in_by_the_thousand(run, make, tmp_path, count_statements):
    make.source("pbx1")
    row = MASTER.read_text().splitlines()[0]
    sequence = row.rpartition(",")[2]
    file = tmp_path / "Master.csv"
    file.write_text("".join(f"{row.removesuffix(sequence)}{number}\n" for number in range(10_000, 12_500)))
    with count_statements() as seen:
        assert "recorded 2500" in run("asterisk", file).output
    assert len(seen) < 40
    assert len(quantities()) == 2_500


@pytest.mark.databases("sqlite")
def test_a_file_that_is_not_there_is_one_line(run, make, tmp_path):
    make.source("pbx1")
    result = run("asterisk", tmp_path / "none.csv")
    assert result.exit_code == 2
    assert "does not exist" in result.output


@pytest.mark.databases("sqlite")
def test_a_cdr_of_a_switch_that_escapes_nothing_is_the_same_call(run, make, spool, tmp_path):
    make.source("pbx1")
    run("freeswitch", spool)
    plain = tmp_path / "plain"
    plain.mkdir()
    for file in spool.glob("*.json"):
        leg = json.loads(file.read_text())
        leg["variables"] = {name: unquote(value) for name, value in leg["variables"].items()}
        (plain / file.name).write_text(json.dumps(leg))
    assert run("freeswitch", plain).output.startswith("recorded 0, duplicates 2, ")

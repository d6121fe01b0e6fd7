"""Whichever command comes first: a fresh installation needs no start of the server before it."""

from pathlib import Path

import pytest
from click.testing import Result

from app import create_app
from app.config import Settings
from app.db import db
from tests.conftest import DATABASES

PASSWORD = "correct horse battery\n"

fresh = pytest.mark.parametrize("empty_database_url", DATABASES, indirect=True)


@pytest.fixture
def run(empty_database_url: str, tmp_path: Path):
    """`run(*words)`: a flask command on a database without tables."""
    app = create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=empty_database_url))

    def invoke(*words: str) -> Result:
        return app.test_cli_runner().invoke(args=list(words), input=PASSWORD)

    yield invoke
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


@fresh
def test_the_first_account_and_the_first_source_are_made_before_any_start(run):
    made = run("accounts", "create-staff", "you@example.com")
    assert (made.exit_code, made.output) == (0, "you@example.com may sign in as staff (owner).\n")
    key = run("sources", "create", "pbx1")
    assert key.exit_code == 0 and key.stdout.startswith("rp_") and key.stdout.count("\n") == 1


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("verify",), 0, "everything agrees"),
        (("import", "asterisk", __file__), 1, "Error: Name one with --source: there is none yet."),
        (("accounts", "create-user", "a@acme.example", "--tenant", "acme"), 1, "Error: No tenant is known as “acme”."),
    ],
)
def test_a_first_command_says_what_it_finds_in_one_line(run, words, code, says):
    done = run(*words)
    assert (done.exit_code, done.output.count("\n")) == (code, 1) and says in done.output


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_a_database_with_a_source_alone_is_not_empty_so_no_demo_meets_its_code(run):
    run("sources", "create", "pbx1")
    refused = run("demo", "load")
    assert (refused.exit_code, refused.output) == (1, "Error: The demo goes into an empty database only.\n")

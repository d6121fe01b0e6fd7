"""docs/operations.md names what there is: settings, metrics, commands."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.config import Settings
from app.db import unit_of_work
from app.domain.audit import service as audit
from tests.conftest import NOW

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
pytestmark = pytest.mark.databases("sqlite")


def test_its_settings_are_settings():
    named = set(re.findall(r"^([A-Z_]+)=", TEXT, re.MULTILINE)) | set(re.findall(r"`([A-Z]+_[A-Z_]+)[`=]", TEXT))
    assert len(named) > 8
    assert named <= {field.name for field in fields(Settings)}


def test_its_metrics_are_metrics(app):
    with unit_of_work() as act:
        audit.keep_verification(act, [], now=NOW)
    exposed = app.test_client().get("/metrics").text
    known = set(re.findall(r"^# TYPE (ringplan_\w+)", exposed, re.MULTILINE))
    named = set(re.findall(r"\b(ringplan_[a-z_]+)", TEXT)) - {"ringplan_restored"}
    assert {re.sub("_(count|bucket)$", "", name) for name in named} == known


def test_its_commands_are_commands(app):
    named = set(re.findall(r"flask --app app (\w+)", TEXT))
    assert {"serve", "verify", "backup", "restore"} <= named <= set(app.cli.list_commands(None))

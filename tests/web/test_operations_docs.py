"""docs/operations.md names what there is: settings, metrics, commands."""

import re
import shutil
import subprocess
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
    to_watch = TEXT.partition("## What to watch")[2].partition("\n## ")[0]
    named = set(re.findall(r"\b(ringplan_[a-z_]+)", to_watch))
    assert {re.sub("_(count|bucket)$", "", name) for name in named} == known


def test_its_commands_are_commands(app):
    named = set(re.findall(r"flask --app app (\w+)", TEXT))
    assert {"serve", "verify", "backup", "restore"} <= named <= set(app.cli.list_commands(None))


def _block(title: str) -> str:
    """The first block of code after the words `title`."""
    return re.search(r"```\w*\n(.*?)```", TEXT.partition(title)[2], re.DOTALL)[1]


def _run(program: str, *arguments: str, **kept: str) -> None:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"no {program} on this machine")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, env=kept)
    assert done.returncode == 0, done.stderr


def test_nginx_takes_the_configuration(tmp_path):
    server = re.sub(r"ssl_certificate.*;", "", _block("\nnginx:")).replace("443 ssl", "127.0.0.1:8443")
    for folder in ("client", "proxy"):
        server = f"{folder}_{'body_' * (folder == 'client')}temp_path {tmp_path / folder};\n{server}"
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path / 'pid'};\nevents {{}}\nhttp {{\n{server}}}\n")
    _run("nginx", "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf"))


def test_caddy_takes_the_configuration(tmp_path):
    (tmp_path / "Caddyfile").write_text(_block("Caddy, which"))
    _run("caddy", "adapt", "--config", str(tmp_path / "Caddyfile"), HOME=str(tmp_path))


def test_systemd_takes_the_unit(tmp_path):
    unit = _block("Description=Ringplan jobs").replace("/opt/ringplan/.venv/bin/flask", "/bin/true")
    (tmp_path / "ringplan.service").write_text(unit)
    _run("systemd-analyze", "verify", "--man=no", str(tmp_path / "ringplan.service"))

"""The wheel holds what the portal needs and runs from anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def test_templates_static_files_and_migrations_are_in_the_wheel(wheel: Path):
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("templates", "app/templates"), ("static", "app/static"), ("app", "app")):
        files = [path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*") if path.is_file()]
        wanted = {f"{inside}/{file.as_posix()}" for file in files if "__pycache__" not in file.parts}
        assert wanted
        assert wanted <= packed, wanted - packed


def test_the_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path):
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    program = (
        "import app, flask_migrate; portal = app.create_app()\n"
        "with portal.app_context(): flask_migrate.upgrade()\n"
        "client = portal.test_client()\n"
        "print(app.__file__, client.get('/login').status_code, client.get('/static/app.css').status_code)"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed), "RINGPLAN_INSTANCE": str(tmp_path / "instance")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(installed / "app" / "__init__.py"), "200", "200"], done.stderr

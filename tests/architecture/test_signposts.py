"""What docstrings and the README's map point to is there, and what is there is on the map."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
POINTER = re.compile(r'((?:app/[a-z_/]+/)?)README\.md, "([^"\n]+)"(?: and "([^"\n]+)")?')
POINTERS = [
    (path, *found) for path in sorted(APP.rglob("*.py")) for found in POINTER.findall(path.read_text(encoding="utf-8"))
]
MAP = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Map")[2].partition("\n## ")[0]
PACKAGES = sorted(path.parent.name for path in APP.glob("domain/*/__init__.py"))


@pytest.mark.parametrize(("path", "folder", "first", "second"), POINTERS)
def test_a_docstring_names_sections_that_its_readme_has(path, folder, first, second):
    readme = (ROOT / folder if folder else path.parent) / "README.md"
    heads = re.findall(r"^#+ (.+)$", readme.read_text(encoding="utf-8"), re.MULTILINE)
    assert {first, second} - {""} <= set(heads)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_domain_package_has_a_readme_and_is_on_the_map(package):
    assert (APP / "domain" / package / "README.md").exists()
    assert f" {package}/" in MAP


@pytest.mark.parametrize("package", PACKAGES)
def test_a_domain_package_of_several_files_tells_what_each_does(package):
    folder = APP / "domain" / package
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "models.py", "service.py"}
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert {name for name in files if f"`{name}`" not in readme} == set()


@pytest.mark.parametrize("module", sorted(path.name for path in APP.glob("*.py")))
def test_each_module_of_the_app_is_on_the_map(module):
    assert module in MAP


def test_there_are_signposts():
    assert len(POINTERS) > 20 and len(PACKAGES) > 10

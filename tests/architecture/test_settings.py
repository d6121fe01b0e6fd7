"""Every setting is documented."""

import re
from dataclasses import fields
from pathlib import Path

from app.config import BETWEEN, Settings

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_every_setting_and_no_other():
    documented = re.findall(r"^\| `([A-Z_]+)` \|", README.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(field.name for field in fields(Settings))


def test_each_number_has_its_bounds_and_its_default_lies_within():
    numbers = {field.name: field.default for field in fields(Settings) if field.type in (int, float)}
    assert set(BETWEEN) == set(numbers)
    for name, (least, most) in BETWEEN.items():
        assert least <= numbers[name] <= most, name

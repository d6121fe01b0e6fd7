"""Every setting is documented."""

import re
from dataclasses import fields
from pathlib import Path

from app.config import Settings

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_lists_every_setting_and_no_other():
    documented = re.findall(r"^\| `([A-Z_]+)` \|", README.read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(field.name for field in fields(Settings))

"""What the content security policy forbids must not be written, and nothing escapes the escaping."""

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[2] / "templates"
FILES = sorted(TEMPLATES.rglob("*.html"))
JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)

FORBIDDEN = {
    "unescaped output": re.compile(r"\|\s*safe\b|autoescape\s+false", re.IGNORECASE),
    "inline style": re.compile(r"\bstyle\s*=|<style\b", re.IGNORECASE),
}
FORBIDDEN_IN_HTML = {
    "inline script": re.compile(r"<script\b(?![^>]*\bsrc\s*=)", re.IGNORECASE),
    "event attribute": re.compile(r"\s(?:hx-)?on[\w:-]*\s*=", re.IGNORECASE),
    "script address": re.compile(r"javascript:", re.IGNORECASE),
}


def violations(text: str) -> list[str]:
    html = JINJA.sub("-", text)
    return [name for name, pattern in FORBIDDEN.items() if pattern.search(text)] + [
        name for name, pattern in FORBIDDEN_IN_HTML.items() if pattern.search(html)
    ]


def test_there_are_templates_to_look_at():
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(TEMPLATES)))
def test_a_template_keeps_to_the_policy(file: Path):
    assert violations(file.read_text()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ name | safe }}", ["unescaped output"]),
        ('<p style="color: red">', ["inline style"]),
        ("<script>run()</script>", ["inline script"]),
        ('<script src="{{ url }}" defer></script>', []),
        ('<b onclick="run()">', ["event attribute"]),
        ('<b hx-on:click="run()">', ["event attribute"]),
        ('{{ field(form.name, only="a") }}', []),
    ],
)
def test_the_check_itself_sees_what_it_should(text: str, found: list[str]):
    assert violations(text) == found

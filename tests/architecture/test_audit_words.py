"""Whatever is entered into the audit trail has words for the people who read it there."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.audit.models import AuditEntry
from app.domain.subscriptions.life import TRANSITIONS
from app.web.audit import group_choices
from app.web.audit_words import in_words

APP = Path(__file__).parents[2] / "app"
ACT = re.compile(r"[a-z_]+\.[a-z_]+")
# What stands for the part that an f-string leaves open. A new one needs a line here.
OPEN = {
    "package": ("published", "archived"),
    "request": ("approved", "declined", "withdrawn"),
    "offer": ("taken", "declined", "withdrawn"),
    "dunning": ("reminder", "suspension"),
    "subscription": sorted({after for each in TRANSITIONS.values() for after in each}),
}


def acts() -> Iterator[str]:
    """Every text of the form `thing.act` that the domain gives to a function, calls `act`, or records by a name."""
    for path in sorted((APP / "domain").rglob("*.py")):
        if path.name == "models.py":  # columns are written like this, too
            continue
        tree = ast.parse(path.read_text())
        set_to = [(target.id, node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)
                  for target in node.targets if isinstance(target, ast.Name)]  # fmt: skip
        for name, value in set_to:
            if name == "act" or any(name == each.id for call in calls(tree) if records(call) for each in names(call)):
                yield from told(value)
        for call in calls(tree):
            for argument in call.args:
                yield from told(argument)


def calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def names(call: ast.Call) -> list[ast.Name]:
    return [each for each in call.args if isinstance(each, ast.Name)]


def records(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name.lstrip("_") in ("record", "note")


def told(value: ast.AST) -> Iterator[str]:
    for part in ast.walk(value):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and ACT.fullmatch(part.value):
            yield part.value
        if isinstance(part, ast.JoinedStr) and isinstance(part.values[0], ast.Constant):
            start, dot, rest = str(part.values[0].value).partition(".")
            if dot and not rest:
                yield from (f"{start}.{end}" for end in OPEN[start])


FOUND = sorted(set(acts()))


def test_the_acts_are_found():
    assert {"key.rotate", "account.role", "payment.refund", "subscription.past_due", "account.totp_add"} <= set(FOUND)
    assert len(FOUND) > 80


@pytest.mark.databases("sqlite")
def test_each_has_words_and_a_group_of_the_filter(app):
    without = []
    with app.test_request_context():
        groups = dict(group_choices())
        for act in FOUND:
            entry = AuditEntry(act=act, subject="tenant:acme", actor="a", at=datetime.now(UTC), details={})
            if (
                in_words(entry).words == act.replace(".", " ").replace("_", " ")
                or f"{act.partition('.')[0]}." not in groups
            ):
                without.append(act)
    assert without == []

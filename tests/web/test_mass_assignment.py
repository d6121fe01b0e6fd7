"""A form takes its own fields and no others: whatever columns are sent along, none of their values gets anywhere."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from sqlalchemy import Engine, event

from app.db import db
from tests.web import test_rights
from tests.web.test_rights import BODIES, is_for_people, requests_of, short

PLANTED = "98765432198765"  # a number and a word, so that whatever reads it takes it


settings, w = test_rights.settings, test_rights.w
browsers, nothing_lasts = test_rights.browsers, test_rights.nothing_lasts


class Forms(HTMLParser):
    """The fields of each form of a page as a browser would send them, by the form's address."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self.fields: dict[str, str] = {}
        self.choosing = self.writing = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given: dict[str, Any] = {name: "" if value is None else value for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            self.fields = self.found.setdefault(given.get("action", ""), {})
        elif tag == "input" and given.get("type") not in ("checkbox", "radio", "file", "submit") and name:
            self.fields[name] = value
        elif tag == "input" and "checked" in given:
            self.fields[name] = value or "y"
        elif tag == "select":
            self.choosing = name
        elif tag == "option" and self.choosing and ("selected" in given or self.choosing not in self.fields):
            self.fields[self.choosing] = value
        elif tag == "textarea":
            self.writing = name
            self.fields[name] = ""
        elif tag == "button" and name:
            self.fields.setdefault(name, value)

    def handle_data(self, data: str) -> None:
        if self.writing:
            self.fields[self.writing] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.choosing = ""
        elif tag == "textarea":
            self.writing = ""


@pytest.mark.databases("sqlite")
def test_no_form_takes_what_it_does_not_ask_for(app, w, browsers, nothing_lasts):
    columns = {column.name for table in db.metadata.tables.values() for column in table.columns}
    sides = {"tenant": browsers["tenant:admin"]}
    sides |= dict.fromkeys(("provider", "account", "viewing", "auth"), browsers["staff:owner"])
    reached: list[str] = []

    def look(connection, cursor, statement: str, parameters: Any, context, executemany) -> None:
        if PLANTED in str(parameters):
            reached.append(statement)

    event.listen(Engine, "before_cursor_execute", look)
    wrong, taken = [], 0
    try:
        asked_for = [
            asked
            for asked in requests_of(w, app.url_map)
            if is_for_people(asked.rule) and not asked.foreign and asked.rule.endpoint != "auth.logout"
        ]
        forms: dict[str, dict[str, str]] = {}
        for asked in asked_for:
            if asked.method == "GET":
                page = Forms()
                page.feed(
                    sides[asked.rule.endpoint.partition(".")[0]].get(asked.url).get_data().decode(errors="replace")
                )
                forms |= {action or asked.url: fields for action, fields in page.found.items()}
        for asked in asked_for:
            browser = sides[asked.rule.endpoint.partition(".")[0]]
            if asked.method == "GET":
                continue
            own = {**forms.get(asked.url, {}), **BODIES.get(short(asked.rule.endpoint), {})}
            asks = {re.sub(r"^\w*-|-\d+$", "", name) for name in own} | set(own)
            body = {**dict.fromkeys(columns - asks, PLANTED), **own, "csrf_token": browser.csrf_token}
            del reached[:]
            answer = browser.open(asked.url, method=asked.method, data=body)
            taken += answer.status_code == 303
            if reached:
                wrong.append(f"{asked}: {answer.status_code}: {reached[0][:200]}")
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert not wrong, "\n".join(wrong)
    assert taken > 40

"""What belongs to one tenant never shows in an answer to another: not in pages, exports, documents or errors.

Every text of the other tenant, in whatever table and column, becomes a canary; new tables are covered unasked.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from pypdf import PdfReader
from sqlalchemy import JSON, Column, String, Table, Text
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from app.db import db, unit_of_work
from app.domain.tenants.models import Tenant
from tests import world

CANARY = "zqcanary"
CODES = {"timezone", "currency", "country", "locale", "language", "units", "role", "status", "reason", "thresholds"}
ISSUED_TO = "globex"  # what was issued never changes, but holds the name of then
_LINK = re.compile(r'(?:href|hx-get|hx-sse:connect|action|src)="(/[^"#]*)')
MOST = 2  # addresses of each rule: every page, with two of its ids and filters


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)


@pytest.fixture
def w(app, make, now) -> world.World:
    return world.build(app, make, now)


def texts_of(table: Table) -> Iterator[Column[Any]]:
    """Columns that can hold words: no keys, which other rows point at."""
    for column in table.columns:
        is_text = isinstance(column.type, String | Text | JSON)
        if is_text and column.name not in CODES and not column.primary_key and not column.foreign_keys:
            yield column


def plant(tenant: Tenant, text: str = CANARY) -> set[str]:
    """Make every text of the tenant's rows `text` where the table lets it be that; returns the columns that did."""
    planted = set()
    for table in db.metadata.sorted_tables:
        key = table.c.id if table.name == "tenant" else table.columns.get("tenant_id")
        if key is None:
            continue
        for column in texts_of(table):
            if text != CANARY and (isinstance(column.type, JSON) or column.name in ("slug", "number")):
                continue  # what pages read by its shape, and what nobody may choose freely
            value = {text: text} if isinstance(column.type, JSON) else text[: getattr(column.type, "length", 99)]
            with unit_of_work() as session:
                try:
                    with session.begin_nested():
                        changed = session.execute(table.update().where(key == tenant.id).values({column.name: value}))
                except DBAPIError:
                    continue  # a check, or unique: no free text
                if changed.rowcount:  # type: ignore[attr-defined]
                    planted.add(str(column))
    return planted


def crawl(browser: Any, start: str) -> dict[str, str]:
    """The text behind what can be reached from `start`, MOST addresses of each rule."""
    found: dict[str, str] = {}
    of_rule: Counter[str] = Counter()
    match = browser.application.url_map.bind("localhost").match
    waiting = [start]
    while waiting:
        address = waiting.pop(0)
        try:
            endpoint = match(urlsplit(address).path)[0] if address not in found else "static"
        except HTTPException:  # of a form, which is sent and not asked for
            continue
        if endpoint in ("static", "brand.logo", "brand.style") or of_rule[endpoint] == MOST:
            continue
        of_rule[endpoint] += 1
        answer = browser.get(address)
        found[address] = text_of(answer)
        if answer.mimetype == "text/html":
            waiting += [unescape(link) for link in _LINK.findall(found[address]) if "/logout" not in link]
        waiting += [answer.headers["Location"]] if answer.headers.get("Location", "").startswith("/") else []
    return found


def text_of(answer: Any) -> str:
    if answer.mimetype == "application/pdf":
        return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(answer.data)).pages)
    return f"{answer.headers}\n{answer.get_data().decode(errors='replace')}"


@pytest.mark.databases("sqlite")
def test_no_answer_to_a_tenant_holds_what_is_anothers(w, login):
    other = login(w.globex.user)
    theirs = crawl(other, "/portal")
    planted = plant(w.globex.tenant)
    assert {"tenant.name", "usage_record.caller", "allocation.name"} <= planted
    # The canaries sing where they may: to the provider, and in the tenant's own pages.
    assert CANARY in login(w.people["staff:owner"]).get(f"/provider/tenants?q={CANARY}").text
    assert CANARY in other.get("/portal/usage").text

    ours = login(w.people["tenant:admin"])
    found = crawl(ours, "/portal")
    assert len(found) > 30
    assert any(address.endswith(".pdf") for address in found)
    assert any(".csv" in address for address in found)
    found |= {address: text_of(ours.get(address)) for address in theirs}
    found |= {
        page: text_of(ours.get(page)) for page in (f"/portal/usage?number={CANARY}", f"/portal/invoices?q={CANARY}")
    }
    told = {address: text.replace(address, "").lower() for address, text in found.items()}
    sung = [address for address, text in told.items() if CANARY in text or ISSUED_TO in text]
    assert [address for address in sung if CANARY not in address and address not in theirs] == []
    assert [address for address in theirs if address in sung] == []

"""What every transaction writes and tells the audit trail, on SQLite: for tests of whatever changes something."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.db import db

# Rows that say how something goes, not what is agreed: nobody asks later who changed them.
UNTOLD = {
    "quote": "a question",
    "webhook_message": "a test is sent",
    "totp": "it counts once a code was entered",
    "sign_in": "seen, or proven again; what opens or ends one is told: tests/web/test_audit_trail.py",
    "sign_in_attempt": "counted by the throttle",
    "quarantined": "tried again in vain",
    "job": "something is on its way",
}
# What makes something, ends it or happens once has no before beyond that it was not so.
WITHOUT_BEFORE = frozenset(
    """account.disable account.email_asked account.enable account.erase account.factor_reset account.passkey_add
    account.passkey_remove account.password account.recovery_codes account.sign_out account.totp_add account.totp_remove
    account.create allocation.add allocation.release bank_file.enter bank_line.ignore bank_line.reopen bill_run.close
    bill_run.start hold.release invitation.resend invitation.send invitation.withdraw invoice.add_line
    invoice.credit invoice.discard invoice.finalise invoice.remove_line job.retry key.issue key.revoke offer.declined offer.withdrawn
    package.undo payment.receive privacy.export quarantine.discard quote.accept request.ask request.declined request.withdrawn
    tenant.view tenant.view_end usage.reverse webhook.add webhook.disable webhook.enable webhook.remove webhook.replay
    webhook.rotate""".split()
)


@dataclass
class Written:
    """What one transaction changed, and what it told."""

    tables: set[str]
    entries: list[dict[str, Any]]


@dataclass
class Watch:
    """Notes what every transaction writes, by table where rows changed, with what it tells."""

    written: list[Written]
    tables: set[str] = field(default_factory=set)
    running: list[tuple[Any, str, int]] = field(default_factory=list)  # connection, table, count before

    def begins(self, connection, cursor, statement, *_) -> None:
        self._settle()
        found = re.match(r"(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM) \"?(\w+)", statement.strip())
        if found:
            raw = connection.connection.dbapi_connection
            self.running.append((raw, found[1], raw.total_changes))

    def ends(self, session: Session) -> None:
        session.info["told"] = [each.entry for each in session.info.get("audit", ())]

    def ended(self, session: Session) -> None:
        self._settle()
        written = {name for name in self.tables if not name.startswith("audit")}
        told = session.info.pop("told", [])
        self.tables.clear()
        if written or told:
            self.written.append(Written(written, told))

    def _settle(self) -> None:
        """SQLite counts what a statement changed once the rows that it returns were read."""
        while self.running:
            connection, table, count = self.running.pop()
            if connection.total_changes != count:
                self.tables.add(table)


@contextmanager
def watching(written: list[Written]) -> Iterator[None]:
    """`written` grows by each transaction that ends within the context."""
    watch = Watch(written)
    listeners = [
        (db.engine, "before_cursor_execute", watch.begins),
        (Session, "before_commit", watch.ends),
        (Session, "after_commit", watch.ended),
    ]
    for target, name, listener in listeners:
        event.listen(target, name, listener, insert=name == "before_commit")
    try:
        yield
    finally:
        for target, name, listener in listeners:
            event.remove(target, name, listener)


def wrong_with(what: str, answer: TestResponse, written: list[Written]) -> Iterator[str]:
    """What is not as it should be with a request that was to change something."""
    if answer.status_code not in (200, 201, 204, 303):
        problem = re.findall(r'class="(?:error|flash)[^>]*>([^<]+)', answer.text)
        yield f"{what}: {answer.status_code} {problem}"
    entries = [entry for each in written for entry in each.entries]
    if not entries:
        yield f"{what} told nothing; it wrote {[each.tables for each in written]}"
    for each in written:
        if each.tables - set(UNTOLD) and not each.entries:
            yield f"{what} wrote {each.tables} and told nothing in the same transaction"
    for entry in entries:
        is_told = "changed" in entry["details"] or {"before", "after"} <= entry["details"].keys()
        if not is_told and entry["act"] not in WITHOUT_BEFORE:
            yield f"{what}: {entry['act']} does not say what was before: {entry['details']}"

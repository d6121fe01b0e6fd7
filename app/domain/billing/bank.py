"""Payments out of a bank's file: found by the invoice numbers in their text, looked at, then entered. README.md."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict
from app.domain.audit import service as audit
from app.domain.billing import bank_csv, bank_lines, ledger, payments
from app.domain.billing.bank_csv import BankLine, Unread
from app.domain.billing.models import Invoice, NumberSeries, Payment
from app.domain.tenants.models import Tenant

MATCHED, DUPLICATE, UNMATCHED, IGNORED = "matched", "duplicate", "unmatched", "ignored"
_GAP = r"[\s./_-]*"  # what a bank may put between two letters of a number


@dataclass(frozen=True, slots=True)
class Found:
    """What a line is: `matched` to a tenant's invoices, entered before (`duplicate`), `ignored` by somebody for the
    reason that `why` then is, or `unmatched` and why.

    Why: `outgoing`, `no_number`, `unknown_number`, `several_tenants`, `other_currency`, `day`, `amount`.
    """

    line: BankLine | Unread
    state: str
    why: str = ""
    tenant: Tenant | None = None
    invoices: tuple[Invoice, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """Every line with what it is, and the mark of exactly this."""

    found: tuple[Found, ...]

    def of(self, state: str) -> list[Found]:
        """The lines of one state."""
        return [each for each in self.found if each.state == state]

    @property
    def waiting(self) -> list[tuple[BankLine, str]]:
        """Money that came in and is not matched, and why: a person says whose it is."""
        lines = ((each.line, each.why) for each in self.of(UNMATCHED))
        return [(line, why) for line, why in lines if isinstance(line, BankLine) and line.amount_micros > 0]

    @property
    def mark(self) -> str:
        """Another one once anything of it is different."""
        said = [(each.state, each.why, [row.id for row in each.invoices], str(each.line)) for each in self.found]
        return hashlib.sha256(repr(said).encode()).hexdigest()


def preview(session: Session, content: str, currency: str) -> Preview:
    """What entering the file would do. A fixed number of statements. Raises Invalid for what is no such file."""
    lines = bank_csv.read(content, currency)
    known = [line for line in lines if isinstance(line, BankLine)]
    pattern = _pattern(session.scalars(select(NumberSeries.prefix)))
    named = {line.key: _numbers(pattern, line.text) for line in known}
    invoices = _invoices(session, {number for numbers in named.values() for number in numbers})
    entered = _entered(session, [line.key for line in known])
    ignored = bank_lines.ignored(session, [line.key for line in known])
    return Preview(tuple(_found(line, named, invoices, entered, ignored) for line in lines))


def enter(session: Session, content: str, currency: str, mark: str, *, actor: str, now: datetime) -> int:
    """Enter every matched line of what was looked at, in one transaction; returns how many. The rest waits.

    Raises Conflict (`preview_stale`) where a look at it now says something else than `mark` stands for.
    """
    seen = preview(session, content, currency)
    matched = seen.of(MATCHED)
    ledger.take(session, {(row.tenant_id, row.currency) for each in matched for row in each.invoices})
    if preview(session, content, currency).mark != mark:
        raise Conflict("preview_stale", "Something changed since you looked at it: look once more.")
    for each in matched:
        if each.tenant is not None and isinstance(each.line, BankLine):
            receipt = bank_lines.receipt_of(each.line, [row.id for row in each.invoices])
            payments.receive(session, each.tenant, receipt, actor=actor, now=now)
            bank_lines.found_meanwhile(session, each.line.key, each.tenant, actor=actor, now=now)
    bank_lines.keep(session, seen.waiting, now=now)
    audit.record(session, actor, "bank_file.enter", "bank_file:", now=now, payments=len(matched))
    return len(matched)


def _pattern(prefixes: Iterable[str]) -> re.Pattern[str]:
    """Numbers of our series, though a bank broke them with spaces or left their signs out."""
    parts = []
    for prefix in sorted(prefixes, key=len, reverse=True):
        letters = [re.escape(letter) for letter in prefix if letter.isalnum()]
        parts.append(_GAP.join([*letters, r"\d(?:\s?\d){4}\d*(?!\d)"]))
    return re.compile("|".join(rf"(?<![0-9A-Za-z]){part}" for part in parts) or r"(?!)", re.IGNORECASE)


def _numbers(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The numbers in a text, as `_plain` writes them."""
    return tuple(dict.fromkeys(_plain(match[0]) for match in pattern.finditer(text)))


def _plain(number: str) -> str:
    return re.sub(r"[^0-9A-Za-z]", "", number).lower()


def _invoices(session: Session, plain: set[str]) -> dict[str, Invoice]:
    """The invoices of these numbers, by their plain form."""
    if not plain:
        return {}
    spelled = {
        f"{prefix}{each[len(_plain(prefix)) :]}": each
        for prefix in session.scalars(select(NumberSeries.prefix))
        for each in plain
        if each.startswith(_plain(prefix))
    }
    rows = session.scalars(select(Invoice).where(Invoice.number.in_(spelled), Invoice.kind == "invoice"))
    return {spelled[str(row.number)]: row for row in rows}


def _entered(session: Session, keys: Sequence[str]) -> dict[str, Tenant]:
    """Whose payment each of these lines became."""
    rows = session.execute(
        select(Payment.key, Tenant).join(Tenant, Tenant.id == Payment.tenant_id).where(Payment.key.in_(keys))
    )
    return {row[0]: row[1] for row in rows}


def _found(
    line: BankLine | Unread,
    named: dict[str, tuple[str, ...]],
    invoices: dict[str, Invoice],
    entered: dict[str, Tenant],
    ignored: dict[str, str],
) -> Found:
    if isinstance(line, Unread):
        return Found(line, UNMATCHED, line.why)
    rows = [invoices[number] for number in named[line.key] if number in invoices]
    if tenant := entered.get(line.key):
        return Found(line, DUPLICATE, "", tenant, tuple(row for row in rows if row.tenant_id == tenant.id))
    if line.key in ignored:
        return Found(line, IGNORED, ignored[line.key])
    return _matched(line, rows, names_any=bool(named[line.key]))


def _matched(line: BankLine, rows: Sequence[Invoice], *, names_any: bool) -> Found:
    if line.amount_micros <= 0:
        return Found(line, UNMATCHED, "outgoing")
    tenants = {row.tenant_id: row.tenant for row in rows}
    if len(tenants) != 1:
        why = "several_tenants" if tenants else "unknown_number" if names_any else "no_number"
        return Found(line, UNMATCHED, why)
    tenant = next(iter(tenants.values()))
    if any(row.currency != line.currency for row in rows):
        return Found(line, UNMATCHED, "other_currency", tenant)
    return Found(line, MATCHED, "", tenant, tuple(rows))

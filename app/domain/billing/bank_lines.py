"""Lines of a bank's file that no invoice number explained: a person says whose they are. README.md, "Bank files"."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_ids
from app.db import insert_new, rowcount
from app.domain.audit import service as audit
from app.domain.billing import ledger, payments
from app.domain.billing.bank_csv import BankLine
from app.domain.billing.models import BillingProfile, Invoice, Payment, UnmatchedLine
from app.domain.billing.payments import Receipt
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

OPEN, ASSIGNED, IGNORED = "open", "assigned", "ignored"
PAGE_SIZE = 20
MAX_REFERENCE = MAX_REASON = 255
MOST_SUGGESTED = 5
_SHORTEST = 4  # letters of a word that tells one payer from another
_FORMS = {"gmbh", "limited", "verein", "holding", "group", "company", "corp", "from", "herr", "frau"}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Whose a line may be, and which invoice it may pay: by its amount, by the payer's name, or both."""

    tenant: Tenant
    invoice: Invoice | None
    by_amount: bool
    by_name: bool


@dataclass(frozen=True, slots=True)
class LinePage:
    """Lines newest first with what is suggested for each, and where the older ones begin."""

    lines: list[tuple[UnmatchedLine, list[Suggestion]]]
    older: tuple[int] | None


def keep(session: Session, lines: Iterable[tuple[BankLine, str]], *, now: datetime) -> None:
    """Let these lines, each with why it was not matched, wait for a person; one that waits or was decided stays so."""
    found = list(lines)
    rows = [
        {
            "id": line_id, "key": line.key, "day": line.day, "amount_micros": line.amount_micros,
            "currency": line.currency, "payer": line.payer, "text": line.text, "why": why, "kept_at": now,
            "state": OPEN, "reason": "", "decided_by": "",
        }
        for (line, why), line_id in zip(found, new_ids(len(found)) if found else (), strict=True)
    ]  # fmt: skip
    if rows:
        insert_new(session, UnmatchedLine, rows, [UnmatchedLine.key])


def ignored(session: Session, keys: Sequence[str]) -> dict[str, str]:
    """Which of these lines are nobody's, and why."""
    known = UnmatchedLine
    rows = session.execute(select(known.key, known.reason).where(known.key.in_(keys), known.state == IGNORED))
    return {row.key: row.reason for row in rows}


def count_open(session: Session) -> int:
    """How many wait."""
    return session.scalar(select(func.count()).where(UnmatchedLine.state == OPEN)) or 0


def find(session: Session, state: str = OPEN, *, after: int | None = None, most: int = PAGE_SIZE) -> LinePage:
    """One page of a state, by keyset; what waits comes with suggestions. A fixed number of statements."""
    statement = select(UnmatchedLine).where(UnmatchedLine.state == state).order_by(UnmatchedLine.id.desc())
    if after is not None:
        statement = statement.where(UnmatchedLine.id < after)
    rows = list(session.scalars(statement.limit(most + 1)))
    shown = rows[:most]
    suggested = suggestions(session, shown) if state == OPEN else {}
    return LinePage([(row, suggested.get(row.id, [])) for row in shown], (shown[-1].id,) if len(rows) > most else None)


def get(session: Session, line_id: int) -> UnmatchedLine:
    """The line. Raises NotFound."""
    found = session.get(UnmatchedLine, line_id)
    if found is None:
        raise NotFound("unknown_line", "There is no such line.")
    return found


def suggestions(session: Session, lines: Sequence[UnmatchedLine]) -> dict[int, list[Suggestion]]:
    """Open invoices of a line's amount, and tenants whose name its payer has; both first. Two statements."""
    if not lines:
        return {}
    invoices = session.scalars(
        select(Invoice)
        .where(Invoice.open_micros.in_({line.amount_micros for line in lines}), Invoice.open_micros > 0)
        .order_by(Invoice.due_on, Invoice.id)
        .limit(MOST_SUGGESTED * len(lines))
    ).all()
    named = _named(session, {word for line in lines for word in _words(f"{line.payer} {line.text}")})
    return {line.id: _of(line, invoices, named) for line in lines}


def assign(
    session: Session, line_id: int, tenant: Tenant, invoice: Invoice | None, *, actor: str, now: datetime
) -> Payment:
    """The line is the tenant's: enter it as a payment, first to `invoice`.

    Raises Conflict (`decided`) where somebody said so or otherwise before, Invalid (`other_currency`).
    """
    line = get(session, line_id)
    if invoice is not None and invoice.currency != line.currency:
        raise Invalid("other_currency", "The invoice is in another currency than the payment.", field="target")
    ledger.take(session, [(tenant.id, line.currency)])
    _decide(session, line, OPEN, ASSIGNED, actor, now, tenant_id=tenant.id)
    receipt = receipt_of(line, [invoice.id] if invoice else [])
    return payments.receive(session, tenant, receipt, actor=actor, now=now)


def ignore(session: Session, line_id: int, reason: str, *, actor: str, now: datetime) -> None:
    """The line is no tenant's. Raises Invalid (`missing_reason`), Conflict (`decided`)."""
    reason = reason.strip()[:MAX_REASON]
    if not reason:
        raise Invalid("missing_reason", "Say why it is nobody's.", field="reason")
    line = get(session, line_id)
    _decide(session, line, OPEN, IGNORED, actor, now, reason=reason)
    audit.record(
        session, actor, "bank_line.ignore", f"bank_line:{line.id}", now=now, reason=reason,
        amount_micros=line.amount_micros, currency=line.currency,
    )  # fmt: skip


def reopen(session: Session, line_id: int, *, actor: str, now: datetime) -> None:
    """It waits again after it was ignored. Raises Conflict (`decided`)."""
    line = get(session, line_id)
    _decide(session, line, IGNORED, OPEN, actor, now)
    audit.record(session, actor, "bank_line.reopen", f"bank_line:{line.id}", now=now)


def found_meanwhile(session: Session, key: str, tenant: Tenant, *, actor: str, now: datetime) -> None:
    """The line was entered out of a file, since its number is known by now: it does not wait any more."""
    session.execute(
        update(UnmatchedLine)
        .where(UnmatchedLine.key == key, UnmatchedLine.state == OPEN)
        .values(state=ASSIGNED, assigned_to_id=tenant.id, decided_by=actor, decided_at=now)
    )


def target(session: Session, text: str) -> tuple[Tenant, Invoice | None]:
    """The invoice of this number and its tenant, or the tenant of this slug, PBX domain or account code.

    Raises Invalid (`unknown_target`).
    """
    text = text.strip().replace("\0", "")
    invoice = session.scalars(select(Invoice).where(Invoice.number == text, Invoice.kind == "invoice")).first()
    if invoice is not None:
        return invoice.tenant, invoice
    try:
        return tenants.by_name(session, text), None
    except NotFound:
        raise Invalid("unknown_target", "No invoice and no tenant is called so.", field="target") from None


def receipt_of(line: BankLine | UnmatchedLine, invoice_ids: Sequence[int]) -> Receipt:
    """The line as a payment; its key makes it one, whoever enters it and how often."""
    reference = f"{line.payer}: {line.text}" if line.payer else line.text
    return Receipt(
        key=line.key,
        amount_micros=line.amount_micros,
        currency=line.currency,
        method="bank",
        reference=reference[:MAX_REFERENCE],
        received_on=line.day,
        invoice_ids=tuple(invoice_ids),
    )


def _decide(
    session: Session, line: UnmatchedLine, before: str, after: str, actor: str, now: datetime, *,
    tenant_id: int | None = None, reason: str = "",
) -> None:  # fmt: skip
    changed = session.execute(
        update(UnmatchedLine)
        .where(UnmatchedLine.id == line.id, UnmatchedLine.state == before)
        .values(state=after, assigned_to_id=tenant_id, reason=reason, decided_by=actor, decided_at=now)
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise Conflict("decided", "Somebody decided about this line meanwhile.")
    session.refresh(line)


def _words(text: str) -> set[str]:
    """What in a text may be part of a name."""
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", text)}
    return {word for word in words if len(word) >= _SHORTEST and word not in _FORMS}


def _named(session: Session, words: set[str]) -> list[tuple[Tenant, set[str]]]:
    """Tenants that one of these words may mean, with the words of their names."""
    if not words:
        return []
    names = (Tenant.name, BillingProfile.legal_name)
    rows = session.execute(
        select(Tenant, BillingProfile.legal_name)
        .outerjoin(BillingProfile, BillingProfile.tenant_id == Tenant.id)
        .where(or_(*(name.icontains(word, autoescape=True) for word in sorted(words) for name in names)))
        .order_by(Tenant.name, Tenant.id)
        .limit(MOST_SUGGESTED * PAGE_SIZE)
    )
    return [(row[0], _words(f"{row[0].name} {row[1] or ''}")) for row in rows]


def _of(line: UnmatchedLine, invoices: Sequence[Invoice], named: Sequence[tuple[Tenant, set[str]]]) -> list[Suggestion]:
    words = _words(f"{line.payer} {line.text}")
    by_name = {tenant.id: tenant for tenant, own in named if own & words}
    fitting = [row for row in invoices if (row.open_micros, row.currency) == (line.amount_micros, line.currency)]
    found = [Suggestion(row.tenant, row, True, row.tenant_id in by_name) for row in fitting]
    paid = {row.tenant_id for row in fitting}
    found += [Suggestion(tenant, None, False, True) for tenant_id, tenant in by_name.items() if tenant_id not in paid]
    return sorted(found, key=lambda each: -(each.by_amount + 2 * each.by_name))[:MOST_SUGGESTED]

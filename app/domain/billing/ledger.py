"""What tenants owe: append-only entries and their sum, both in the transaction of the act itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from app.core.ids import new_id
from app.db import LostRace, among, insert_new, rowcount
from app.domain.billing.models import LedgerBalance, LedgerEntry
from app.domain.metering import prepaid

PAGE_SIZE = 50
Account = tuple[int, str]  # tenant and currency
Balances = dict[Account, int]


@dataclass(frozen=True, slots=True)
class Movement:
    """One entry to be made: positive is owed, negative taken off."""

    account: Account
    kind: str
    source: str  # what it comes of, entered once
    reference: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Entries newest first, and where the next older page begins (None at the end)."""

    entries: list[LedgerEntry]
    older: tuple[int] | None


def take(session: Session, accounts: Iterable[Account]) -> Balances:
    """Take these accounts for the running transaction and return their balances: others wait until it ends.

    Every act about a tenant's money begins with it.
    """
    wanted = sorted(set(accounts))
    if not wanted:
        return {}
    rows = [{"tenant_id": each[0], "currency": each[1], "balance_micros": 0, "entries": 0} for each in wanted]
    insert_new(session, LedgerBalance, rows, [LedgerBalance.tenant_id, LedgerBalance.currency])
    taken = session.execute(
        update(LedgerBalance)
        .where(among(session, wanted, LedgerBalance.tenant_id, LedgerBalance.currency))
        .values(entries=LedgerBalance.entries)
        .returning(LedgerBalance.tenant_id, LedgerBalance.currency, LedgerBalance.balance_micros)
        .execution_options(synchronize_session=False)
    )
    return {(row.tenant_id, row.currency): row.balance_micros for row in taken}


def enter(session: Session, balances: Balances, movements: Iterable[Movement], *, now: datetime) -> None:
    """Append entries to accounts that were taken, and move the balances, which `balances` then has, by their sum."""
    before, counts, rows = dict(balances), dict.fromkeys(balances, 0), []
    for each in movements:
        balances[each.account] += each.amount_micros
        counts[each.account] += 1
        rows.append(
            {
                "tenant_id": each.account[0],
                "id": new_id(),
                "at": now,
                "kind": each.kind,
                "source": each.source,
                "reference": each.reference,
                "amount_micros": each.amount_micros,
                "currency": each.account[1],
                "balance_micros": balances[each.account],
            }
        )
    if rows:
        session.execute(insert(LedgerEntry), rows)
    _move(
        session,
        [
            {"of_tenant": key[0], "of_currency": key[1], "before": before[key], "after": balances[key], "more": count}
            for key, count in counts.items()
            if count
        ],
    )
    prepaid.add_credit(session, [(*key, before[key] - balances[key]) for key in before])


def _move(session: Session, moves: Sequence[Mapping[str, Any]]) -> None:
    """Every balance from what it was taken as to what it is now, in one statement for all of them."""
    if not moves:
        return
    table = LedgerBalance.__table__
    moved = session.connection().execute(
        update(table)  # type: ignore[arg-type]  # a Table, which mypy sees as a FromClause
        .where(
            table.c.tenant_id == bindparam("of_tenant"),
            table.c.currency == bindparam("of_currency"),
            table.c.balance_micros == bindparam("before"),
        )
        .values(balance_micros=bindparam("after"), entries=table.c.entries + bindparam("more")),
        list(moves),
    )
    if rowcount(moved) != len(moves):
        raise LostRace


def balances_of(session: Session, tenant_id: int) -> Mapping[str, int]:
    """What the tenant owes by currency; negative is to its credit."""
    rows = session.execute(
        select(LedgerBalance.currency, LedgerBalance.balance_micros)
        .where(LedgerBalance.tenant_id == tenant_id, LedgerBalance.entries > 0)
        .order_by(LedgerBalance.currency)
    )
    return {row.currency: row.balance_micros for row in rows}


def find_entries(session: Session, tenant_id: int, *, after: int | None = None, most: int = PAGE_SIZE) -> LedgerPage:
    """The tenant's entries, newest first, by keyset."""
    statement = select(LedgerEntry).where(LedgerEntry.tenant_id == tenant_id).order_by(LedgerEntry.id.desc())
    if after is not None:
        statement = statement.where(LedgerEntry.id < after)
    rows = list(session.scalars(statement.limit(most + 1)))
    return LedgerPage(rows[:most], (rows[most - 1].id,) if len(rows) > most else None)

"""The bill run: drafts of everybody who is due, in chunks; then, once looked at, their numbers. README.md, "Bill run".

Each chunk is a job that asks for the next one in its own transaction, so a worker that is killed leaves off between
two chunks and never inside one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, tuple_, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, aliased

from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.db import LostRace, insert_new, is_retryable, rowcount
from app.domain.audit import service as audit
from app.domain.billing import drafting, due, issuing
from app.domain.billing.due import PERIOD
from app.domain.billing.models import BillRun, Invoice
from app.domain.billing.terms import Terms
from app.domain.jobs import service as jobs
from app.domain.subscriptions import moves
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant

KIND = "bill_run"
CHUNK = 500
DRAFTING, REVIEW, FINALISING, DONE = "drafting", "review", "finalising", "done"
_LONG_OVER = timedelta(days=400)  # a subscription that ended before then has its last invoice
_MAX_ERROR = 200
MOST_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """What the drafts of a run come to in a currency, and what the same subscriptions' invoices came to before."""

    currency: str
    invoices: int
    total_micros: int
    before_micros: int
    odd: int


def start(session: Session, *, actor: str, now: datetime) -> BillRun:
    """Begin a dry run over everybody. Raises Conflict (`run_open`) while there is another one."""
    run_id = new_id()
    row = {
        "id": run_id, "as_of": now, "phase": DRAFTING, "open_mark": 1, "started_by": actor, "started_at": now,
        "to_do": session.scalar(select(func.count()).select_from(Subscription).where(_may_be_due(now))) or 0,
        "problems": [],
    }  # fmt: skip
    if not insert_new(session, BillRun, [row], [BillRun.open_mark]):
        raise Conflict("run_open", "There is a bill run already: review it first.")
    _ask(session, run_id, DRAFTING, 0, None, now)
    audit.record(session, actor, "bill_run.start", f"bill_run:{run_id}", now=now)
    session.flush()
    return session.get_one(BillRun, run_id)


def finalise(session: Session, run_id: int, *, actor: str, now: datetime) -> None:
    """Number the drafts of a reviewed run, but for those that are set aside. Raises Conflict (`wrong_phase`)."""
    ready = select(func.count()).select_from(Invoice).where(*_ready(run_id))
    _move(session, run_id, REVIEW, FINALISING, to_do=session.scalar(ready) or 0, looked_at=0)
    _ask(session, run_id, FINALISING, 0, None, now)
    audit.record(session, actor, "bill_run.finalise", f"bill_run:{run_id}", now=now)


def close(session: Session, run_id: int, *, actor: str, now: datetime) -> None:
    """End a reviewed run; its drafts stay for a person. Raises NotFound, Conflict (`wrong_phase`)."""
    _move(session, run_id, REVIEW, DONE, open_mark=None, ended_at=now)
    audit.record(session, actor, "bill_run.close", f"bill_run:{run_id}", now=now)


def step(session: Session, payload: dict[str, Any], terms: Terms, *, now: datetime) -> None:
    """One chunk of a run, and the request for the next one. The job's handler."""
    run = get(session, payload["run_id"])
    if run.phase == payload["phase"]:
        after = tuple(payload["after"]) if payload["after"] else None
        (_draft_chunk if run.phase == DRAFTING else _finalise_chunk)(session, run, after, terms, now)


def get(session: Session, run_id: int) -> BillRun:
    """The run as it stands. Raises NotFound."""
    run = session.get(BillRun, run_id, populate_existing=True)
    if run is None:
        raise NotFound("unknown_run", "There is no such bill run.")
    return run


def latest(session: Session, most: int = 12) -> list[BillRun]:
    """The newest runs, an open one first."""
    return list(session.scalars(select(BillRun).order_by(BillRun.id.desc()).limit(most)))


def totals(session: Session, run_id: int) -> list[CurrencyTotal]:
    """What a run's invoices come to, by currency, beside the period before. Two statements."""
    rows = session.execute(
        select(
            Invoice.currency,
            func.count(),
            func.sum(Invoice.total_micros),
            func.count().filter(Invoice.odd != ""),
        )
        .where(Invoice.bill_run_id == run_id)
        .group_by(Invoice.currency)
        .order_by(Invoice.currency)
    )
    before = _before(session, run_id)
    return [
        CurrencyTotal(currency, count, int(total), before.get(currency, 0), odd) for currency, count, total, odd in rows
    ]


def _before(session: Session, run_id: int) -> dict[str, int]:
    mine, other = aliased(Invoice), aliased(Invoice)
    earlier = (
        select(func.max(other.id))
        .where(
            other.tenant_id == mine.tenant_id,
            other.subscription_id == mine.subscription_id,
            other.reason == PERIOD,
            other.period_on < mine.period_on,
            other.status != "draft",
        )
        .correlate(mine)
        .scalar_subquery()
    )
    rows = session.execute(
        select(mine.currency, func.sum(Invoice.total_micros))
        .join(Invoice, and_(Invoice.tenant_id == mine.tenant_id, Invoice.id == earlier))
        .where(mine.bill_run_id == run_id, mine.reason == PERIOD)
        .group_by(mine.currency)
    )
    return {currency: int(total) for currency, total in rows}


def _draft_chunk(session: Session, run: BillRun, after: Any, terms: Terms, now: datetime) -> None:
    found = session.scalars(_chunk(select(Subscription).where(_may_be_due(run.as_of)), Subscription, after)).all()

    def draft(some: Sequence[Subscription]) -> int:
        moves.take_effect(session, now=run.as_of, tenant_ids={each.tenant_id for each in some})
        dues = due.find(session, some, terms, now=run.as_of)
        return len(drafting.draft(session, dues, terms, now=now, bill_run_id=run.id))

    drafted, problems = _one_by_one_if_need_be(session, found, draft)
    _note(session, run, looked_at=len(found), drafted=drafted, problems=problems)
    if len(found) == CHUNK:
        _ask(session, run.id, DRAFTING, run.steps + 1, _key(found[-1]), now)
    else:
        _move(session, run.id, DRAFTING, REVIEW)


def _finalise_chunk(session: Session, run: BillRun, after: Any, terms: Terms, now: datetime) -> None:
    keys = select(Invoice.tenant_id, Invoice.id, Invoice.currency).where(*_ready(run.id))
    found = session.execute(_chunk(keys, Invoice, after)).all()

    def issue(some: Sequence[Any]) -> int:
        return len(issuing.issue(session, some, terms, actor=run.started_by, now=now).issued)

    finalised, problems = _one_by_one_if_need_be(session, found, issue)
    _note(session, run, looked_at=len(found), finalised=finalised, problems=problems)
    if len(found) == CHUNK:
        _ask(session, run.id, FINALISING, run.steps + 1, _key(found[-1]), now)
    else:
        _move(session, run.id, FINALISING, DONE, open_mark=None, ended_at=now)


def _one_by_one_if_need_be(
    session: Session, found: Sequence[Any], act: Callable[[Sequence[Any]], int]
) -> tuple[int, list[dict[str, str]]]:
    """`act` on all of them at once; where that fails on each by itself, so that one cannot stop the others."""
    try:
        with session.begin_nested():
            return act(found), []
    except Exception as error:
        if _is_lost_race(error):
            raise
    done, problems = 0, []
    for each in found:
        slug, name = session.execute(select(Tenant.slug, Tenant.name).where(Tenant.id == each.tenant_id)).one()
        try:
            with session.begin_nested():
                done += act([each])
        except Exception as error:
            if _is_lost_race(error):
                raise
            problem = f"{type(error).__name__}: {error}"[:_MAX_ERROR]
            problems.append({"slug": slug, "name": name, "error": problem})
    return done, problems


def _is_lost_race(error: Exception) -> bool:
    """To be tried again as a whole; a broken key would break again."""
    if isinstance(error, DBAPIError):
        return is_retryable(error) and not isinstance(error, IntegrityError)
    return isinstance(error, LostRace)


def _chunk(statement: Any, model: type[Subscription | Invoice], after: Any) -> Any:
    """The next rows in the order of their keys."""
    if after is not None:
        statement = statement.where(tuple_(model.tenant_id, model.id) > after)
    return statement.order_by(model.tenant_id, model.id).limit(CHUNK)


def _key(row: Any) -> list[int]:
    return [row.tenant_id, row.id]


def _may_be_due(now: datetime) -> ColumnElement[bool]:
    return or_(Subscription.ended_at.is_(None), Subscription.ended_at > now - _LONG_OVER)


def _ready(run_id: int) -> tuple[ColumnElement[bool], ...]:
    """Drafts of the run; a tenant of whom anything is set aside waits as a whole, so that periods stay in order."""
    odd = aliased(Invoice)
    set_aside = select(odd.id).where(odd.tenant_id == Invoice.tenant_id, odd.status == "draft", odd.odd != "").exists()
    return Invoice.bill_run_id == run_id, Invoice.status == "draft", ~set_aside


def _note(session: Session, run: BillRun, *, problems: list[dict[str, str]], **counts: int) -> None:
    session.execute(
        update(BillRun)
        .where(BillRun.id == run.id, BillRun.steps == run.steps)
        .values(
            steps=run.steps + 1,
            problems=[*run.problems, *problems][:MOST_PROBLEMS],
            **{name: getattr(BillRun, name) + count for name, count in counts.items()},
        )
        .execution_options(synchronize_session=False)
    )


def _move(session: Session, run_id: int, before: str, after: str, **values: Any) -> None:
    moved = session.execute(
        update(BillRun)
        .where(BillRun.id == run_id, BillRun.phase == before)
        .values(phase=after, **values)
        .execution_options(synchronize_session=False)
    )
    if rowcount(moved) != 1:
        get(session, run_id)
        raise Conflict("wrong_phase", "The bill run has moved on meanwhile.")


def _ask(session: Session, run_id: int, phase: str, step_number: int, after: list[int] | None, now: datetime) -> None:
    payload = {"run_id": run_id, "phase": phase, "after": after}
    jobs.enqueue(session, KIND, f"{KIND}/{run_id}/{phase}/{step_number}", payload, now=now)

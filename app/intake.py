"""Call records as PBXs write them: read by `app.pbx`, counted by `app.domain.metering`. For the API and for imports."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice

from flask import Flask, current_app
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.usage import Ignored, SourceSettings, Unreadable
from app.db import run_in_transaction
from app.domain.metering import holds
from app.domain.metering.holds import CallReport
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report, Result
from app.group_commit import GroupCommit
from app.metrics import metrics
from app.pbx import asterisk, freeswitch

CHUNK = 1_000
A_FEW = 20  # reports of one request


class CdrCount:
    """What became of the reports so far: recorded, duplicate, ignored, quarantined; and why, where there is a why.

    `tell(line_number, result)` hears of every report that is set aside; a report that is no line of a file has 0.
    """

    def __init__(self, tell: Callable[[int, Result], None] = lambda line_number, result: None) -> None:
        self.found: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.tell = tell

    def ignore(self, reason: str) -> None:
        """Count a report that is understood and is not usage."""
        self.found["ignored"] += 1
        self.reasons[reason] += 1

    def store(self, source_id: int, reports: list[Report], line_numbers: Iterable[int] = (0,)) -> None:
        """Count `reports` in one transaction."""
        results = store(source_id, reports)
        for result, line_number in zip(results, line_numbers, strict=True):
            status = "quarantined" if result.status == "conflict" else result.status
            self.found[status] += 1
            if result.code:
                self.reasons[result.code] += 1
            if status == "quarantined":
                self.tell(line_number, result)


def init_app(app: Flask) -> None:
    """One queue a source for reports that come a few at a time."""
    app.extensions["intake"] = {}


def store(source_id: int, reports: list[Report]) -> list[Result]:
    """What became of each of `reports`, stored in one transaction; a few share theirs with what comes meanwhile."""
    results = _stored(source_id, reports)
    metrics().note_reports(result.status for result in results)
    return results


def _stored(source_id: int, reports: list[Report]) -> list[Result]:
    if len(reports) > A_FEW:
        now = utc_now()
        return run_in_transaction(lambda session: ingest(session, source_id, reports, now=now))
    queues: dict[int, GroupCommit[list[Report], list[Result]]] = current_app.extensions["intake"]
    if source_id not in queues:
        queues.setdefault(source_id, GroupCommit(partial(_store_all, source_id)))
    return queues[source_id].run(reports)


def _store_all(source_id: int, session: Session, bodies: Sequence[list[Report]]) -> list[list[Result]]:
    results = iter(ingest(session, source_id, [report for body in bodies for report in body], now=utc_now()))
    return [list(islice(results, len(body))) for body in bodies]


def count_freeswitch(
    count: CdrCount, source_id: int, settings: SourceSettings, body: bytes, content_type: str, uuid: str
) -> bool:
    """Count one report of mod_json_cdr or mod_xml_cdr, in whatever encoding. False when it is ignored: not kept."""
    try:
        outcome = freeswitch.parse_cdr(body, content_type, uuid, settings)
    except Unreadable as problem:
        count.store(source_id, [Report(problem, body, "freeswitch", content_type)])
        return True
    if isinstance(outcome, Ignored):
        count.ignore(outcome.reason)
        _release(source_id, [outcome])
        return False
    count.store(source_id, [Report(outcome, body, "freeswitch", content_type)])
    return True


def count_asterisk(count: CdrCount, source_id: int, settings: SourceSettings, text: str | Iterable[str]) -> None:
    """Count the rows of a Master.csv, a thousand in a transaction."""
    rows = asterisk.parse_csv(text, settings)
    while chunk := list(islice(rows, CHUNK)):
        reports, line_numbers, ignored = [], [], []
        for row in chunk:
            if isinstance(row.outcome, Ignored):
                count.ignore(row.outcome.reason)
                ignored.append(row.outcome)
            else:
                reports.append(Report(row.outcome, row.raw, "asterisk"))
                line_numbers.append(row.line_number)
        if reports:
            count.store(source_id, reports, line_numbers)
        # After the others: a call that was tried on one trunk and answered on the next is settled by now.
        _release(source_id, ignored)


def _release(source_id: int, ignored: Iterable[Ignored]) -> None:
    """Free what is on hold for calls whose reports say that nobody talked."""
    silent = [CallReport(None, each.call_id, each.hold) for each in ignored if each.call_id or each.hold]
    if silent:
        now = utc_now()
        run_in_transaction(lambda session: holds.release(session, source_id, silent, now=now))

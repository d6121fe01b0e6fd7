"""Call records as PBXs write them: read by `app.pbx`, counted by `app.domain.metering`. For the API and for imports."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from app.core.clock import utc_now
from app.core.usage import Ignored, SourceSettings, Unreadable
from app.db import run_in_transaction
from app.domain.metering.ingest import Report, ingest
from app.pbx import asterisk, freeswitch

CHUNK = 1_000


class CdrCount:
    """What became of the reports so far: recorded, duplicate, ignored, quarantined; and why, where there is a why."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def ignore(self, reason: str) -> None:
        """Count a report that is understood and is not usage."""
        self.found["ignored"] += 1
        self.reasons[reason] += 1

    def store(self, source_id: int, reports: list[Report]) -> None:
        """Count `reports` in one transaction."""
        now = utc_now()
        for result in run_in_transaction(lambda session: ingest(session, source_id, reports, now=now)):
            self.found["quarantined" if result.status == "conflict" else result.status] += 1
            if result.code:
                self.reasons[result.code] += 1


def count_freeswitch(
    count: CdrCount, source_id: int, settings: SourceSettings, body: bytes, content_type: str, uuid: str
) -> None:
    """Count one report of mod_json_cdr or mod_xml_cdr, in whatever encoding."""
    try:
        outcome = freeswitch.parse_cdr(body, content_type, uuid, settings)
    except Unreadable as problem:
        count.store(source_id, [Report(problem, body, "freeswitch", content_type)])
        return
    if isinstance(outcome, Ignored):
        count.ignore(outcome.reason)
        return
    count.store(source_id, [Report(outcome, body, "freeswitch", content_type)])


def count_asterisk(count: CdrCount, source_id: int, settings: SourceSettings, text: str | Iterable[str]) -> None:
    """Count the rows of a Master.csv, a thousand in a transaction."""
    rows = asterisk.parse_csv(text, settings)
    while chunk := list(islice(rows, CHUNK)):
        reports = []
        for row in chunk:
            if isinstance(row.outcome, Ignored):
                count.ignore(row.outcome.reason)
            else:
                reports.append(Report(row.outcome, row.raw, "asterisk"))
        if reports:
            count.store(source_id, reports)

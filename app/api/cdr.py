"""Call detail records as the PBX itself sends them."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice

import msgspec
from flask import Response, g, request

from app.api.blueprint import answer, operation, raw_body
from app.core.clock import utc_now
from app.core.usage import Ignored, SourceSettings, Unreadable
from app.db import db, run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.metering.ingest import Report, ingest
from app.pbx import asterisk, freeswitch
from app.pbx.text import storable

CHUNK = 1_000


class CdrAnswer(msgspec.Struct, omit_defaults=True):
    """How many of each; `reasons` counts why, when asked with `verbose=1`."""

    recorded: int
    duplicates: int
    ignored: int
    quarantined: int
    reasons: dict[str, int] | None = None


class CdrCount:
    """Counts while reports go in, for the API and for imports alike."""

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

    def answer(self, verbose: bool) -> CdrAnswer:
        """The figures."""
        return CdrAnswer(
            self.found["recorded"],
            self.found["duplicate"],
            self.found["ignored"],
            self.found["quarantined"],
            dict(self.reasons) if verbose else None,
        )


def count_freeswitch(
    count: CdrCount, source_id: int, settings: SourceSettings, body: bytes, content_type: str, uuid: str
) -> None:
    """Count one report of mod_json_cdr or mod_xml_cdr, in whatever encoding."""
    try:
        outcome = freeswitch.parse_cdr(body, content_type, uuid, settings)
    except Unreadable as problem:
        count.store(source_id, [Report(problem, storable(body.decode(errors="replace")), "freeswitch", content_type)])
        return
    if isinstance(outcome, Ignored):
        count.ignore(outcome.reason)
        return
    count.store(source_id, [Report(outcome, storable(body.decode(errors="replace")), "freeswitch", content_type)])


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


@operation(
    "POST",
    "/cdr/freeswitch",
    "A CDR of FreeSWITCH's mod_json_cdr or mod_xml_cdr",
    scope="usage",
    gives=CdrAnswer,
    content_type="*/*",
    also=(413, 415),
    query=("uuid", "verbose"),
)
def report_freeswitch() -> Response:
    """Count one leg; 200 for repeats too, since anything else makes FreeSWITCH send it again."""
    body, content_type = raw_body(), request.content_type or ""
    source_id, settings = g.key.source_id, accounts.settings_of(g.key.source)
    db.session.rollback()
    count = CdrCount()
    count_freeswitch(count, source_id, settings, body, content_type, request.args.get("uuid", ""))
    return answer(count.answer(request.args.get("verbose") == "1"))


@operation(
    "POST",
    "/cdr/asterisk",
    "Rows of Asterisk's Master.csv",
    scope="usage",
    gives=CdrAnswer,
    content_type="text/csv",
    also=(413, 415),
    query=("verbose",),
)
def report_asterisk() -> Response:
    """Count rows; a broken one is quarantined with its line number, the others go in."""
    text = raw_body().decode(errors="replace")
    source_id, settings = g.key.source_id, accounts.settings_of(g.key.source)
    db.session.rollback()
    count = CdrCount()
    count_asterisk(count, source_id, settings, text)
    return answer(count.answer(request.args.get("verbose") == "1"))

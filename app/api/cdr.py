"""Call detail records as the PBX itself sends them."""

import msgspec
from flask import Response, g, request

from app.api.blueprint import answer, operation, raw_body
from app.api.problems import Problem
from app.domain.accounts import service as accounts
from app.intake import CdrCount, count_asterisk, count_freeswitch

MAX_ROWS = 100_000  # of a request: 10 MB of rows as Asterisk writes them are fewer


class CdrAnswer(msgspec.Struct, omit_defaults=True):
    """How many of each; `reasons` counts why, when asked with `verbose=1`."""

    recorded: int
    duplicates: int
    ignored: int
    quarantined: int
    reasons: dict[str, int] | None = None


@operation(
    "POST",
    "/cdr/freeswitch",
    "A CDR of FreeSWITCH's mod_json_cdr or mod_xml_cdr",
    scope="usage",
    gives=CdrAnswer,
    content_type="*/*",
    query=("uuid", "verbose"),
)
def report_freeswitch() -> Response:
    """Count one leg; 200 for repeats too, since anything else makes FreeSWITCH send it again."""
    body, content_type = raw_body(), request.content_type or ""
    source_id, settings = g.key.source.id, accounts.settings_of(g.key.source)
    count = CdrCount()
    count_freeswitch(count, source_id, settings, body, content_type, request.args.get("uuid", ""))
    return _answer(count)


@operation(
    "POST",
    "/cdr/asterisk",
    "Rows of Asterisk's Master.csv",
    scope="usage",
    gives=CdrAnswer,
    content_type="text/csv",
    query=("verbose",),
)
def report_asterisk() -> Response:
    """Count rows; a broken one is quarantined with its line number, the others go in."""
    text = raw_body().decode(errors="replace")
    if text.count("\n") > MAX_ROWS:
        raise Problem(413, "too_many_rows", f"At most {MAX_ROWS} rows fit into one request.")
    source_id, settings = g.key.source.id, accounts.settings_of(g.key.source)
    count = CdrCount()
    count_asterisk(count, source_id, settings, text)
    return _answer(count)


def _answer(count: CdrCount) -> Response:
    found, verbose = count.found, request.args.get("verbose") == "1"
    return answer(
        CdrAnswer(
            recorded=found["recorded"],
            duplicates=found["duplicate"],
            ignored=found["ignored"],
            quarantined=found["quarantined"],
            reasons=dict(count.reasons) if verbose else None,
        )
    )

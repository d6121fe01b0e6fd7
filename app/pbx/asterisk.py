"""Asterisk's Master.csv, turned into usage row by row. Rules: README.md, "Asterisk"."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx.asterisk_rows import Record, read_records
from app.pbx.text import MAX_TEXT, clean, quantity, storable

# Order of cdr_csv.c; the last three come with `newcdrcolumns = yes`.
_COLUMNS = (
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start",
    "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid", "userfield",
    "peeraccount", "linkedid", "sequence",
)  # fmt: skip
_COUNTS = (16, 17, 18, 21)
_NEEDED = {"accountcode", "dstchannel", "lastapp", "start", "billsec", "disposition"}
_ALIASES = {"calldate": "start"}  # the CDR table of the SQL backends
_DISPOSITIONS = {"ANSWERED", "NO ANSWER", "BUSY", "FAILED", "CONGESTION"}
_FAX_DIRECTIONS = {"sendfax": "outbound", "receivefax": "inbound", "dial": "outbound"}

_Fields = dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One row and what it means. An `Unreadable` is a value here: the rows after it are read all the same."""

    line_number: int  # of its first line, from 1
    raw: str
    outcome: UsageEvent | Ignored | Unreadable


def parse_csv(text: str | Iterable[str], settings: SourceSettings) -> Iterator[Row]:
    """The rows of a Master.csv of 16, 17, 18 or 21 columns, or of a file whose header line names its columns.

    `text` is the whole file or its lines. Identity is `uniqueid/sequence`, or `uniqueid` where there is
    no sequence. Rows without a uniqueid (16 columns) are known by a hash of their values: the same row
    imported again is the same row, and two rows equal in all values are one. Raises nothing for what
    the file says; an unknown `settings.time_zone` raises ZoneInfoNotFoundError.
    """
    zone = ZoneInfo(settings.time_zone)
    columns: tuple[str, ...] = ()

    def is_whole(values: list[str]) -> bool:
        return len(values) == len(columns) if columns else len(values) in _COUNTS

    for record in read_records(text, is_whole):
        if _is_header(record.values):
            columns = _named(record.values or [])
            continue
        yield Row(record.line_number, storable(record.raw), _outcome(record, columns, zone, settings))


def _named(values: list[str]) -> tuple[str, ...]:
    names = (value.strip().lower() for value in values)
    return tuple(_ALIASES.get(name, name) for name in names)


def _is_header(values: list[str] | None) -> bool:
    """Whether a row names columns: no call has the disposition `disposition`."""
    return values is not None and {"disposition", "billsec"} <= set(_named(values))


def _outcome(
    record: Record, columns: tuple[str, ...], zone: ZoneInfo, settings: SourceSettings
) -> UsageEvent | Ignored | Unreadable:
    fields: _Fields = {}
    try:
        fields = _fields(record, columns)
        return _meaning(fields, zone, settings)
    except Unreadable as error:
        error.detail = f"line {record.line_number}: {error.detail}"
        error.external_id, error.tenant = _identity(fields)[:MAX_TEXT], fields.get("accountcode", "")[:MAX_TEXT]
        return error.with_traceback(None)  # a value from here on: let go of the frames it was raised in


def _fields(record: Record, columns: tuple[str, ...]) -> _Fields:
    """The row's values by column name. Raises Unreadable `unreadable_row`."""
    values = record.values
    if values is None:
        raise Unreadable("unreadable_row", "a quote is not closed or stands inside a value")
    if len(values) not in ((len(columns),) if columns else _COUNTS):
        raise Unreadable("unreadable_row", f"{len(values)} columns are not those of a Master.csv")
    fields = dict(zip(columns or _COLUMNS, map(clean, values), strict=False))
    if not fields.keys() >= _NEEDED:
        raise Unreadable("unreadable_row", f"no column is named {', '.join(sorted(_NEEDED - fields.keys()))}")
    if not columns and len(values) == 17 and re.search("[:=]", fields["uniqueid"]):
        # `loguniqueid = no` with `loguserfield = yes`: no uniqueid has a colon or an equals sign.
        fields["userfield"] = fields.pop("uniqueid")
    return fields


def _identity(fields: _Fields) -> str:
    uniqueid, sequence = fields.get("uniqueid", ""), fields.get("sequence", "")
    if uniqueid:
        return f"{uniqueid}/{sequence}" if sequence else uniqueid
    if not fields:
        return ""
    values = "\x1f".join(f"{name}={value}" for name, value in sorted(fields.items()))
    return "row-" + hashlib.sha256(values.encode("utf-8", "replace")).hexdigest()[:32]


def _meaning(fields: _Fields, zone: ZoneInfo, settings: SourceSettings) -> UsageEvent | Ignored:
    """What the row consumed. Time, seconds and disposition are read first, so a file of another layout is refused."""
    if fields["disposition"].upper() not in _DISPOSITIONS:
        raise Unreadable("unreadable_row", f"unknown disposition {fields['disposition'][:40]!r}")
    started_at, seconds = _time(fields["start"], zone), quantity(fields["billsec"], "billsec")
    items = re.split(r"[;,\s]+", fields.get("userfield", ""))
    fax = next((item for item in items if item.lower().startswith("fax:")), "")
    if fax:
        return _fax(fields, fax, started_at, items)
    reason = _not_billed(fields, settings.trunk_patterns)
    if reason:
        return Ignored(reason, *_call(fields, items)) if reason == "unanswered" else Ignored(reason)
    metered = "outbound" in settings.metered_directions
    return _event(fields, "voice_minutes", seconds, started_at, "outbound", metered, items)


def _not_billed(fields: _Fields, trunk_patterns: tuple[str, ...]) -> str:
    """The reason why a row is no billed call, or nothing."""
    far_end = fields["dstchannel"]
    if fields["disposition"].upper() != "ANSWERED":
        return "unanswered"
    if fields["lastapp"].lower() != "dial":
        return "not_dial"
    if trunk_patterns:
        return "" if any(fnmatchcase(far_end, pattern) for pattern in trunk_patterns) else "not_trunk"
    if far_end.startswith("Local/"):
        return "local_channel"
    return "" if far_end else "not_trunk"


def _fax(fields: _Fields, fax: str, started_at: datetime, items: list[str]) -> UsageEvent | Ignored:
    """Pages of `fax:SUCCESS:pages=N…`, sent or received, always metered."""
    _, result, *details = fax.split(":")
    if result.upper() != "SUCCESS":
        return Ignored("fax_failed", *_call(fields, items))
    pages = next((detail[6:] for detail in details if detail.lower().startswith("pages=")), "")
    direction = _FAX_DIRECTIONS.get(fields["lastapp"].lower(), "")
    return _event(fields, "fax_pages", quantity(pages, "pages"), started_at, direction, True, items)


def _event(
    fields: _Fields, resource: str, amount: int, started_at: datetime, direction: str, metered: bool, items: list[str]
) -> UsageEvent:
    tenant, identity = fields["accountcode"], _identity(fields)
    if not tenant or len(tenant) > MAX_TEXT:
        raise Unreadable("unknown_tenant", "the row has no accountcode")
    if len(identity) > MAX_TEXT:
        raise Unreadable("unreadable_row", "the uniqueid is too long")
    call_id, hold = _call(fields, items)
    return UsageEvent(
        external_id=identity,
        tenant=tenant,
        resource=resource,
        quantity=amount,
        occurred_at=started_at,
        metered=metered,
        direction=direction,
        caller=fields.get("src", "")[:MAX_TEXT],
        callee=fields.get("dst", "")[:MAX_TEXT],
        call_id=call_id,
        hold=hold,
        attributes={name: fields[name] for name in ("clid", "channel", "dstchannel") if fields.get(name)},
    )


def _call(fields: _Fields, items: list[str]) -> tuple[str, str]:
    """The call that the row belongs to, and the hold that its `userfield` names."""
    hold = next((item[5:] for item in items if item.lower().startswith("hold=")), "")
    return (fields.get("linkedid") or fields.get("uniqueid", ""))[:MAX_TEXT], hold[:MAX_TEXT]


def _time(text: str, zone: ZoneInfo) -> datetime:
    """`YYYY-MM-DD hh:mm:ss` in the source's time zone, or a time with its own offset; aware UTC."""
    try:
        moment = datetime.fromisoformat(text) if re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T]", text) else None
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unreadable("unreadable_time", f"not a start time: {text[:40]!r}") from error
    raise Unreadable("unreadable_time", f"not a start time: {text[:40]!r}")

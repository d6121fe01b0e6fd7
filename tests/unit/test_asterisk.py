"""Asterisk's Master.csv, read by the rules of app/pbx/README.md."""

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.pbx.asterisk import Row, parse_csv

CAPTURED = Path(__file__).parents[1] / "data" / "captured"
MASTER = (CAPTURED / "asterisk22_master_real.csv").read_text()
DEFAULT = SourceSettings()
ROW = {
    "accountcode": "acme",
    "src": "alice",
    "dst": "4420123456",
    "dcontext": "from-tenant",
    "clid": '"sipp" <alice>',
    "channel": "PJSIP/tenant-a-00000000",
    "dstchannel": "PJSIP/carrier-00000001",
    "lastapp": "Dial",
    "lastdata": "PJSIP/4420123456@carrier,30",
    "start": "2026-11-22 20:18:18",
    "answer": "2026-11-22 20:18:18",
    "end": "2026-11-22 20:18:23",
    "duration": "4",
    "billsec": "4",
    "disposition": "ANSWERED",
    "amaflags": "DOCUMENTATION",
    "uniqueid": "1795378698.0",
    "userfield": "",
    "peeraccount": "acme",
    "linkedid": "1795378690.7",
    "sequence": "12",
}


def line(columns: int = 21, **changes: str) -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow([*(ROW | changes).values()][:columns])
    return out.getvalue()


def rows(text: str, settings: SourceSettings = DEFAULT) -> list[Row]:
    return list(parse_csv(text, settings))


def only(text: str, settings: SourceSettings = DEFAULT) -> Any:
    (row,) = rows(text, settings)
    return row.outcome


def code(outcome: Any) -> str:
    assert isinstance(outcome, Unreadable)
    return outcome.code


# The captured files


def test_the_captured_answered_call_is_four_seconds_of_its_tenant() -> None:
    assert rows(MASTER)[0].outcome == UsageEvent(
        external_id="1795378698.0/0",
        tenant="acme",
        resource="voice_minutes",
        quantity=4,
        occurred_at=datetime(2026, 11, 22, 20, 18, 18, tzinfo=UTC),
        direction="outbound",
        caller="alice",
        callee="4420123456",
        call_id="1795378698.0",
        attributes={
            "clid": '"sipp" <alice>',
            "channel": "PJSIP/tenant-a-00000000",
            "dstchannel": "PJSIP/carrier-00000001",
        },
    )


def test_the_captured_denied_call_is_unanswered_and_the_cut_one_counts() -> None:
    _, denied, cut = (row.outcome for row in rows(MASTER))
    assert denied == Ignored("unanswered", call_id="1795378703.3")
    assert isinstance(cut, UsageEvent)
    assert (cut.external_id, cut.quantity) == ("1795378703.5/3", 3)


def test_a_file_of_cdr_custom_is_refused_row_by_row() -> None:
    read = rows((CAPTURED / "asterisk22_cdr_custom_real.csv").read_text())
    assert [(row.line_number, code(row.outcome)) for row in read] == [(n, "unreadable_row") for n in (1, 2, 3)]


def test_the_lines_of_an_open_file_read_like_its_text() -> None:
    with (CAPTURED / "asterisk22_master_real.csv").open(newline="") as file:
        assert [row.outcome for row in parse_csv(file, DEFAULT)] == [row.outcome for row in rows(MASTER)]
    assert [row.outcome for row in rows(MASTER.replace("\n", "\r\n"))] == [row.outcome for row in rows(MASTER)]


# Columns and identity


@pytest.mark.parametrize(("columns", "identity"), [(17, "1795378698.0"), (18, "1795378698.0"), (21, "1795378698.0/12")])
def test_the_identity_is_uniqueid_and_sequence_as_far_as_the_file_has_them(columns: int, identity: str) -> None:
    assert only(line(columns)).external_id == identity


def test_a_row_without_uniqueid_is_known_by_what_it_says() -> None:
    first, again, other = rows(line(16) + line(16) + line(16, end="2026-11-22 20:18:24"))
    assert isinstance(first.outcome, UsageEvent)
    assert isinstance(other.outcome, UsageEvent)
    assert first.outcome == again.outcome
    assert first.outcome.external_id != other.outcome.external_id


def test_a_seventeenth_column_may_be_the_userfield() -> None:
    event = only(line(17, uniqueid="hold=h_7"))
    assert event.hold == "h_7"
    assert event.external_id.startswith("row-")


def test_linkedid_ties_the_rows_of_a_call_together() -> None:
    assert only(line(21)).call_id == "1795378690.7"
    assert only(line(18)).call_id == "1795378698.0"


@pytest.mark.parametrize("columns", [1, 15, 19, 20, 22])
def test_any_other_number_of_columns_is_an_unreadable_row(columns: int) -> None:
    assert code(only(line(21).rstrip() + ',"x"' if columns == 22 else line(columns))) == "unreadable_row"


def test_a_header_names_the_columns_in_any_order() -> None:
    names = ["Uniqueid", "calldate", "accountcode", "dstchannel", "lastapp", "billsec", "disposition", "extra"]
    values = ["9.1", "2026-11-22 20:18:18", "acme", "PJSIP/carrier-1", "Dial", "61", "ANSWERED", "?"]
    (row,) = rows("\ufeff" + ",".join(names) + "\n" + ",".join(values) + "\n")
    assert isinstance(row.outcome, UsageEvent)
    assert (row.line_number, row.outcome.external_id, row.outcome.quantity) == (2, "9.1", 61)


def test_a_header_without_a_needed_column_leaves_no_row_readable() -> None:
    outcome = only("billsec,disposition\n4,ANSWERED\n")
    assert code(outcome) == "unreadable_row"
    assert "accountcode, dstchannel, lastapp, start" in outcome.detail


# What is billed


@pytest.mark.parametrize(
    ("changes", "patterns", "reason"),
    [
        ({}, (), ""),
        ({"lastapp": "dial"}, (), ""),
        ({"disposition": "NO ANSWER"}, (), "unanswered"),
        ({"disposition": "BUSY"}, (), "unanswered"),
        ({"lastapp": "Queue"}, (), "not_dial"),
        ({"lastapp": "AppDial"}, (), "not_dial"),
        ({"dstchannel": "Local/101@default-0001;1"}, (), "local_channel"),
        ({"dstchannel": ""}, (), "not_trunk"),
        ({}, ("SIP/other-*",), "not_trunk"),
        ({}, ("SIP/other-*", "PJSIP/carrier-*"), ""),
        ({"dstchannel": "Local/x@out-1;1"}, ("Local/*@out-*",), ""),
    ],
)
def test_answered_dials_to_a_trunk_are_billed_and_the_rest_is_ignored_with_a_reason(
    changes: dict[str, str], patterns: tuple[str, ...], reason: str
) -> None:
    outcome = only(line(**changes), SourceSettings(trunk_patterns=patterns))
    assert outcome.reason == reason if reason else isinstance(outcome, UsageEvent)


@pytest.mark.parametrize(
    ("changes", "ignored"),
    [
        ({"disposition": "BUSY"}, Ignored("unanswered", "1795378690.7")),
        ({"disposition": "BUSY", "linkedid": ""}, Ignored("unanswered", "1795378698.0")),
        ({"disposition": "FAILED", "userfield": "rid=1;hold=h_7"}, Ignored("unanswered", "1795378690.7", "h_7")),
        ({"userfield": "fax:FAILED:pages=1,hold=h_7"}, Ignored("fax_failed", "1795378690.7", "h_7")),
        ({"lastapp": "Queue", "userfield": "hold=h_7"}, Ignored("not_dial")),
    ],
)
def test_a_call_without_talk_names_what_it_frees(changes: dict[str, str], ignored: Ignored) -> None:
    assert only(line(**changes)) == ignored


def test_a_row_without_accountcode_goes_to_quarantine_only_when_it_would_be_billed() -> None:
    billed, free = rows(line(accountcode="") + line(accountcode="", lastapp="Queue"))
    assert isinstance(billed.outcome, Unreadable)
    assert (billed.outcome.code, billed.outcome.external_id) == ("unknown_tenant", "1795378698.0/12")
    assert free.outcome == Ignored("not_dial")


def test_outbound_calls_are_metered_when_the_source_says_so() -> None:
    assert only(line()).metered
    assert not only(line(), SourceSettings(metered_directions=("inbound",))).metered


# userfield


@pytest.mark.parametrize(
    ("userfield", "pages", "hold"),
    [
        ("fax:SUCCESS:pages=3", 3, ""),
        ("fax:SUCCESS:pages=3:remote=4930;hold=h_7", 3, "h_7"),
        ("hold=h_7, fax:SUCCESS:rate=9600:pages=12", 12, "h_7"),
        ("rid=1 hold=h_7", None, "h_7"),
    ],
)
def test_userfield_holds_fax_pages_and_the_hold_among_other_items(userfield: str, pages: int | None, hold: str) -> None:
    event = only(line(userfield=userfield))
    assert event.hold == hold
    assert (event.resource, event.quantity) == (("fax_pages", pages) if pages else ("voice_minutes", 4))


@pytest.mark.parametrize(
    ("lastapp", "direction"), [("ReceiveFAX", "inbound"), ("SendFAX", "outbound"), ("Dial", "outbound"), ("Hangup", "")]
)
def test_a_fax_need_not_be_a_dial_and_is_always_metered(lastapp: str, direction: str) -> None:
    settings = SourceSettings(metered_directions=())
    event = only(line(lastapp=lastapp, dstchannel="", userfield="fax:SUCCESS:pages=2"), settings)
    assert (event.quantity, event.direction, event.metered) == (2, direction, True)


def test_a_fax_that_failed_is_neither_pages_nor_voice() -> None:
    assert only(line(userfield="fax:FAILED:pages=1")).reason == "fax_failed"


@pytest.mark.parametrize(
    "userfield", ["fax:SUCCESS", "fax:SUCCESS:pages=", "fax:SUCCESS:pages=x", "fax:SUCCESS:pages=-1"]
)
def test_a_fax_without_a_page_count_is_unreadable(userfield: str) -> None:
    assert code(only(line(userfield=userfield))) == "unreadable_quantity"


# Times and numbers


@pytest.mark.parametrize(
    ("start", "zone", "expected"),
    [
        ("2026-11-22 20:18:18", "UTC", datetime(2026, 11, 22, 20, 18, 18, tzinfo=UTC)),
        ("2026-11-22 20:18:18", "Europe/Berlin", datetime(2026, 11, 22, 19, 18, 18, tzinfo=UTC)),
        ("2026-07-01 00:30:00", "Europe/Berlin", datetime(2026, 6, 30, 22, 30, tzinfo=UTC)),
        ("2026-07-01T00:30:00+00:00", "Europe/Berlin", datetime(2026, 7, 1, 0, 30, tzinfo=UTC)),
    ],
)
def test_times_are_in_the_time_zone_of_the_source(start: str, zone: str, expected: datetime) -> None:
    assert only(line(start=start), SourceSettings(time_zone=zone)).occurred_at == expected


@pytest.mark.parametrize(
    "start", ["", "soon", "2026-13-01 00:00:00", "22.11.2026 20:18", "1795378698.881969", "20261122"]
)
def test_a_start_that_is_no_time_is_unreadable(start: str) -> None:
    assert code(only(line(start=start))) == "unreadable_time"


def test_a_time_at_the_edge_of_the_calendar_is_unreadable() -> None:
    assert code(only(line(start="0001-01-01 00:00:00"), SourceSettings(time_zone="Asia/Tokyo"))) == "unreadable_time"


@pytest.mark.parametrize("billsec", ["", "-4", "4.2", "four", "9" * 25, "9" * 5000])
def test_seconds_that_are_no_number_are_an_unreadable_quantity(billsec: str) -> None:
    assert code(only(line(billsec=billsec))) == "unreadable_quantity"


def test_an_unknown_disposition_is_an_unreadable_row() -> None:
    assert code(only(line(disposition="PARKED"))) == "unreadable_row"


# One broken row spoils no other


BROKEN = [
    'acme","x',
    '"acme","never closed,1,2',
    '"acme",' + '"x"y,' * 20 + '""',
    line(billsec="x").rstrip(),
    "\x00",
    ",,,",
    line(21)[:100],
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_row_carries_its_line_number_and_spoils_no_other(broken: str) -> None:
    before, bad, after = rows(f"{line()}\n{broken}\n{line(sequence='13')}")
    assert isinstance(before.outcome, UsageEvent)
    assert isinstance(bad.outcome, Unreadable)
    assert (bad.line_number, bad.outcome.detail.partition(":")[0]) == (3, "line 3")
    assert isinstance(after.outcome, UsageEvent)
    assert (after.line_number, after.outcome.external_id) == (4, "1795378698.0/13")


def test_two_quotes_that_never_close_spoil_only_their_own_rows() -> None:
    read = rows(BROKEN[1] + "\n" + line() + BROKEN[1] + "\n" + line())
    assert [isinstance(row.outcome, UsageEvent) for row in read] == [False, True, False, True]


def test_a_quoted_value_may_hold_line_ends() -> None:
    first, second = rows(line(clid="\"two\nlines, and\n\n'more'\" <1>") + line())
    assert isinstance(first.outcome, UsageEvent)
    assert first.raw.count("\n") == 3
    assert (first.line_number, second.line_number) == (1, 5)


def test_raw_is_the_row_as_it_stood() -> None:
    assert [row.raw for row in rows(MASTER)] == MASTER.splitlines()


def test_what_no_database_keeps_is_kept_out_of_every_value() -> None:
    (row,) = rows(line(clid="a\x00b\ud800c"))
    assert isinstance(row.outcome, UsageEvent)
    assert row.outcome.attributes["clid"] == "ab?c"
    assert "\x00" not in row.raw.encode().decode()


@given(
    st.text() | st.text('",\n\r;acme0 ') | st.lists(st.sampled_from([*BROKEN, line(), line(16), "\n"])).map("\n".join)
)
def test_any_text_gives_rows_in_order_and_no_exception(text: str) -> None:
    read = rows(text)
    assert [row.line_number for row in read] == sorted({row.line_number for row in read})
    assert all(isinstance(row.outcome, UsageEvent | Ignored | Unreadable) for row in read)


@given(st.lists(st.sampled_from([*BROKEN, line().rstrip(), line(16).rstrip()]), max_size=12))
def test_every_whole_row_is_read_whatever_stands_around_it(lines: list[str]) -> None:
    whole = sum(item not in BROKEN for item in lines)
    assert sum(isinstance(row.outcome, UsageEvent) for row in rows("\n".join(lines))) == whole

"""What could not be counted: shown, replayed, discarded."""

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, Invalid
from app.core.usage import Ignored, SourceSettings, Unreadable, UsageEvent
from app.db import run_in_transaction, unit_of_work
from app.domain.metering import quarantine
from app.domain.metering.ingest import ingest
from app.domain.metering.models import Meter, Quarantined, UsageRecord
from app.domain.metering.reports import Report
from app.pbx.generic import decode_events
from app.pbx.reread import reread

LEG = json.dumps(
    {
        "variables": {
            "uuid": "leg-1", "billing_tenant": "acme", "billsec": "61", "call_direction": "outbound",
            "start_epoch": "1795381200", "answer_epoch": "1795381201", "end_epoch": "1795381262",
        }
    }
)  # fmt: skip


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def keep(make, now):
    """`keep(tenant="acme", …)`: one event as a source sent it, set aside because it cannot be counted."""
    source = make.source()

    def kept(event_id="evt-1", tenant="acme", resource="voice_minutes", **attributes):
        event = {"id": event_id, "tenant": tenant, "resource": resource, "quantity": 60, "attributes": attributes}
        body = json.dumps({**event, "occurred_at": now.isoformat()})
        decoded = decode_events(body.encode(), "application/json")[0]
        report = Report(decoded.outcome, body, "event", "application/json")
        run_in_transaction(lambda act: ingest(act, source.id, [report], now=now))

    return kept


def entries(session):
    session.expire_all()
    return list(session.scalars(select(Quarantined).order_by(Quarantined.id)))


def ready(make, name="Acme", **limits):
    tenant = make.tenant(name)
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000, **limits}))
    return tenant


def test_an_entry_says_why_in_words_and_what_would_help(staff, keep):
    keep(tenant="acme.example", note="<script>alert(1)</script>")
    page = staff.get("/provider/quarantine").get_data(as_text=True)
    assert "No tenant is known by that name" in page and "Demo" not in page
    assert "domain=acme.example" in page and "slug=acme" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_a_reason_narrows_the_list_as_page_and_as_fragment(make, staff, keep):
    ready(make)
    keep("a", tenant="nobody")
    keep("b", resource="video_minutes")
    page = staff.get("/provider/quarantine?reason=unknown_resource").get_data(as_text=True)
    assert "id b" in page and "id a<" not in page
    fragment = staff.fragment("/provider/quarantine?reason=unknown_resource", "div#entries").get_data(as_text=True)
    assert fragment.lstrip().startswith('<div id="entries"') and "id b" in fragment


def test_older_entries_are_a_page_away(staff, keep):
    for number in range(quarantine.PAGE_SIZE + 3):
        keep(f"evt-{number}", tenant="nobody")
    page = staff.get("/provider/quarantine").get_data(as_text=True)
    assert page.count('<article class="card kept"') == quarantine.PAGE_SIZE
    older = re.search(r'href="([^"]+)" rel="next"', page)[1].replace("&amp;", "&")
    assert staff.get(older).get_data(as_text=True).count('<article class="card kept"') == 3


def test_the_list_costs_the_same_however_long_it_is(staff, keep, count_statements):
    counts = []
    for number in (1, 15):
        for each in range(number):
            keep(f"evt-{number}-{each}", tenant=f"nobody-{each}")
        with count_statements() as seen:
            staff.get("/provider/quarantine")
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_a_replay_counts_what_was_set_aside_once(make, staff, keep, session):
    keep()
    ready(make)
    url = f"/provider/quarantine/{entries(session)[0].id}/replay"
    assert "1 report is counted now." in staff.submit(url, follow_redirects=True).get_data(as_text=True)
    assert (entries(session)[0].resolution, session.scalar(select(Meter.used))) == ("replayed", 60)
    assert staff.submit(url).status_code == 409
    assert session.scalar(select(Meter.used)) == 60


def test_a_replay_that_fails_stays_one_entry_under_the_reason_of_today(make, staff, keep, session):
    keep()
    make.tenant()  # known now, and without a package
    entry = entries(session)[0]
    page = staff.submit(f"/provider/quarantine/{entry.id}/replay", follow_redirects=True).get_data(as_text=True)
    assert "still cannot be counted: the tenant had no package at that time" in page
    (after,) = entries(session)
    assert (after.reason, after.detail, after.resolved_at) == ("no_subscription", "The tenant has no package.", None)


def test_everything_like_it_is_replayed_together(make, staff, keep, session):
    for number in range(3):
        keep(f"evt-{number}")
    keep("other", tenant="nobody")
    ready(make)
    first = entries(session)[0]
    page = staff.submit(f"/provider/quarantine/{first.id}/replay", {"like": "1"}, follow_redirects=True)
    assert "3 reports are counted now." in page.get_data(as_text=True)
    assert [entry.external_id for entry in entries(session) if entry.resolved_at is None] == ["other"]
    assert session.scalar(select(Meter.used)) == 180


def test_what_was_sent_again_meanwhile_is_closed_as_a_repeat(make, keep, staff, session):
    keep()
    ready(make)
    keep()  # the source sends it again, and now it is counted
    assert session.scalar(select(func.count()).select_from(UsageRecord)) == 1
    staff.submit(f"/provider/quarantine/{entries(session)[0].id}/replay")
    (entry,) = entries(session)
    assert (entry.resolution, session.scalar(select(Meter.used))) == ("duplicate", 60)


def test_a_report_read_for_the_first_time_gets_its_own_name(make, session, now):
    """An unreadable report is kept under its hash; once it can be read, a second failure finds the same row."""
    source = make.source()
    run_in_transaction(
        lambda act: ingest(
            act, source.id, [Report(Unreadable("unreadable_body", "no JSON"), LEG, "freeswitch")], now=now
        )
    )
    entry = entries(session)[0]
    assert quarantine.sent_id(entry) == ""
    outcome = reread(entry.body, entry.format, entry.content_type, quarantine.sent_id(entry), SourceSettings())
    with unit_of_work() as act:
        result = quarantine.replay(act, entry.id, outcome, actor="test", now=now)
    assert (result.status, result.code) == ("quarantined", "unknown_tenant")
    (after,) = entries(session)
    assert (after.external_id, after.reason) == ("leg-1", "unknown_tenant")


def test_what_turns_out_to_be_no_usage_is_closed(keep, session, now):
    keep()
    entry = entries(session)[0]
    with unit_of_work() as act:
        assert quarantine.replay(act, entry.id, Ignored("unanswered"), actor="test", now=now).status == "ignored"
    assert entries(session)[0].resolution == "ignored"


def test_discarding_asks_why_and_keeps_the_report(staff, keep, session):
    keep()
    entry = entries(session)[0]
    url = f"/provider/quarantine/{entry.id}/discard"
    assert entry.external_id in staff.get(url).get_data(as_text=True)
    answer = staff.submit(url, {"why": " "})
    assert answer.status_code == 422 and 'id="why-error"' in answer.get_data(as_text=True)
    assert staff.submit(url, {"why": "a test call"}).status_code == 303
    (after,) = entries(session)
    assert (after.resolution, after.body) == ("discarded", entry.body)
    assert staff.get(url).status_code == 409


def test_an_entry_is_closed_once(keep, session, now):
    keep()
    entry_id = entries(session)[0].id
    with unit_of_work() as act:
        quarantine.discard(act, [entry_id], "a test call", actor="test", now=now)
    with pytest.raises(Conflict), unit_of_work() as act:
        quarantine.discard(act, [entry_id], "again", actor="test", now=now)
    with pytest.raises(Invalid), unit_of_work() as act:
        quarantine.discard(act, [entry_id], "", actor="test", now=now)


@pytest.mark.parametrize("path", ["/provider/quarantine", "/provider/quarantine/{id}/discard"])
@pytest.mark.databases("sqlite")
def test_quarantine_is_open_to_staff_alone(make, login, client, keep, session, path):
    keep()
    path = path.format(id=entries(session)[0].id)
    assert login(make.staff()).get(path).status_code == 200
    assert login(make.user(make.tenant())).get(path).status_code == 404
    assert client.get(path).headers["Location"].startswith("/login")


def test_every_format_is_read_again_by_its_own_parser(now):
    leg = reread(LEG, "freeswitch", "application/json", "leg-1", SourceSettings())
    assert isinstance(leg, UsageEvent) and (leg.external_id, leg.quantity) == ("leg-1", 61)
    event = json.dumps(
        {
            "specversion": "1.0", "id": "1", "source": "s", "type": "fax_pages", "subject": "acme",
            "time": (now - timedelta(hours=1)).isoformat(), "data": {"quantity": 2},
        }
    )  # fmt: skip
    cloud = reread(event, "event", "application/cloudevents-batch+json; charset=utf-8", "s 1", SourceSettings())
    assert isinstance(cloud, UsageEvent) and cloud.external_id == "s 1"
    for body, format in (
        ("{", "event"),
        ("[]", "event"),
        ("nonsense", "freeswitch"),
        ("a,b", "asterisk"),
        ("", "asterisk"),
    ):
        assert isinstance(reread(body, format, "", "", SourceSettings()), Unreadable), (body, format)

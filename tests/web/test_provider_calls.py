"""Calls in progress and without a CDR, and the release of one that is stuck."""

import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select

from app.db import run_in_transaction
from app.domain.audit.models import AuditEntry
from app.domain.metering import call_list, holds, meters
from app.domain.metering.models import Hold
from app.domain.tenants.models import Tenant

LIMITS = {"voice_minutes": 60_000, "concurrent_calls": 100}


@pytest.fixture
def package(make):
    return make.package("gold", LIMITS)


@pytest.fixture
def tenant(make, package):
    """`tenant(name)`: one that may call."""

    def subscribed(name):
        made = make.tenant(name, country="DE")
        make.subscribe(made, package)
        return made

    return subscribed


@pytest.fixture
def acme(tenant):
    return tenant("Acme")


@pytest.fixture
def source(make):
    return make.source("pbx1", name="Main PBX")


@pytest.fixture
def staff(make, login):
    return login(make.staff())


@pytest.fixture
def left(session, acme, now):
    """Seconds left, and calls in progress, as the meters say."""

    def read():
        session.rollback()
        session.expire_all()
        found = meters.current(session, session.get_one(Tenant, acme.id), now=now).meters
        by_code = {view.resource_code: view for view in found}
        return by_code["voice_minutes"].remaining, by_code["concurrent_calls"].used

    return read


def rows(answer):
    """The cells of each row as text."""
    body = re.search(r"<tbody>(.*?)</tbody>", answer.text, re.S)
    found = re.findall(r"<tr>(.*?)</tr>", body[1], re.S) if body else []
    return [
        [" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in found
    ]  # fmt: skip


def test_a_call_in_progress_says_whose_it_is_and_what_it_holds(staff, make, acme, source):
    assert "No call in progress" in staff.get("/provider/calls").text
    make.call(acme, source=source, seconds=600, caller="101", callee="030901820", direction="outbound", call_id="c1")
    (row,) = rows(staff.get("/provider/calls"))
    assert row[:4] == [
        "Today 21:00 UTC Main PBX", "Acme", "101 → to +49 30 901820 outbound · id c1", "10 minutes",
    ]  # fmt: skip
    assert row[4] == "in progress at most until Today 21:12 UTC"
    assert re.search(r'Calls in progress</dt><dd><b><a href="/provider/calls">1<', staff.get("/provider").text)


def test_a_call_without_a_cdr_is_listed_until_it_comes(staff, make, acme, source, now):
    over = make.call(acme, source=source, call_id="over")
    make.call(acme, source=source, call_id="expired", at=now - timedelta(hours=1))
    silent = make.call(acme, source=source, call_id="never talked")
    make.hang_up(over, source=source, seconds=30)
    make.hang_up(silent, source=source, seconds=0)
    run_in_transaction(lambda act: holds.expire(act, now=now))
    assert rows(staff.get("/provider/calls")) == []
    shown = rows(staff.get("/provider/calls?state=unsettled"))
    assert [row[2].split()[-1] for row in shown] == ["over", "expired"]
    assert [row[4] for row in shown] == ["over CDR until Today 21:02 UTC", "given up Today 21:00 UTC"]
    assert [row[5] != "" for row in shown] == [True, False]  # only what is open can be released
    for call_id in ("over", "expired"):
        make.usage(acme, 30, source=source, call_id=call_id)
    assert "Every call has its CDR" in staff.get("/provider/calls?state=unsettled").text


def test_a_stuck_call_is_released_exactly_once(staff, make, acme, source, left, session):
    granted = make.call(acme, source=source, seconds=600, call_id="stuck")
    make.call(acme, source=source, seconds=60, call_id="fine")
    assert left() == (59_340, 2)
    path = f"/provider/calls/{granted.hold}/release"
    assert path in staff.get("/provider/calls").text
    answer = staff.submit(path, {"text": "acme", "state": ""})
    assert (answer.status_code, answer.location) == (303, "/provider/calls?text=acme")
    page = staff.get("/provider/calls")
    assert "Released. What the call held is free again." in page.text and len(rows(page)) == 1
    assert left() == (59_940, 1)
    again = staff.submit(path, follow_redirects=True).text
    assert "had ended meanwhile" in again and left() == (59_940, 1)
    hold = session.get(Hold, granted.hold)
    assert (hold.ended_as, hold.ended_at is None) == ("released", False)
    (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.act == "hold.release"))
    assert (entry.subject, entry.tenant_id, entry.details["call"]) == ("tenant:acme", acme.id, "stuck")
    assert "A stuck call released" in staff.get("/provider/tenants/acme").text
    make.usage(acme, 30, source=source, call_id="stuck")  # its CDR counts after all
    assert left() == (59_910, 1)


def test_the_lists_are_filtered_by_tenant_and_source(staff, make, tenant, acme, source):
    globex, other = tenant("Globex"), make.source("pbx2")
    make.call(acme, source=source)
    make.call(globex, source=source)
    make.call(globex, source=other)
    assert [row[1] for row in rows(staff.get("/provider/calls?text=glob"))] == ["Globex", "Globex"]
    assert [row[1] for row in rows(staff.get("/provider/calls?source=pbx1"))] == ["Globex", "Acme"]
    assert len(rows(staff.get("/provider/calls?source=pbx2&text=globex"))) == 1
    assert "No call fits" in staff.get("/provider/calls?text=nobody").text
    assert len(rows(staff.get("/provider/calls?state=nonsense%00&after=nonsense"))) == 3


def test_nobody_else_may_look_or_release(staff, make, acme, source, login, left):
    granted = make.call(acme, source=source, seconds=600)
    office = login(make.user(acme))
    assert office.get("/provider/calls").status_code == 404
    assert office.submit(f"/provider/calls/{granted.hold}/release").status_code == 404
    assert staff.post(f"/provider/calls/{granted.hold}/release").status_code == 400  # without the page's token
    for name in ("nonsense", "h_1_2", f"h_ff_{granted.hold.id:x}"):
        assert staff.submit(f"/provider/calls/{name}/release").status_code == 404
    assert left() == (59_400, 1)


def test_a_long_list_is_paged_as_a_fragment_and_costs_the_same(staff, make, acme, source, count_statements):
    costs = []
    for wanted in (1, call_list.PAGE_SIZE + 2):
        for number in range(wanted):
            make.call(acme, source=source, call_id=f"{wanted}-{number}")
        with count_statements() as seen:
            page = staff.fragment("/provider/calls", "section#call_rows")
        costs.append(seen.texts)
    assert costs[0] == costs[1]
    assert page.text.lstrip().startswith('<section class="card" id="call_rows"')
    assert len(rows(page)) == call_list.PAGE_SIZE
    older = unescape(re.search(r'href="([^"]+)" rel="next"', page.text)[1])
    assert len(rows(staff.get(older))) == 3

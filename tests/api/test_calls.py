"""May this call go on? Holds as machines see them, and as the meters do."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import func, select

from app.db import db, run_in_transaction, unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Resource
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering import calls, holds
from app.domain.metering.decision import Call, Terms
from app.domain.metering.models import NO_PERIOD, Hold, Meter, Refusal
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

LIMITS = (LimitSpec("voice_minutes", 6_000), LimitSpec("fax_pages", 2), LimitSpec("concurrent_calls", 5))
TERMS = Terms(1800, 120, ("outbound",))


@pytest.fixture
def acme(make, now):
    """A tenant with 100 minutes, two fax pages and five calls at once, all of which block."""
    tenant = make.tenant("Acme", domain="acme.example", account_code="acme-1", timezone="Europe/Berlin")
    make.subscribe(tenant, make.package("gold", LIMITS), started_at=now - timedelta(days=21))
    return tenant


@pytest.fixture
def ask(machine, acme):
    """`ask(act, **body)`: the JSON answer of a call-control request that is answered with 200."""

    def call(act="authorize", **body):
        if act == "authorize":
            body = {"tenant": "acme", "call_id": "c1", "caller": "101", "callee": "44207", **body}
        answer = machine("POST", f"/api/v1/calls/{act}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json

    return call


@pytest.fixture
def line(machine, acme):
    """`line(act, **fields)`: the line a dialplan gets for form fields."""

    def call(act="authorize", status=200, headers=(), **fields):
        if act == "authorize":
            fields = {"tenant": "acme", "call_id": "c1", **fields}
        answer = machine("POST", f"/api/v1/calls/{act}", data=fields, headers={"Accept": "*/*", **dict(headers)})
        assert answer.status_code == status, answer.text
        assert answer.mimetype == "text/plain"
        return answer.text

    return call


@pytest.fixture
def meter(machine, acme):
    def read(resource="voice_minutes"):
        db.session.rollback()
        row = db.session.execute(
            select(func.sum(Meter.used), func.sum(Meter.on_hold)).where(
                Meter.tenant_id == acme.id, Meter.resource_code == resource
            )
        ).one()
        return tuple(int(value or 0) for value in row)

    return read


@pytest.fixture
def talked(machine, clock, now):
    """Report the talk of a call, as its CDR would."""

    def report(seconds, *, call_id="c1", hold="", event_id="cdr-1", resource="voice_minutes"):
        attributes = {"call_id": call_id, "hold": hold}
        event = {"id": event_id, "tenant": "acme", "resource": resource, "quantity": seconds}
        answer = machine(
            "POST", "/api/v1/usage", json={**event, "occurred_at": now.isoformat(), "attributes": attributes}
        )
        assert answer.status_code == 200, answer.text
        return answer.json["results"][0]["status"]

    return report


def the_hold(call_id="c1"):
    db.session.rollback()
    return db.session.scalars(select(Hold).where(Hold.call_id == call_id)).one()


def test_a_call_is_granted_what_it_asks_for_and_holds_it(ask, meter):
    answer = ask(seconds=600)
    assert answer["allowed"] is True and answer["seconds"] == 600
    assert answer["remaining"] == 5_400 and answer["hold"].startswith("h_")
    assert meter() == (0, 600) and meter("concurrent_calls") == (1, 0)


def test_a_call_that_asks_for_nothing_gets_the_configured_chunk(ask, now):
    with time_machine.travel(now, tick=False):
        answer = ask()
    assert answer["seconds"] == 1800
    assert answer["expires_at"] == "2026-11-22T21:32:00Z"  # half an hour and the grace


def test_the_same_call_asked_twice_is_one_hold(ask, meter):
    assert ask() == ask()
    assert meter() == (0, 1800) and meter("concurrent_calls") == (1, 0)


def test_the_last_grant_is_what_is_left_and_then_there_is_none(ask, meter):
    grants = [ask(call_id=f"c{number}")["seconds"] for number in range(4)]
    assert grants == [1800, 1800, 1800, 600]
    refused = ask(call_id="c5")
    assert refused == {
        "allowed": False,
        "seconds": 0,
        "reason": "quota_exhausted",
        "limit": {"resource": "voice_minutes", "included": 6_000, "used": 0, "on_hold": 6_000},
        "message": "What the package includes is used up or held by calls in progress.",
    }
    assert meter("concurrent_calls") == (4, 0)  # the refused call does not count


def test_concurrency_is_looked_at_before_the_quota(ask):
    for number in range(5):
        assert ask(call_id=f"c{number}", seconds=60)["allowed"]
    refused = ask(call_id="c6", seconds=60)
    assert refused["reason"] == "concurrency_reached"
    assert refused["limit"] == {"resource": "concurrent_calls", "included": 5, "used": 5, "on_hold": 0}


def test_a_suspended_tenant_is_refused_before_anything_else(ask, acme, now):
    with unit_of_work() as session:
        tenants.set_suspended(session, session.get_one(Tenant, acme.id), True, actor="test", now=now)
    assert ask()["reason"] == "tenant_suspended"


@pytest.mark.parametrize("where", ["package", "tenant"])
def test_a_blocked_destination_is_refused_after_the_subscription_and_before_concurrency(
    ask, make, acme, meter, session, now, where
):
    given = {"blocked_prefixes": "0900 1900"}
    with unit_of_work() as act:
        if where == "tenant":
            tenant = act.merge(acme)
            tenants.update(act, tenant, replace(tenants.profile_of(tenant), **given), actor="test", now=now)
        else:
            package, content = catalog.by_code(act, "gold"), PackageSpec("Gold", limits=LIMITS, **given)
            catalog.publish(act, package, content, actor="test", now=now)
    for number in range(5):
        assert ask(call_id=f"c{number}", seconds=60)["allowed"]
    for number, callee in enumerate(("+1 900 555 0100", "001900555", "1900555", "0900555", "sip:1900555@carrier")):
        refused = ask(call_id=f"p{number}", callee=callee)
        assert (refused["allowed"], refused["reason"]) == (False, "destination_blocked")
        assert refused["message"] and "limit" not in refused
    assert ask(call_id="more")["reason"] == "concurrency_reached"
    assert meter("concurrent_calls") == (5, 0)
    assert sorted(session.scalars(select(Refusal.reason))) == ["concurrency_reached"] + ["destination_blocked"] * 5


@pytest.mark.parametrize(
    ("callee", "direction"),
    [("190", "outbound"), ("+44900", "outbound"), ("anna1900", "outbound"), ("", "outbound"), ("1900555", "inbound")],
)
def test_what_is_not_an_external_number_of_that_beginning_is_not_blocked(ask, make, acme, callee, direction):
    make.subscribe(acme, make.package("no-premium", LIMITS, blocked_prefixes="19"))
    assert ask(callee=callee, direction=direction)["allowed"]


def test_a_destination_blocked_now_refuses_a_fax_and_leaves_a_call_in_progress(ask, make, acme):
    hold = ask(callee="1900555")["hold"]
    make.subscribe(acme, make.package("no-premium", LIMITS, blocked_prefixes="1900"))
    assert ask("renew", hold=hold)["allowed"]
    assert ask(call_id="c2", callee="1900555", kind="fax")["reason"] == "destination_blocked"


def test_who_is_unknown_or_without_package_is_refused_with_that_reason(ask, make):
    assert ask(tenant="nobody")["reason"] == "unknown_tenant"
    make.tenant("Globex")
    assert ask(tenant="GLOBEX")["reason"] == "no_subscription"


@pytest.mark.parametrize("at_limit", ["charge", "notify"])
def test_a_limit_that_does_not_block_grants_the_chunk(ask, make, acme, at_limit):
    make.subscribe(acme, make.package("open", (LimitSpec("voice_minutes", 60, at_limit, 10_000),)))
    answer = ask()
    assert (answer["seconds"], answer["remaining"]) == (1800, 0)


def test_an_unlimited_resource_grants_the_chunk_and_has_no_remainder(ask, make, acme):
    make.subscribe(acme, make.package("free", (LimitSpec("voice_minutes", None),)))
    answer = ask()
    assert (answer["seconds"], answer["remaining"]) == (1800, None)


@pytest.mark.parametrize("direction", ["inbound", "internal"])
def test_a_direction_that_is_not_metered_holds_no_quota_and_counts_as_a_call(ask, meter, direction):
    assert ask(direction=direction)["seconds"] == 1800
    assert meter() == (0, 0) and meter("concurrent_calls") == (1, 0)


def test_grants_are_whole_billing_steps(ask, app):
    with unit_of_work() as session:
        voice = session.get_one(Resource, "voice_minutes")
        voice.first_step, voice.next_step = 60, 60
        session.flush()
    assert ask(call_id="a", seconds=100)["seconds"] == 60
    assert ask(call_id="b", seconds=10)["seconds"] == 60


def test_a_refusal_keeps_the_least_that_would_have_been_enough(ask, talked, session):
    with unit_of_work() as act:
        voice = act.get_one(Resource, "voice_minutes")
        voice.first_step, voice.next_step = 60, 60
    talked(5_900)
    ask(call_id="a", seconds=60)
    assert ask(call_id="b", seconds=600)["reason"] == "quota_exhausted"
    (kept,) = session.scalars(select(Refusal))
    assert (kept.included, kept.carried_in, kept.used, kept.on_hold, kept.wanted) == (6_000, 0, 5_940, 60, 60)


def test_a_fax_holds_a_page(ask, meter):
    assert ask(kind="fax")["allowed"]
    assert meter("fax_pages") == (0, 1)
    assert ask(call_id="c2", kind="fax")["allowed"]
    assert ask(call_id="c3", kind="fax")["limit"] == {
        "resource": "fax_pages",
        "included": 2,
        "used": 0,
        "on_hold": 2,
    }


def test_a_cdr_settles_its_hold_by_the_call_id(ask, meter, talked):
    ask()
    assert talked(7) == "recorded"
    assert meter() == (7, 0) and meter("concurrent_calls") == (0, 0)
    assert (the_hold().ended_as, the_hold().reported_at is not None) == ("settled", True)


def test_a_cdr_settles_its_hold_by_name(ask, meter, talked):
    hold = ask()["hold"]
    talked(7, call_id="another", hold=hold)
    assert meter() == (7, 0)


def test_a_cdr_sent_again_frees_nothing_twice(ask, meter, talked):
    ask()
    ask(call_id="c2")
    assert [talked(7), talked(7)] == ["recorded", "duplicate"]
    assert meter() == (7, 1800) and meter("concurrent_calls") == (1, 0)


def test_a_cdr_of_another_tenant_settles_nothing(ask, make, machine, meter, now):
    hold = ask()["hold"]
    globex = make.tenant("Globex")
    make.subscribe(globex, make.package("silver", LIMITS), started_at=now - timedelta(days=3))
    event = {"id": "x", "tenant": "globex", "resource": "voice_minutes", "quantity": 5, "occurred_at": now.isoformat()}
    machine("POST", "/api/v1/usage", json={**event, "attributes": {"call_id": "c1", "hold": hold}})
    assert meter() == (0, 1800)


def test_the_end_of_a_call_frees_at_once_what_it_did_not_use(ask, meter, talked):
    hold = ask()["hold"]
    assert ask("end", hold=hold, seconds=7) == {"ended": True, "hold": hold}
    assert meter() == (0, 7) and meter("concurrent_calls") == (0, 0)
    assert ask("end", hold=hold, seconds=9) == {"ended": True, "hold": hold}  # again changes nothing
    assert meter() == (0, 7) and meter("concurrent_calls") == (0, 0)
    talked(8)  # the CDR is what is billed
    assert meter() == (8, 0) and the_hold().ended_as == "settled"


def test_a_call_that_did_not_talk_is_released_when_it_ends(ask, meter):
    ask("end", hold=ask()["hold"], seconds=0)
    assert meter() == (0, 0) and meter("concurrent_calls") == (0, 0)
    assert the_hold().ended_as == "released"
    assert ask()["allowed"]  # the next try of the same call has a hold of its own


def test_the_cdr_of_a_call_that_was_not_answered_releases_its_hold(ask, machine, meter):
    ask(call_id="leg-1")
    leg = '{"variables": {"uuid": "leg-1", "billing_tenant": "acme", "answer_epoch": "0", "start_epoch": "1795378241"}}'
    answer = machine("POST", "/api/v1/cdr/freeswitch", data=leg)
    assert answer.json["ignored"] == 1
    assert meter() == (0, 0) and the_hold("leg-1").ended_as == "released"


def asterisk_row(linkedid, disposition, userfield="", lastapp="Dial", sequence=0):
    """A row of Master.csv with all 21 columns."""
    talked = 4 if disposition == "ANSWERED" else 0
    values = (
        "acme", "101", "44207", "from-tenant", "", "PJSIP/acme-0", "PJSIP/carrier-1", lastapp, "",
        "2026-11-22 20:18:18", "", "2026-11-22 20:18:23", talked, talked, disposition, "DOCUMENTATION", linkedid,
        userfield, "", linkedid, sequence,
    )  # fmt: skip
    return ",".join(f'"{value}"' for value in values) + "\n"


@pytest.mark.parametrize("by", ["call", "name"])
@pytest.mark.parametrize("result", ["NO ANSWER", "BUSY", "FAILED", "fax:FAILED"])
def test_the_asterisk_row_of_a_call_that_was_not_answered_releases_its_hold(ask, machine, meter, by, result):
    hold, other = ask(call_id="177.1")["hold"], ask(call_id="177.2")["hold"]
    items = [f"hold={hold}"] if by == "name" else []
    fax = [result + ":error"] if result.startswith("fax") else []
    row = asterisk_row("177.1" if by == "call" else "elsewhere", "ANSWERED" if fax else result, ";".join(items + fax))
    for _ in range(2):  # a growing file is imported again
        answer = machine("POST", "/api/v1/cdr/asterisk", data=row, headers={"Content-Type": "text/csv"})
        assert answer.json == {"recorded": 0, "duplicates": 0, "ignored": 1, "quarantined": 0}
        assert meter() == (0, 1800) and meter("concurrent_calls") == (1, 0)
    assert the_hold("177.1").ended_as == "released"
    assert ask("renew", hold=other)["allowed"]


def test_an_asterisk_call_tried_on_two_trunks_is_settled_by_the_row_that_was_answered(ask, machine, meter):
    ask(call_id="177.1")
    rows = asterisk_row("177.1", "CONGESTION") + asterisk_row("177.1", "ANSWERED", sequence=1)
    machine("POST", "/api/v1/cdr/asterisk", data=rows, headers={"Content-Type": "text/csv"})
    assert meter() == (4, 0) and meter("concurrent_calls") == (0, 0)
    assert the_hold("177.1").ended_as == "settled"


def test_an_asterisk_row_of_another_application_frees_no_hold(ask, machine, meter):
    ask(call_id="177.1")
    row = asterisk_row("177.1", "ANSWERED", lastapp="Playback")
    machine("POST", "/api/v1/cdr/asterisk", data=row, headers={"Content-Type": "text/csv"})
    assert meter() == (0, 1800)


def test_an_expired_hold_is_free_for_the_next_call_and_its_cdr_still_counts(ask, meter, talked, clock):
    for number in range(4):
        ask(call_id=f"c{number}")
    assert not ask(call_id="late")["allowed"]
    clock.shift(timedelta(seconds=1921))
    assert ask(call_id="late")["allowed"]
    assert the_hold("c1").ended_as == "expired"
    assert talked(7, call_id="c1") == "recorded"
    assert meter() == (7, 1800)
    assert (the_hold("c1").ended_as, the_hold("c1").reported_at is not None) == ("expired", True)


@pytest.mark.parametrize("ended", [False, True])
def test_a_call_that_asks_again_after_its_hold_expired_has_a_new_one(ask, meter, clock, ended):
    """Whether a sweep came by or not: never leave to talk for no seconds, without a place among the calls at once."""
    first = ask()
    if ended:
        ask("end", hold=first["hold"], seconds=30)
    clock.shift(timedelta(seconds=1921))
    again = ask()
    assert (again["allowed"], again["seconds"]) == (True, 1800) and again["hold"] != first["hold"]
    assert meter() == (0, 1800) and meter("concurrent_calls") == (1, 0)


def test_a_hold_that_is_about_to_expire_still_answers_with_a_second(ask, clock):
    hold = ask()["hold"]
    clock.shift(timedelta(seconds=1919.5))
    again = ask()
    assert (again["hold"], again["seconds"]) == (hold, 1)


def test_a_sweep_expires_what_is_due(ask, meter, now):
    ask()
    sweep = lambda at: run_in_transaction(lambda session: holds.expire(session, now=at))  # noqa: E731
    assert sweep(now + timedelta(seconds=1919)) == 0
    assert [sweep(now + timedelta(seconds=1925)), sweep(now + timedelta(seconds=1925))] == [1, 0]
    assert meter() == (0, 0) and meter("concurrent_calls") == (0, 0)


def test_renewing_grants_another_chunk_from_now(ask, meter):
    hold = ask(seconds=600)["hold"]
    answer = ask("renew", hold=hold, seconds_used=590)
    assert (answer["allowed"], answer["seconds"], answer["hold"]) == (True, 1800, hold)
    assert meter() == (0, 2_390) and answer["remaining"] == 3_610


def test_a_renewal_gets_what_is_left_and_then_none(ask, meter):
    hold = ask(seconds=1800)["hold"]
    for number in range(2):
        ask(call_id=f"other{number}")
    assert ask("renew", hold=hold, seconds_used=1_700)["seconds"] == 700  # 600 were free, 100 not talked yet
    assert meter() == (0, 6_000)
    refused = ask("renew", hold=hold, seconds_used=2_400)
    assert (refused["allowed"], refused["reason"], refused["hold"]) == (False, "quota_exhausted", hold)


def test_a_renewal_that_is_refused_reserves_nothing(ask, meter):
    hold = ask(seconds=600)["hold"]
    refused = ask("renew", hold=hold, seconds_used=7_000)  # more than the 600 granted and the 5,400 free
    assert (refused["reason"], refused["limit"]["on_hold"]) == ("quota_exhausted", 600)
    assert meter() == (0, 600)


def test_a_renewal_without_seconds_counts_since_the_call_was_authorised(ask, clock, meter):
    hold = ask(seconds=600)["hold"]
    clock.shift(timedelta(seconds=500))
    answer = ask("renew", hold=hold)
    assert answer["seconds"] == 1800 and 2_300 <= meter()[1] <= 2_305


def test_a_renewal_of_a_suspended_tenant_or_an_ended_hold_is_refused(ask, acme, now):
    hold = ask()["hold"]
    with unit_of_work() as session:
        tenants.set_suspended(session, session.get_one(Tenant, acme.id), True, actor="test", now=now)
    assert ask("renew", hold=hold)["reason"] == "tenant_suspended"
    ask("end", hold=hold)
    assert ask("renew", hold=hold)["reason"] == "hold_ended"


@pytest.mark.parametrize("hold", ["h_1_2", "nonsense", "h_1", "h_-1_2", "h_" + "f" * 40 + "_1", "h_zz_1"])
def test_an_unknown_hold_is_not_found(machine, acme, hold):
    for act in ("renew", "end"):
        answer = machine("POST", f"/api/v1/calls/{act}", json={"hold": hold})
        assert (answer.status_code, answer.json["code"]) == (404, "unknown_hold")


def test_a_hold_of_another_source_is_not_found(ask, make, client):
    hold = ask()["hold"]
    headers = {"Authorization": f"Bearer {make.source('pbx2').key}"}
    assert client.post("/api/v1/calls/end", json={"hold": hold}, headers=headers).status_code == 404


def test_a_dialplan_gets_one_line(line, make):
    answer = line()
    verdict, seconds, hold, reason = answer.strip().split(",")
    assert (verdict, seconds, reason) == ("allow", "1800", "") and hold.startswith("h_")
    assert line("renew", hold=hold, seconds_used=10) == f"allow,1800,{hold},\n"
    assert line("end", hold=hold, seconds=12) == f"end,12,{hold},\n"
    assert line("renew", hold=hold) == f"deny,0,{hold},hold_ended\n"
    assert line(tenant="nobody") == "deny,0,,unknown_tenant\n"


def test_a_dialplan_reads_why_its_request_was_no_good(line):
    assert line(status=422, call_id="") == "deny,0,,invalid_body\n"
    assert line("renew", status=404, hold="h_1_2") == "deny,0,h_1_2,unknown_hold\n"


def test_a_field_that_a_dialplan_left_empty_is_one_it_did_not_send(line, meter):
    hold = line(seconds="", kind="", direction="").split(",")[2]
    assert line("renew", hold=hold, seconds_used="") == f"allow,1800,{hold},\n"
    assert line("end", hold=hold, seconds="") == f"end,0,{hold},\n"
    assert meter() == (0, 0)


@pytest.mark.parametrize("field", ["tenant", "call_id", "caller", "callee"])
def test_a_form_field_with_a_nul_is_refused_on_every_database(line, field):
    assert line(status=422, **{field: "a\0b"}) == "deny,0,,invalid_body\n"
    assert line("end", status=422, hold="h_1_2\0") == "deny,0,,invalid_body\n"


@pytest.mark.parametrize("seconds", ["1e3", "60.0", " 60", "+60", "6_0", "٦٠", "0x3c"])
def test_a_form_writes_a_number_in_digits_alone(machine, line, acme, seconds):
    assert line(status=422, seconds=seconds) == "deny,0,,invalid_body\n"
    data, headers = {"tenant": "acme", "call_id": "c1", "seconds": seconds}, {"Accept": "application/json"}
    answer = machine("POST", "/api/v1/calls/authorize", data=data, headers=headers)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/seconds")


def test_a_form_asked_for_json_says_which_field_is_wrong(machine, acme):
    fields = {"tenant": "acme", "call_id": "c1", "kind": "telex"}
    answer = machine("POST", "/api/v1/calls/authorize", data=fields, headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert answer.json["errors"] == [{"pointer": "/kind", "detail": "Invalid enum value 'telex'"}]


def test_accept_decides_over_the_form_of_the_question(machine, acme):
    fields = {"tenant": "acme", "call_id": "c1"}
    text = machine("POST", "/api/v1/calls/authorize", json=fields, headers={"Accept": "text/plain"})
    assert text.text.startswith("allow,1800,h_")
    json = machine("POST", "/api/v1/calls/authorize", data=fields, headers={"Accept": "application/json"})
    assert json.json["seconds"] == 1800
    assert text.text.split(",")[2] == json.json["hold"]


@pytest.mark.parametrize(
    "broken",
    [{"seconds": 0}, {"seconds": "many"}, {"kind": "telex"}, {"call_id": ""}, {"direction": "up"}, {"tenant": None}],
)
def test_a_question_that_makes_no_sense_is_a_422_that_says_where(machine, acme, broken):
    body = {"tenant": "acme", "call_id": "c1", **broken}
    answer = machine("POST", "/api/v1/calls/authorize", json=body)
    assert answer.status_code == 422 and answer.json["errors"][0]["pointer"] == f"/{next(iter(broken))}"


def test_a_key_without_the_scope_controls_no_calls(make, client, acme):
    headers = {"Authorization": f"Bearer {make.source('meter-reader', scopes=('usage',)).key}"}
    answer = client.post("/api/v1/calls/authorize", json={"tenant": "acme", "call_id": "c1"}, headers=headers)
    assert answer.status_code == 403


def test_a_refused_call_is_kept_once_with_its_limit(ask, acme):
    for number in range(4):
        ask(call_id=f"c{number}")
    for _ in range(3):
        ask(call_id="c5", caller="102", callee="4420")
    refusal = db.session.scalars(select(Refusal)).one()
    assert (refusal.reason, refusal.resource_code, refusal.included) == ("quota_exhausted", "voice_minutes", 6_000)
    assert (refusal.on_hold, refusal.call_id, refusal.caller, refusal.callee) == (6_000, "c5", "102", "4420")


def test_the_gate_answers_in_its_own_words(client, source, ask, make, acme, now):
    gate = lambda **query: client.get("/billing/gate", query_string={"key": source.key, **query}).json  # noqa: E731
    assert gate(tenant_id="acme", type="voice") == {"allowed": True, "reason": "ok"}
    assert gate(tenant_id="nobody") == {"allowed": False, "reason": "tenant-not-found"}
    make.tenant("Globex")
    assert gate(tenant_id="globex")["reason"] == "no-credit"
    ask(kind="fax", call_id="f1")
    ask(kind="fax", call_id="f2")
    assert gate(tenant_id="acme", type="fax")["reason"] == "quota-exceeded"
    for number in range(3):
        ask(call_id=f"c{number}", seconds=60)
    assert gate(tenant_id="acme")["reason"] == "max-concurrent-calls"
    assert client.get("/billing/gate?tenant_id=acme&key=rp_0_0").status_code == 401
    assert client.get("/billing/gate?tenant_id=acme").status_code == 401


def test_the_gate_opens_for_what_an_expired_hold_gave_back(client, source, ask, clock):
    for number in range(5):
        ask(call_id=f"c{number}", seconds=60)
    gate = lambda: client.get("/billing/gate", query_string={"key": source.key, "tenant_id": "acme"}).json  # noqa: E731
    assert gate()["reason"] == "max-concurrent-calls"
    clock.shift(timedelta(seconds=181))
    assert gate() == {"allowed": True, "reason": "ok"}


def test_the_gate_knows_no_tenant_with_a_nul_in_its_name(client, source):
    answer = client.get("/billing/gate", query_string={"key": source.key, "tenant_id": "a\0b"})
    assert (answer.status_code, answer.json["reason"]) == (200, "tenant-not-found")


def test_a_hundred_calls_at_once_with_room_for_ten_are_ten(app, make, source, acme):
    """Ten grants of ten minutes fit into what is included; every thread has a connection of its own."""
    make.subscribe(acme, make.package("tight", (LimitSpec("voice_minutes", 6_000),)))
    allowed = []

    def one(number):
        with app.app_context():
            call = Call("acme", f"call-{number}")
            act = lambda session: calls.authorize(session, source.id, call, replace(TERMS, seconds=600), now=make.now)  # noqa: E731
            allowed.append(run_in_transaction(act).allowed)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(allowed), sum(allowed)) == (100, 10)
    db.session.rollback()
    assert db.session.scalar(select(Meter.on_hold).where(Meter.resource_code == "voice_minutes")) == 6_000
    assert db.session.scalar(select(Meter.used).where(Meter.period_on == NO_PERIOD)) == 10


def test_an_authorisation_is_a_handful_of_statements(ask, count_statements):
    ask()
    with count_statements() as seen:
        ask(call_id="c2")
    assert len(seen) <= 6, seen.texts  # the key, the caller, two meters, the hold, COMMIT aside


def test_the_source_settings_say_what_is_metered(make, client, acme):
    source = make.source("all-in", metered_directions=("inbound", "outbound"))
    answer = client.post(
        "/api/v1/calls/authorize",
        json={"tenant": "acme", "call_id": "c9", "direction": "inbound"},
        headers={"Authorization": f"Bearer {source.key}"},
    )
    assert answer.json["remaining"] == 4_200


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(("fail_open", "status", "allowed"), [(False, 503, False), (True, 200, True)])
def test_without_a_database_the_gate_is_closed_unless_its_source_wants_it_open(
    client, make, acme, monkeypatch, fail_open, status, allowed
):
    from sqlalchemy.exc import OperationalError

    from app.api import gate

    source = make.source("ictpbx", fail_open=fail_open)
    ask = lambda key: client.get("/billing/gate", query_string={"tenant_id": "acme", "key": key})  # noqa: E731
    assert ask(source.key).json["allowed"]

    def away(*_, **__):
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    monkeypatch.setattr(gate, "require_key", away)
    answer = ask(source.key)
    assert (answer.status_code, answer.json["allowed"]) == (status, allowed)
    assert ask("rp_0_0").json["allowed"] is False  # a key that was never seen to be good opens nothing

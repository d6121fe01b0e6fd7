"""What real switches sent, through the API."""

import base64
import json
from datetime import timedelta
from urllib.parse import quote, unquote

import pytest
from sqlalchemy import select

from app.core.usage import SourceSettings
from app.db import db, run_in_transaction
from app.domain.metering.models import Quarantined
from app.domain.metering.quarantine import replay, sent_id
from app.pbx.reread import reread
from tests.api.conftest import CAPTURED, freeswitch_posts

JSON_TYPE = {"Content-Type": "application/json"}
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


def post(machine, body, headers, query="?verbose=1"):
    answer = machine("POST", f"/api/v1/cdr/freeswitch{query}", data=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json


def outbound_json():
    """The A-leg of the answered call as mod_json_cdr posted it."""
    return next(body for _, headers, body in freeswitch_posts() if "json" in headers["User-Agent"])


def decoded(body):
    """The same document from a switch that does not encode values."""
    document = json.loads(body)
    document["variables"] = {name: unquote(value) for name, value in document["variables"].items()}
    return json.dumps(document)


def test_three_real_calls_are_counted_to_the_second(machine, acme, used):
    for path, headers, body in freeswitch_posts():
        post(machine, body, {"Content-Type": headers["Content-Type"]}, f"?verbose=1&{path.partition('?')[2]}")
    records = machine("GET", "/api/v1/tenants/acme/usage").json["data"]
    assert [record["quantity"] for record in records] == [3, 4]
    assert used() == 7
    assert {record["direction"] for record in records} == {"outbound"}


def test_the_same_posts_again_change_nothing(machine, acme, used):
    for _ in range(2):
        for _, headers, body in freeswitch_posts():
            post(machine, body, {"Content-Type": headers["Content-Type"]})
    assert used() == 7


@pytest.mark.parametrize(
    ("wrap", "headers"),
    [
        (lambda body: body, JSON_TYPE),
        (lambda body: body, FORM_TYPE),
        (decoded, JSON_TYPE),
        (lambda body: "cdr=" + quote(body, safe=""), FORM_TYPE),
        (lambda body: "cdr=" + quote(base64.b64encode(body.encode()).decode(), safe=""), FORM_TYPE),
        (lambda body: "cdr=" + base64.b64encode(body.encode()).decode(), FORM_TYPE),
    ],
)
def test_every_encoding_means_the_same_record(machine, acme, used, wrap, headers):
    body = outbound_json()
    assert post(machine, wrap(body), headers)["recorded"] == 1
    assert post(machine, body, JSON_TYPE) == {
        "recorded": 0, "duplicates": 1, "ignored": 0, "quarantined": 0, "reasons": {},
    }  # fmt: skip
    assert used() == 4


def test_legs_and_unanswered_calls_are_ignored_with_a_reason(machine, acme):
    found = [post(machine, body, {"Content-Type": headers["Content-Type"]}) for _, headers, body in freeswitch_posts()]
    reasons = [reason for answer in found for reason in answer["reasons"]]
    assert {"detail_leg", "unanswered"} <= set(reasons)


def test_what_nobody_can_read_is_quarantined_and_still_a_200(machine, acme):
    assert post(machine, "not a cdr", FORM_TYPE, "")["quarantined"] == 1


def test_an_unknown_tenants_call_waits_in_quarantine(machine, make, used, acme):
    body = outbound_json().replace('"billing_tenant":"acme"', '"billing_tenant":"nobody"')
    assert post(machine, body, JSON_TYPE)["reasons"] == {"unknown_tenant": 1}


def test_an_asterisk_file_is_imported_once_however_often_it_grows(machine, make, acme, used):
    text = (CAPTURED / "asterisk22_master_real.csv").read_text()
    first, *rest = text.splitlines(keepends=True)

    def send(body):
        return machine("POST", "/api/v1/cdr/asterisk?verbose=1", data=body, headers={"Content-Type": "text/csv"}).json

    assert send(first)["recorded"] == 1
    assert send(text) == {
        "recorded": 1, "duplicates": 1, "ignored": 1, "quarantined": 0, "reasons": {"unanswered": 1},
    }  # fmt: skip
    assert used() == 7
    assert len(rest) == 2


def test_a_broken_row_is_quarantined_and_the_others_go_in(machine, acme, used):
    lines = (CAPTURED / "asterisk22_master_real.csv").read_text().splitlines()
    body = "\n".join([lines[0], "only,three,columns", lines[2]]) + "\n"
    answer = machine("POST", "/api/v1/cdr/asterisk", data=body, headers={"Content-Type": "text/csv"}).json
    assert (answer["recorded"], answer["quarantined"]) == (2, 1)
    assert used() == 7


def test_the_xml_of_a_leg_is_its_json(machine, acme, used):
    posts = [(headers, body) for _, headers, body in freeswitch_posts()]
    kinds = [[post for post in posts if word in post[0]["User-Agent"]] for word in ("xml", "json")]
    recorded = [
        sum(post(machine, body, {"Content-Type": headers["Content-Type"]})["recorded"] for headers, body in kind)
        for kind in kinds
    ]
    assert recorded == [2, 0]
    assert used() == 7


def test_a_call_told_differently_is_kept_aside_as_a_conflict(machine, acme, used):
    body = outbound_json()
    post(machine, body, JSON_TYPE)
    seconds = json.loads(body)["variables"]["billmsec"]
    changed = post(machine, body.replace(f'"billmsec":"{seconds}"', '"billmsec":"99000"'), JSON_TYPE)
    assert (changed["quarantined"], changed["reasons"]) == (1, {"conflict": 1})
    assert used() == 4


def test_a_call_of_a_tenant_that_came_later_is_counted_when_it_is_read_again(machine, make, now):
    body = outbound_json()
    assert post(machine, body, JSON_TYPE)["reasons"] == {"unknown_tenant": 1}
    kept = db.session.scalars(select(Quarantined)).one()
    tenant = make.tenant("Acme")
    make.subscribe(tenant, make.package("gold"), now - timedelta(days=21))
    outcome = reread(kept.body, kept.format, kept.content_type, sent_id(kept), SourceSettings())
    result = run_in_transaction(lambda session: replay(session, kept.id, outcome, actor="test", now=now))
    assert result.status == "recorded"
    assert post(machine, body, JSON_TYPE)["duplicates"] == 1
    assert [meter["used"] for meter in machine("GET", "/api/v1/tenants/acme/meters").json["meters"]] == [4]


def test_a_leg_that_comes_again_when_its_tenant_is_known_is_counted(machine, make, now):
    body = outbound_json()
    for _ in range(2):
        post(machine, body, JSON_TYPE)
    make.subscribe(make.tenant("Acme"), make.package("gold"), now - timedelta(days=21))
    assert post(machine, body, JSON_TYPE)["recorded"] == 1


def test_the_source_says_which_directions_count(client, make, acme):
    source = make.source("pbx9", metered_directions=("inbound",))
    headers = {"Authorization": f"Bearer {source.key}", **JSON_TYPE}
    assert client.post("/api/v1/cdr/freeswitch", data=outbound_json(), headers=headers).json["recorded"] == 1
    record = client.get("/api/v1/tenants/acme/usage", headers=headers).json["data"][0]
    assert (record["measured"], record["quantity"]) == (4, 0)

"""What docs/*.md say of the machine interface exists, and the script for FreeSWITCH does what its page says."""

import base64
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from lupa.lua52 import LuaRuntime
from sqlalchemy import select

from app.api import gate
from app.api.calls import AuthorizeBody, EndBody, RenewBody
from app.core.clock import utc_now
from app.db import db
from app.domain.metering.decision import MESSAGES
from app.domain.metering.models import Hold, Meter

PAGES = {page.name: page.read_text() for page in sorted((Path(__file__).parents[2] / "docs").glob("*.md"))}
SWITCHES = ("freeswitch.md", "asterisk.md", "ictpbx.md")
FIELDS = {"authorize": AuthorizeBody, "renew": RenewBody, "end": EndBody}
REASONS = {*MESSAGES} - {"hold_ended"}  # which no new call is told
LUA = re.search(r"```lua\n(.*?)```", PAGES["freeswitch.md"], re.DOTALL)[1]
UUID = "4b42225f-fa0e-4d3e-b8e4-8361c16d99c9"


@pytest.mark.parametrize("name", SWITCHES)
def test_every_path_in_the_pages_exists(app, name):
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    paths = re.findall(r"portal\.example:8000(/[\w/]+)|`(?:GET |POST )?(/(?:api|billing)/[\w/]+)", PAGES[name])
    assert paths
    for path in filter(None, (part for pair in paths for part in pair)):
        # Where a page ends an address at /calls, what it calls there follows in its own code.
        assert path in routes or path.rstrip("/") == "/api/v1/calls", path


def test_every_call_in_the_scripts_exists(app):
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    called = re.findall(r'ask\("(\w+)"', LUA) + re.findall(r"CURL\(\$\{RINGPLAN\}/(\w+)", PAGES["asterisk.md"])
    assert set(called) == {"authorize", "renew", "end"}
    assert {f"/api/v1/calls/{what}" for what in called} <= routes


def test_every_command_in_the_pages_exists(app):
    found = [
        line.split() for text in PAGES.values() for line in re.findall(r"^flask --app app (.*)", text, re.MULTILINE)
    ]
    assert len(found) >= 2
    for group, name, *arguments in found:
        command = app.cli.commands[group].commands[name]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= known, (group, name)


def test_every_form_field_in_asterisks_dialplan_exists():
    sent = dict(re.findall(r"CURL\(\$\{RINGPLAN\}/(\w+),(.*)\n", PAGES["asterisk.md"]))
    assert set(sent) == {"authorize", "end"}
    for what, fields in sent.items():
        assert set(re.findall(r"(?:^|&)(\w+)=", fields)) <= set(FIELDS[what].__struct_fields__), what


def test_every_parameter_of_the_gate_exists(client, source):
    query = dict(re.findall(r"[?&](\w+)=(\w+)", re.search(r'curl "(.*)"', PAGES["ictpbx.md"])[1]))
    listed = re.findall(r"^\| `(\w+)` \| (?!when)", PAGES["ictpbx.md"], re.MULTILINE)
    assert set(query) == {"tenant_id", "type", "key"} <= set(listed)
    answer = client.get("/billing/gate", query_string={**query, "key": source.key})
    assert answer.json == {"allowed": False, "reason": "tenant-not-found"}


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("freeswitch.md", {*REASONS, "rate_limited"}),
        ("asterisk.md", {*REASONS, "rate_limited"}),
        ("ictpbx.md", {*gate._REASONS.values(), "rate-limited"}),
    ],
)
def test_the_reasons_in_the_pages_are_those_there_are(name, reasons):
    table = PAGES[name].partition("| reason | when |\n|---|---|\n")[2]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == reasons


def test_the_folder_that_freeswitch_spools_to_is_the_one_that_is_imported():
    spool = re.search(r'name="err-log-dir" value="([^"]+)"', PAGES["freeswitch.md"])[1]
    assert f"import freeswitch {spool} " in PAGES["freeswitch.md"]


@pytest.mark.parametrize("name", SWITCHES)
def test_each_page_says_which_setting_lets_its_host_in(name):
    assert "`TRUSTED_HOSTS=portal.example`" in PAGES[name]


class Switch:
    """As much of a FreeSWITCH as the script needs: one channel, the API, and curl as mod_curl does it."""

    def __init__(self, client, key):
        self.client, self.key, self.down = client, key, False
        self.variables = {"uuid": UUID, "domain_name": "acme.example", "caller_id_number": "101",
                          "destination_number": "+4420123456"}  # fmt: skip
        self.hung_up_as, self.commands = "", []

    def run(self, *arguments, script=LUA):
        """Run the page's script on the portal's clock, with its example key replaced."""
        lua = LuaRuntime()
        names = lua.globals()
        names.session, names.argv = self, lua.table(*arguments)
        names.freeswitch = lua.table(API=lambda: self)
        names.os.time = lambda: int(utc_now().timestamp())
        lua.execute(script.replace("rp_KEY", self.key))

    def setVariable(self, name, value):  # noqa: N802  FreeSWITCH's name
        self.variables[name] = value

    def getVariable(self, name):  # noqa: N802
        return self.variables.get(name)

    def hangup(self, cause):
        self.hung_up_as = cause

    def execute(self, name, data):
        if name == "curl":
            return self.curl(data)
        self.commands.append(f"{name} {data}")
        answers = {"uuid_exists": "true", "uuid_getvar": self.variables.get(data.split()[-1], "")}
        return answers.get(name, "+OK")

    def curl(self, line):
        if self.down:
            return ""
        url, *options, method, data = line.split(" ")
        assert (options, method) == (["connect-timeout", "2", "timeout", "3"], "post")
        parts, sent = urlsplit(url), unquote(data)  # decoded once before it is sent
        assert set(parse_qs(sent)) <= set(FIELDS[parts.path.rpartition("/")[2]].__struct_fields__)
        credentials = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        answer = self.client.post(
            parts.path, data=sent, content_type="application/x-www-form-urlencoded",
            headers={"Authorization": f"Basic {credentials}", "Accept": "*/*"},
        )  # fmt: skip
        return answer.text


@pytest.fixture
def switch(client, source):
    return Switch(client, source.key)


@pytest.fixture
def included(make, now):
    """`included(seconds)`: Acme with so much voice, which blocks."""

    def acme(seconds):
        tenant = make.tenant("Acme", domain="acme.example")
        make.subscribe(tenant, make.package("gold", {"voice_minutes": seconds}), started_at=now - timedelta(days=2))

    return acme


def voice():
    """What is used and on hold."""
    db.session.rollback()
    query = select(Meter.used, Meter.on_hold).where(Meter.resource_code == "voice_minutes")
    return tuple(db.session.execute(query).one())


def test_the_script_lets_a_call_pass_for_its_grant(switch, included):
    included(6_000)
    switch.run("authorize")
    assert switch.hung_up_as == "" and voice() == (0, 1800)
    assert switch.variables["execute_on_answer_cut"] == "sched_hangup +1800 ALLOTTED_TIMEOUT"
    assert switch.variables["execute_on_answer_renew"] == "lua ringplan.lua answered 1800"
    hold = db.session.scalars(select(Hold)).one()
    assert (hold.call_id, hold.caller, hold.callee) == (UUID, "101", "4420123456")


def test_the_script_renews_a_call_until_nothing_is_left(switch, included, clock, now):
    included(2_000)
    switch.run("authorize")
    switch.run("answered", "1800")
    answered_at = int(now.timestamp())
    renewal = f"luarun ringplan.lua renew {UUID} {answered_at}"
    clock.move_to(now + timedelta(seconds=1770))
    switch.run("renew", UUID, str(answered_at))
    assert voice() == (0, 2_000)
    clock.move_to(now + timedelta(seconds=1970))
    switch.run("renew", UUID, str(answered_at))
    assert switch.commands == [
        f"sched_api +1770 {UUID} {renewal}",
        f"uuid_exists {UUID}", f"uuid_getvar {UUID} billing_hold",
        f"sched_del {UUID}", f"sched_hangup +230 {UUID} ALLOTTED_TIMEOUT", f"sched_api +200 {UUID} {renewal}",
        f"uuid_exists {UUID}", f"uuid_getvar {UUID} billing_hold",
        f"sched_del {UUID}", f"sched_hangup +30 {UUID} ALLOTTED_TIMEOUT",  # nothing came on top: the last renewal
    ]  # fmt: skip


def test_the_script_refuses_a_call_without_quota(switch, included):
    included(0)
    switch.run("authorize")
    assert switch.hung_up_as == "OUTGOING_CALL_BARRED"
    assert switch.variables["billing_refusal"] == "quota_exhausted" and "billing_hold" not in switch.variables


def test_the_script_fails_closed_unless_it_is_told_to_fail_open(switch, included):
    switch.down = True
    switch.run("authorize")
    assert switch.hung_up_as == "NORMAL_TEMPORARY_FAILURE"
    switch.hung_up_as = ""
    switch.run("authorize", script=LUA.replace("fail_open = false", "fail_open = true"))
    assert switch.hung_up_as == ""
    assert switch.variables["execute_on_answer_cut"] == "sched_hangup +3600 ALLOTTED_TIMEOUT"


@pytest.mark.parametrize(("answered", "counted"), [(True, (4, 0)), (False, (0, 0))])
def test_the_cdr_with_the_scripts_variables_settles_the_hold(switch, included, machine, now, answered, counted):
    included(6_000)
    switch.run("authorize")
    start = int(now.timestamp())
    times = {"start_epoch": start, "answer_epoch": start if answered else 0, "billmsec": 4_200 if answered else 0}
    variables = switch.variables | {name: str(value) for name, value in times.items()}
    answer = machine("POST", f"/api/v1/cdr/freeswitch?uuid={UUID}", json={"variables": variables})
    assert answer.status_code == 200 and voice() == counted

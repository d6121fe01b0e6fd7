"""What a process writes about itself: a line for each request, an id to find it by, nobody's data."""

import json
import re
from dataclasses import replace
from functools import wraps

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from app import create_app
from app.db import db
from app.domain.accounts.models import ApiKey
from tests.factories import PASSWORD

CANARIES = ("canary@acme.example", "4930123456789", "Canary Corp", "canary-corp", "canary-call-7", PASSWORD)


@pytest.fixture
def written(app, capsys):
    """The lines written so far, as JSON has them."""

    def read() -> list[dict]:
        lines = capsys.readouterr().err.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    return read


@pytest.mark.databases("sqlite")
def test_each_request_is_a_line_with_the_id_of_its_answer(app, make, written):
    acme = make.tenant("Acme")
    uma = make.user(acme)
    browser = app.test_client()
    browser.sign_in(uma.email)
    written()
    answer = browser.get("/portal?number=4930123456789")
    (line,) = written()
    assert answer.headers["X-Request-ID"] == line["request"] and re.fullmatch("[0-9a-f]{16}", line["request"])
    assert {name: line[name] for name in ("level", "message", "method", "route", "status", "account", "tenant")} == {
        "level": "info", "message": "request", "method": "GET", "route": "/portal", "status": 200,
        "account": uma.id, "tenant": acme.id,
    }  # fmt: skip
    assert line["ms"] > 0 and line["time"].endswith("+00:00")


@pytest.mark.databases("sqlite")
def test_a_machine_is_named_by_the_id_of_its_key(app, make, written):
    source = make.source("pbx1")
    app.test_client().post("/api/v1/usage", json={"events": []}, headers={"Authorization": f"Bearer {source.key}"})
    line = written()[-1]
    assert (line["route"], line["method"]) == ("/api/v1/usage", "POST")
    assert line["key"] == db.session.scalar(select(ApiKey.id))


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("behind_proxy", "given", "taken"),
    [
        (True, "from-the-proxy-1", True),
        (True, "short", False),
        (True, "with blank inside", False),
        (True, "x" * 65, False),
        (False, "from-a-stranger", False),
    ],
)
def test_an_id_is_taken_from_a_proxy_alone_and_only_a_sound_one(settings, behind_proxy, given, taken):
    app = create_app(replace(settings, BEHIND_PROXY=behind_proxy))
    answer = app.test_client().get("/healthz", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is taken
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def test_no_line_holds_more_of_a_person_than_an_id(app, make, written, monkeypatch):
    acme, source = make.tenant("Canary Corp"), make.source("pbx1")
    make.subscribe(acme, make.package("gold", {"voice_minutes": 60}))
    make.user(acme, "canary@acme.example")
    owner = make.staff()
    key = {"Authorization": f"Bearer {source.key}"}
    machine, browser = app.test_client(), app.test_client()
    browser.sign_in(owner.email)
    call = {"tenant": "canary-corp", "call_id": "canary-call-7", "callee": "4930123456789", "seconds": 600}
    machine.post("/api/v1/calls/authorize", json=call, headers=key)
    machine.get("/api/v1/tenants/canary@acme.example", headers=key)
    browser.get("/provider/tenants?q=Canary Corp")
    browser.get("/no/such/page/4930123456789")
    app.test_client().sign_in("canary@acme.example", "wrong " + PASSWORD)

    @wraps(app.view_functions["provider.home"])
    def broken():
        try:
            row = {"name": "canary-corp", "id": acme.id}
            db.session.execute(text("INSERT INTO tenant_name (name, tenant_id, kind) VALUES (:name, :id, 'slug')"), row)
        except IntegrityError as error:
            raise RuntimeError("broken") from error

    monkeypatch.setitem(app.view_functions, "provider.home", broken)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert browser.get("/provider/").status_code == 500
    lines = written()
    assert [line["route"] for line in lines if line["message"] == "request"][-1] == "/provider"
    assert any("RuntimeError: broken" in line.get("trace", "") for line in lines)
    for line in lines:
        for canary in (*CANARIES, source.key):
            assert canary not in json.dumps(line), line


@pytest.mark.databases("sqlite")
def test_requests_can_be_left_out(settings, capsys):
    app = create_app(replace(settings, LOG_REQUESTS=False))
    app.test_client().get("/healthz")
    assert capsys.readouterr().err == ""


@pytest.mark.databases("sqlite")
def test_a_terminal_gets_words(settings, capsys):
    app = create_app(replace(settings, LOG_FORMAT="text"))
    app.test_client().get("/healthz")
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d info request request=[0-9a-f]{16} method=GET route=/healthz status=200 ms=[\d.]+\n", said
    )

"""What every answer carries, what is closed, and pages for what goes wrong."""

import logging
import re
from datetime import UTC, datetime

import pytest
from flask import Blueprint, Flask, abort
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.routing import AnyConverter

from app.core.errors import Conflict, Invalid, NotFound, Throttled
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.guards import OPEN_BLUEPRINTS, OPEN_ENDPOINTS, needs

PASSWORD = "correct horse battery"


@pytest.fixture
def staff(app: Flask) -> FlaskClient:
    """A browser signed in as one of the provider's people, in an app with routes that fail."""
    app.register_blueprint(_trouble())
    with app.app_context(), unit_of_work() as session:
        accounts.create_staff(session, "ann@northline.example", "Ann", PASSWORD, actor="test", now=datetime.now(UTC))
    client = app.test_client()
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/login").text)
    assert found
    form = {"email": "ann@northline.example", "password": PASSWORD, "csrf_token": found[1]}
    assert client.post("/login", data=form).status_code == 303
    return client


def _trouble() -> Blueprint:
    """Routes that raise what views may raise."""
    bp = Blueprint("trouble", __name__, url_prefix="/trouble")
    raised: dict[str, Exception] = {
        "conflict": Conflict("taken", "Somebody has that name."),
        "invalid": Invalid("bad", "That is not a number."),
        "missing": NotFound("unknown", "No tenant is called that."),
        "throttled": Throttled("slow", "Slowly, please.", retry_after=30),
        "database": OperationalError("SELECT secret", {}, Exception("connection refused")),
        "bug": RuntimeError("a detail nobody should read"),
    }

    @bp.route("/<name>", methods=["GET", "POST"])
    @needs(Permission.USE_OWN_ACCOUNT)
    def fail(name: str) -> str:
        if name.isdigit():
            abort(int(name))
        raise raised[name]

    bp.add_url_rule("/without/permission", "forgotten", lambda: "the crown jewels")
    return bp


def test_every_route_is_closed_unless_it_is_opened_by_name(app: Flask) -> None:
    client = app.test_client()
    closed = 0
    for rule in app.url_map.iter_rules():
        blueprints = set(rule.endpoint.split(".")[:-1])
        if rule.endpoint in OPEN_ENDPOINTS or blueprints & OPEN_BLUEPRINTS:
            continue
        values = {
            name: min(kind.items) if isinstance(kind := rule._converters[name], AnyConverter) else "1"
            for name in rule.arguments
        }
        with app.test_request_context():
            url = app.url_map.bind("localhost").build(rule.endpoint, values)
        for method in (rule.methods or set()) - {"OPTIONS"}:
            answer = client.open(url, method=method)
            assert answer.status_code == 303, (method, url)
            assert answer.location.startswith("/login"), (method, url)
            closed += 1
    assert closed >= 6


def test_a_new_route_is_closed_before_anyone_thinks_of_it(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "the crown jewels")
    answer = app.test_client().get("/forgotten")
    assert (answer.status_code, answer.location) == (303, "/login?next=/forgotten")


def test_a_view_that_names_no_permission_is_closed_to_everyone(staff: FlaskClient) -> None:
    answer = staff.get("/trouble/without/permission")
    assert answer.status_code == 403
    assert "jewels" not in answer.text


@pytest.mark.parametrize("url", ["/login", "/nothing-here", "/provider/", "/static/app.css"])
def test_every_answer_carries_the_headers(client: FlaskClient, url: str) -> None:
    headers = client.get(url, buffered=True).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


def test_https_is_remembered_by_the_browser(client: FlaskClient) -> None:
    answer = client.get("/login", base_url="https://localhost")
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_pages_are_not_stored_and_static_files_with_a_mark_are(staff: FlaskClient) -> None:
    assert staff.get("/account/password").headers["Cache-Control"] == "no-store"
    assert "no-store" not in staff.get("/static/app.css", buffered=True).headers["Cache-Control"]
    marked = staff.get("/static/app.css?v=1234567890", buffered=True).headers
    assert "immutable" in marked["Cache-Control"]
    assert "Set-Cookie" not in marked
    assert "Cookie" not in marked.get("Vary", "")
    assert staff.get("/static/nothing.css?v=1").headers["Cache-Control"] == "no-store"


def test_the_pages_hold_no_inline_script_or_style(client: FlaskClient, staff: FlaskClient) -> None:
    for page in (client.get("/login"), client.get("/nothing-here"), staff.get("/account/password")):
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page.text)


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("http://localhost/login", False),
        ("http://127.0.0.1:8000/login", False),
        ("https://localhost/login", True),
        ("http://portal.example/login", True),
    ],
)
def test_the_cookie_is_for_http_alone_and_for_tls_unless_on_this_machine(app: Flask, url: str, secure: bool) -> None:
    app.config["TRUSTED_HOSTS"] = ["localhost", "127.0.0.1", "portal.example"]
    base, _, path = url.rpartition("/")
    cookie = app.test_client().get(f"/{path}", base_url=base).headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie)
    assert ("Secure" in cookie) is secure
    assert not any(part.startswith("Domain") for part in cookie)


@pytest.mark.parametrize("path", ["/login", "/", "/provider/", "/static/app.css", "/nothing-here", "/api/v1/usage"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "[::1", "a b"])
def test_a_wrong_host_is_refused_before_any_view(client: FlaskClient, host: str, path: str) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 400
    assert "evil" not in answer.text
    assert "Set-Cookie" not in answer.headers


def test_a_form_without_its_token_changes_nothing(staff: FlaskClient) -> None:
    for form in ({}, {"csrf_token": "guessed"}):
        answer = staff.post("/logout", data=form)
        assert answer.status_code == 400
        assert "This form has expired" in answer.text
    assert staff.get("/account/password").status_code == 200


def test_signing_in_needs_the_token_too(app: Flask, staff: FlaskClient) -> None:
    client = app.test_client()
    answer = client.post("/login", data={"email": "ann@northline.example", "password": PASSWORD})
    assert answer.status_code == 400
    assert client.get("/account/password").status_code == 303


def test_a_form_sent_after_the_sign_in_ended_leads_to_the_sign_in_page(client: FlaskClient) -> None:
    answer = client.post("/account/password", data={"new": "x"})
    assert (answer.status_code, answer.location) == (303, "/login")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("400", 400, "could not be read"),
        ("403", 403, "Not open to you"),
        ("404", 404, "Page not found"),
        ("413", 413, "That is too large"),
        ("418", 418, "That request is not complete"),
        ("429", 429, "Too many attempts"),
        ("conflict", 409, "Somebody has that name."),
        ("invalid", 422, "That is not a number."),
        ("missing", 404, "No tenant is called that."),
        ("throttled", 429, "Slowly, please."),
        ("database", 503, "Out of order for a moment"),
    ],
)
def test_what_goes_wrong_is_said_in_words(staff: FlaskClient, name: str, status: int, words: str) -> None:
    answer = staff.get(f"/trouble/{name}")
    assert answer.status_code == status
    assert words in answer.text
    assert 'class="card"' in answer.text
    assert f"Error {status}" in answer.text
    assert "SELECT" not in answer.text


def test_who_should_wait_is_told_how_long(staff: FlaskClient) -> None:
    assert staff.get("/trouble/throttled").headers["Retry-After"] == "30"
    assert int(staff.get("/trouble/database").headers["Retry-After"]) > 0


def test_a_wrong_method_names_the_right_ones(staff: FlaskClient) -> None:
    answer = staff.get("/logout")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert 'class="card"' in answer.text


def test_a_body_beyond_the_limit_is_refused(app: Flask, client: FlaskClient) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 1_000
    answer = client.post("/login", data={"email": "x" * 2_000})
    assert answer.status_code == 413
    assert "That is too large" in answer.text


def test_a_bug_shows_an_id_that_is_in_the_log_and_nothing_else(
    app: Flask, staff: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with caplog.at_level(logging.ERROR):
        answer = staff.get("/trouble/bug")
    shown = re.search(r"<code>([0-9a-f]{16})</code>", answer.text)
    assert answer.status_code == 500
    assert shown
    assert "detail" not in answer.text
    assert "Traceback" not in answer.text
    assert shown[1] in caplog.text
    assert "a detail nobody should read" in caplog.text


def test_no_page_can_be_had_while_the_database_is_away_but_an_answer_can(
    staff: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {}, Exception("connection refused"))

    monkeypatch.setattr(accounts, "find_session", away)
    answer = staff.get("/provider/")
    assert answer.status_code == 503
    assert "Out of order for a moment" in answer.text
    assert answer.headers["Retry-After"]


def test_an_error_in_a_fragment_replaces_the_main_part_of_the_page(staff: FlaskClient) -> None:
    answer = staff.get("/trouble/conflict", headers={"HX-Request": "true", "HX-Target": "div#rows"})
    assert answer.status_code == 409
    assert answer.headers["HX-Retarget"] == "#main"

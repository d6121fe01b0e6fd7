"""When something is away or not as it should be, a machine is told so in its own way."""

import flask_migrate
import pytest
from sqlalchemy.exc import OperationalError

from app import create_app
from app.api import blueprint, health
from app.config import Settings
from app.db import db
from app.domain.insight import overview
from tests.api.test_usage import EVENT
from tests.conftest import DATABASES


@pytest.fixture
def nowhere(tmp_path):
    """A browser for a portal whose database server is not there."""
    url = "postgresql://ringplan@/ringplan?host=/nonexistent&connect_timeout=1"
    app = create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=url, SECRET_KEY="of a test"))
    yield app.test_client()
    with app.app_context():
        db.engine.dispose()


def test_health_asks_no_database_and_readiness_does(nowhere):
    assert (nowhere.get("/healthz").status_code, nowhere.get("/healthz").json) == (200, {"status": "ok"})
    answer = nowhere.get("/readyz")
    assert (answer.status_code, answer.json["reason"]) == (503, "database not reachable or empty")


def test_without_a_database_an_event_is_refused_for_a_while(nowhere):
    answer = nowhere.post("/api/v1/usage", json=EVENT, headers={"Authorization": "Bearer rp_0123456789_x"})
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert (answer.json["code"], answer.headers["Retry-After"]) == ("database_unavailable", "5")


def test_an_older_schema_is_not_ready(client, monkeypatch):
    monkeypatch.setattr(health, "_head", lambda: "9999")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    assert "wanted 9999" in answer.json["reason"]


@pytest.mark.parametrize("empty_database_url", DATABASES, indirect=True)
def test_a_database_is_ready_once_it_has_its_tables(empty_database_url, tmp_path):
    app = create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=empty_database_url))
    client = app.test_client()
    assert client.get("/readyz").status_code == 503
    with app.app_context():
        flask_migrate.upgrade()
        assert client.get("/readyz").status_code == 200
        for engine in db.engines.values():
            engine.dispose()


class _Full(Exception):
    sqlstate = "53100"


def test_a_full_disk_is_a_507_for_machines_and_people(machine, make, login, monkeypatch):
    def full(*_, **__):
        raise OperationalError("INSERT", {}, _Full("could not extend file: No space left on device"))

    staff = login(make.staff())
    monkeypatch.setattr(blueprint.accounts, "verify_key", full)
    monkeypatch.setattr(overview, "monthly_revenue", full)
    told = machine("POST", "/api/v1/usage", json=EVENT)
    assert (told.status_code, told.json["code"], told.headers["Retry-After"]) == (507, "no_room", "5")
    page = staff.get("/provider")
    assert (page.status_code, page.headers["Retry-After"]) == (507, "5")
    assert "There is no room left" in page.text


def test_a_database_that_goes_away_is_a_503_and_the_event_may_come_again(machine, acme, used, monkeypatch):
    def away(*_):
        raise OperationalError("SELECT", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(blueprint.accounts, "verify_key", away)
        assert machine("POST", "/api/v1/usage", json=EVENT).status_code == 503
    assert machine("POST", "/api/v1/usage", json=EVENT).json["results"][0]["status"] == "recorded"
    assert used("fax_pages") == 3


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/", 404),
        ("GET", "/billing/nothing", 404),
        ("GET", "/api/v1/usage", 405),
        ("DELETE", "/api/v1/packages/gold", 405),
        ("POST", "/healthz", 405),
        ("POST", "/readyz", 405),
        ("POST", "/metrics", 405),
        ("GET", "/webhooks/stripe", 405),
        ("GET", "/api/v1/tenants/a%00b/meters", 404),
        ("GET", "/api/v1/packages/a%00b", 404),
    ],
)
def test_every_address_of_machines_answers_in_problems(machine, method, path, status):
    answer = machine(method, path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert {"type", "title", "detail", "code"} <= answer.json.keys()


@pytest.mark.databases("sqlite")
def test_a_wrong_method_says_which_are_right(machine):
    assert "POST" in machine("GET", "/api/v1/usage").headers["Allow"]


@pytest.mark.databases("sqlite")
def test_a_wrong_host_is_a_problem_too(machine):
    answer = machine("GET", "/api/v1/packages/gold", headers={"Host": "elsewhere.example"})
    assert (answer.status_code, answer.content_type) == (400, "application/problem+json")
    assert answer.json["code"] == "unknown_host" and "TRUSTED_HOSTS" in answer.json["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": "A", "colour": "red"}, "/colour"),
        ({"name": "A", "limits": [{"resource": "fax_pages"}]}, "/limits/0/included"),
        ({"name": "A", "limits": [{"resource": "fax_pages", "included": 1, "x": 1}]}, "/limits/0/x"),
        ({"name": "A", "currency": "eur"}, "/currency"),
        ({"name": "A\0"}, ""),
        ([], ""),
    ],
)
def test_the_pointer_leads_to_the_very_place(machine, body, pointer):
    answer = machine("PUT", "/api/v1/packages/gold", json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "2026-11-01T00:00:00", 7])
def test_a_start_beyond_reason_is_refused(machine, make, moment):
    make.tenant("Acme", timezone="America/New_York")
    make.package("gold")
    body = {"package": "gold", "started_at": moment}
    answer = machine("PUT", "/api/v1/tenants/acme/subscription", json=body)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/started_at")

"""`flask verify`, and what the provider sees of it."""

import json

import pytest
from sqlalchemy import select, update

from app.db import unit_of_work
from app.domain.audit.models import Verification
from app.domain.insight.verify import CODES
from app.domain.metering.models import Meter
from app.web.provider.verification import CHECKS


@pytest.fixture
def acme(make):
    acme = make.tenant("Acme")
    make.subscribe(acme, make.package("gold", {"voice_minutes": 1_000}))
    make.usage(acme, 60, source=make.source("pbx1"))
    return acme


@pytest.fixture
def verify(app):
    return lambda *options: app.test_cli_runner().invoke(args=["verify", *options])


def lose_ten():
    with unit_of_work() as act:
        act.execute(update(Meter).values(used=Meter.used - 10))


def test_it_says_that_everything_agrees(acme, verify):
    done = verify()
    assert (done.exit_code, done.output) == (0, f"{len(CODES)} checks: everything agrees\n")


def test_it_names_what_differs_and_exits_1(acme, verify):
    lose_ten()
    done = verify()
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "meter_used: acme voice_minutes 2026-11-22: expected 60, found 50",
        f"{len(CODES)} checks: 1 difference",
    ]


def test_programs_read_json(acme, verify):
    assert json.loads(verify("--json").output)["differences"] == []
    lose_ten()
    done = verify("--json")
    answer = json.loads(done.output)
    assert (done.exit_code, answer["count"], answer["checks"]) == (1, 1, len(CODES))
    assert answer["differences"] == [
        {"check": "meter_used", "tenant": "acme", "resource": "voice_minutes", "period": "2026-11-22",
         "what": "", "expected": 60, "found": 50}
    ]  # fmt: skip


def test_each_run_is_kept(acme, verify, session):
    verify()
    lose_ten()
    verify()
    session.rollback()
    kept = session.scalars(select(Verification).order_by(Verification.id)).all()
    assert [len(each.findings) for each in kept] == [0, 1]


def test_the_provider_sees_the_last_run(acme, make, login, verify):
    staff = login(make.staff())
    assert "not yet" in staff.get("/provider").text
    assert "Not done yet" in staff.get("/provider/verification").text
    verify()
    assert "all agree" in staff.get("/provider").text
    assert "Everything agrees" in staff.get("/provider/verification").text
    lose_ten()
    verify()
    assert "1 difference</a>" in staff.get("/provider").text
    page = staff.get("/provider/verification").text
    assert "The meter and the sum of its records" in page
    assert "voice_minutes · 2026-11-22" in page


def test_a_tenants_user_does_not(acme, make, login):
    assert login(make.user(acme)).get("/provider/verification").status_code == 404


@pytest.mark.databases("sqlite")
def test_every_check_is_said_in_words(app):
    with app.test_request_context():
        assert CHECKS.keys() == set(CODES)

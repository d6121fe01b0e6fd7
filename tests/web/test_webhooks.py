"""Pages of webhooks: the same on both sides, each side's own endpoints alone."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from app import webhooks
from app.core.clock import utc_now
from app.db import db, run_in_transaction, unit_of_work
from app.deliveries import deliver_all
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Role
from app.domain.webhooks import endpoints
from app.domain.webhooks.models import WebhookEndpoint, WebhookMessage
from tests.receiver import receiving


@pytest.fixture
def settings(settings):
    return replace(settings, WEBHOOK_ALLOWED_RANGES="127.0.0.0/8")


@pytest.fixture
def receiver():
    with receiving() as made:
        yield made


@pytest.fixture(params=["provider", "portal"])
def side(request, make, login):
    """A browser that may manage webhooks, and where their pages are."""
    if request.param == "provider":
        return login(make.staff()), "/provider/webhooks"
    return login(make.user(make.tenant())), "/portal/webhooks"


def text(response):
    return response.get_data(as_text=True)


def the_endpoint():
    db.session.rollback()
    return db.session.scalars(select(WebhookEndpoint).execution_options(populate_existing=True)).one()


def add(browser, where, url, types=("invoice.final", "payment.received")):
    return browser.submit(f"{where}/new", {"url": url, "types": list(types), "note": "the <ERP>"})


def test_an_endpoint_from_its_first_page_to_its_last(side, receiver):
    browser, where = side
    assert "No endpoint yet" in text(browser.get(where))
    page = text(add(browser, where, receiver.url))
    [secret] = set(re.findall(r"whsec_[\w+/=]+", page))
    endpoint = the_endpoint()
    one = f"{where}/{endpoint.id}"
    assert secret not in text(browser.get(one)) + text(browser.get(where))
    assert "the &lt;ERP&gt;" in text(browser.get(where)) and "An invoice is issued" in text(browser.get(one))

    assert browser.submit(f"{one}/ping").status_code == 303
    assert "waiting" in text(browser.get(one))
    deliver_all()
    [(headers, body)] = receiver.got
    assert Webhook(secret).verify(body, headers)["type"] == "ping"
    assert "delivered" in text(browser.get(one)) and "HTTP 204" in text(browser.get(one))

    receiver.says(500, b"<script>no")
    [message] = db.session.scalars(select(WebhookMessage.id)).all()
    assert browser.submit(f"{one}/messages/{message}/replay").status_code == 303
    deliver_all()
    page = text(browser.get(one))
    assert "1 of 10 attempts" in page and "HTTP 500" in page and "&lt;script&gt;no" in page
    assert "failing" in text(browser.get(where))

    rotated = text(browser.submit(f"{one}/secret"))
    assert secret not in rotated and "whsec_" in rotated and "signs along" in text(browser.get(one))

    assert browser.submit(f"{one}/off").status_code == 303
    page = text(browser.get(one))
    assert "turned off" in page and "given up" in page and "Send a test" not in page
    assert browser.submit(f"{one}/ping").status_code == 409
    assert browser.submit(f"{one}/on").status_code == 303
    answer = browser.submit(f"{one}/replay", {"since": "2026-11-21T00:00"}, follow_redirects=True)
    assert "1 message is sent again now." in text(answer)
    assert "Enter a day and a time." in text(browser.submit(f"{one}/replay", {"since": ""}))
    assert "Nothing of this kind" in text(browser.fragment(f"{one}?state=delivered", "messages"))

    edited = browser.submit(f"{one}/edit", {"url": receiver.url + "?v=2", "types": ["limit.reached"], "note": ""})
    assert edited.status_code == 303
    assert the_endpoint().event_types == ["limit.reached"]
    assert browser.submit(f"{one}/remove").status_code == 303
    assert "No endpoint yet" in text(browser.get(where))
    assert browser.get(one).status_code == 404


@pytest.mark.parametrize(
    ("url", "types", "words"),
    [
        ("", ["invoice.final"], "Enter the address."),
        ("http://example.invalid/", ["invoice.final"], webhooks.NOT_PUBLIC),
        ("https://10.0.0.1/", ["invoice.final"], webhooks.NOT_PUBLIC),
        ("https://me:secret@127.0.0.1/", ["invoice.final"], "No user name"),
        ("http://127.0.0.1/", [], "at least one event"),
        ("http://127.0.0.1/", ["ping"], "Tell it when"),
    ],
)
@pytest.mark.databases("sqlite")
def test_what_cannot_be_is_said_beside_its_field(side, url, types, words):
    browser, where = side
    answer = add(browser, where, url, types)
    assert answer.status_code == 422
    assert words in text(answer) and "There is a problem" in text(answer)


def test_another_sides_endpoint_does_not_exist(make, login, receiver):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    ours, staff = login(make.user(acme)), login(make.staff())
    add(ours, "/portal/webhooks", receiver.url)
    endpoint = the_endpoint()
    theirs = login(make.user(globex))
    acts = ("ping", "secret", "off", "on", "remove", "replay", "messages/1/replay", "edit")
    for browser, where in ((theirs, "/portal/webhooks"), (staff, "/provider/webhooks")):
        assert receiver.url not in text(browser.get(where))
        assert browser.get(f"{where}/{endpoint.id}").status_code == 404
        for act in acts:
            form = {"url": receiver.url, "types": ["invoice.final"], "since": "2026-11-21T00:00"}
            assert browser.submit(f"{where}/{endpoint.id}/{act}", form).status_code == 404, act
    assert the_endpoint().disabled_at is None


@pytest.mark.databases("sqlite")
def test_tenants_are_not_offered_what_is_the_providers_affair(make, login):
    user, staff = login(make.user(make.tenant())), login(make.staff())
    assert "quarantine.not_empty" not in text(user.get("/portal/webhooks/new"))
    assert "quarantine.not_empty" in text(staff.get("/provider/webhooks/new"))
    answer = add(user, "/portal/webhooks", "http://127.0.0.1/", ["quarantine.not_empty"])
    assert answer.status_code == 422


@pytest.mark.databases("sqlite")
def test_who_may_only_look_is_offered_nothing_more(make, login, receiver):
    add(login(make.staff()), "/provider/webhooks", receiver.url)
    reader = make.staff("reader@northline.example")
    with unit_of_work() as session:
        account = session.get_one(Account, reader.id)
        accounts.change_role(session, account, Role.READ_ONLY, actor="test", now=utc_now())
    browser, one = login(reader), f"/provider/webhooks/{the_endpoint().id}"
    page = text(browser.get(one))
    assert "Send a test" not in page and "Exchange" not in page
    assert browser.submit(f"{one}/ping").status_code == 403
    assert browser.get("/provider/webhooks/new").status_code == 403


def test_the_mail_about_one_that_was_turned_off_goes_to_its_own_admins(make, app, receiver, now, tmp_path):
    acme = make.tenant()
    make.user(acme, "anna@acme.example")
    member = make.user(acme, "mia@acme.example")
    make.staff("nora@northline.example")

    def act(session):
        accounts.change_role(session, session.get_one(Account, member.id), Role.MEMBER, actor="test", now=now)
        wanted = endpoints.Wanted(receiver.url, ("invoice.final",))
        made = endpoints.add(session, acme.id, wanted, actor="test", now=now)
        endpoints.disable(session, made.id, endpoints.FAILING, actor="test", now=now)

    run_in_transaction(act)
    assert app.test_cli_runner().invoke(args=["worker", "--once"]).exit_code == 0
    [mail] = [path.read_text() for path in (tmp_path / "mail").glob("*.log")]
    assert "anna@acme.example" in mail and "took nothing" in mail and f"/portal/webhooks/{the_endpoint().id}" in mail
    assert "mia@" not in mail and "nora@" not in mail

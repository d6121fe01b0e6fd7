"""The signed-in person's own pages: name, and where one is signed in."""

import re

import pytest
from sqlalchemy import select

from app.db import db
from app.domain.accounts.models import Account
from app.domain.audit.models import AuditEntry
from app.web.account.browsers import browser_words

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile Safari/604.1"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 16; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
)


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (FIREFOX, "Firefox on Windows"),
        (CHROME, "Chrome on Linux"),
        (CHROME.replace("Chrome/", "HeadlessChrome/"), "Chrome on Linux"),
        (EDGE, "Edge on Windows"),
        (IPHONE, "Safari on iPhone"),
        (ANDROID, "Chrome on Android"),
        ("curl/8.14", "Unknown browser"),
    ],
)
def test_a_browser_is_named_in_words(app, user_agent, words):
    with app.test_request_context():
        assert browser_words(user_agent) == words


@pytest.mark.parametrize("who", ["staff", "user"])
def test_everybody_finds_their_account_within_their_own_menu(make, login, who):
    person = make.staff() if who == "staff" else make.user(make.tenant("Acme"))
    client = login(person)
    home = client.get(client.get("/").location)
    assert 'href="/account"' in home.text
    page = client.get("/account")
    assert page.status_code == 200
    assert ("/provider/tenants" in page.text) == (who == "staff")
    assert ("/portal/usage" in page.text) == (who == "user")


def test_a_new_name_is_kept_and_recorded(make, login, session):
    person = make.user(make.tenant("Acme"), name="Uma")
    client = login(person)
    assert client.submit("/account", {"name": "  Uma Urban "}).status_code == 303
    assert session.scalar(select(Account.name).where(Account.id == person.id)) == "Uma Urban"
    entry = session.scalars(select(AuditEntry).where(AuditEntry.act == "account.name")).one()
    assert (entry.actor, entry.tenant_id) == (person.email, person.tenant_id)
    assert entry.details == {"changed": {"name": ["Uma", "Uma Urban"]}}
    assert client.submit("/account", {"name": "Uma Urban"}).status_code == 303
    assert len(session.scalars(select(AuditEntry).where(AuditEntry.act == "account.name")).all()) == 1
    empty = client.submit("/account", {"name": " "})
    assert empty.status_code == 422
    assert "Enter your name." in empty.text


def sessions_of(client):
    page = client.get("/account/sessions")
    assert page.status_code == 200
    return page.text, re.findall(r'action="/account/sessions/(\w{16})/end"', page.text)


def test_ones_own_sign_ins_are_listed_and_the_present_one_has_no_end(make, login, app):
    person = make.staff()
    here, other = login(person), app.test_client()
    other.environ_base["HTTP_USER_AGENT"] = FIREFOX
    other.sign_in(person.email)
    login(make.staff())
    page, marks = sessions_of(here)
    assert len(marks) == 1
    assert page.count("this one") == 1
    assert "Firefox on Windows" in page
    assert "from 127.0.0.1" in page


def test_a_sign_in_that_is_ended_counts_no_longer(make, login, session):
    person = make.staff()
    here, there = login(person), login(person)
    _, [mark] = sessions_of(here)
    assert here.submit(f"/account/sessions/{mark}/end").status_code == 303
    assert there.get("/account").status_code == 303
    assert here.get("/account").status_code == 200
    assert here.submit(f"/account/sessions/{mark}/end").status_code == 303  # twice is once
    entries = session.scalars(select(AuditEntry).where(AuditEntry.act == "account.sign_out")).all()
    assert [entry.details["browsers"] for entry in entries] == [1]


def test_all_others_end_at_once(make, login):
    person = make.staff()
    here, *others = (login(person) for _ in range(3))
    stranger = login(make.staff())
    assert here.submit("/account/sessions/end-others").status_code == 303
    assert "2 other browsers are signed out." in here.get("/account/sessions").text
    assert [client.get("/account").status_code for client in (here, *others, stranger)] == [200, 303, 303, 200]


@pytest.mark.parametrize("mark", ["0" * 16, "%25%25%25%25%25%25%25%25", "_" * 16])
def test_nobody_ends_what_is_not_theirs(make, login, mark):
    person, stranger = make.staff(), make.staff()
    client, other = login(person), login(stranger)
    login(stranger)
    _, [foreign] = sessions_of(other)
    assert client.submit(f"/account/sessions/{mark}/end").status_code == 404
    assert client.submit(f"/account/sessions/{foreign}/end").status_code == 404
    assert other.get("/account").status_code == 200
    assert db.session.scalar(select(AuditEntry.id).where(AuditEntry.act == "account.sign_out")) is None

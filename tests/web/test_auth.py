"""Signing in and out, the password page, and what ends a sign-in."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.core.ids import new_id
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import SignIn, SignInAttempt
from app.domain.tenants import service as tenants
from app.domain.tenants.service import TenantProfile
from app.web.auth.next_page import local_page

PASSWORD = "correct horse battery"
STAFF, USER = "ann@northline.example", "office@acme.example"
Browser = Callable[[], FlaskClient]


@pytest.fixture
def people(app: Flask) -> Flask:
    """One of the provider's people and a user of Acme, with the same password."""
    now = datetime.now(UTC)
    with app.app_context(), unit_of_work() as session:
        accounts.create_staff(session, STAFF, "Ann", PASSWORD, actor="test", now=now)
        tenant = tenants.create(session, TenantProfile("acme", "Acme"), actor="test", now=now)
        accounts.create_user(session, tenant, USER, "Office", PASSWORD, actor="test", now=now)
    return app


@pytest.fixture
def new_browser(people: Flask) -> Browser:
    """A fresh browser each time."""
    return people.test_client


def token(page: TestResponse) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def sign_in(client: FlaskClient, email: str = STAFF, password: str = PASSWORD, **more: str) -> TestResponse:
    form = {"email": email, "password": password, "csrf_token": token(client.get("/login")), **more}
    return client.post("/login", data=form)


def post(client: FlaskClient, url: str, **form: str) -> TestResponse:
    return client.post(url, data={"csrf_token": token(client.get("/account/password")), **form})


def is_signed_in(client: FlaskClient) -> bool:
    return client.get("/account/password").status_code == 200


def test_staff_and_users_land_on_their_own_pages(new_browser: Browser) -> None:
    for email, home in ((STAFF, "/provider"), (USER, "/portal")):
        client = new_browser()
        answer = sign_in(client, email)
        assert (answer.status_code, answer.location) == (303, home)
        assert client.get("/").location == home
        assert client.get("/login").location == home


def test_neither_sees_the_others_pages(new_browser: Browser) -> None:
    for email, foreign in ((STAFF, "/portal"), (USER, "/provider")):
        client = new_browser()
        sign_in(client, email)
        assert client.get(foreign).status_code == 404


def test_a_page_asked_for_before_signing_in_is_shown_after_it(new_browser: Browser) -> None:
    client = new_browser()
    asked = client.get("/provider?sort=name&page=2")
    assert asked.status_code == 303
    assert asked.location.startswith("/login?next=")
    form = client.get(asked.location)
    wanted = re.search(r'name="next"[^>]*value="([^"]+)"', form.text)
    assert wanted
    answer = sign_in(client, next=wanted[1].replace("&amp;", "&"))
    assert answer.location == "/provider?sort=name&page=2"


def test_htmx_is_sent_to_the_sign_in_page_as_a_whole(new_browser: Browser) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/provider?page=2", "HX-Target": "div#rows"}
    answer = new_browser().get("/provider", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["HX-Redirect"] == "/login?next=/provider?page%3D2"


TRICKS = [
    "//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example",
    "https://evil.example", "https:evil.example", "https:/evil.example", "http:///evil.example", "HTTPS://evil.example",
    "javascript:alert(1)", "data:text/html,x", "/%09/evil.example", "/%2f/evil.example", "/%5cevil.example",
    "/\t/evil.example", "\t//evil.example", "/\n/evil.example", "/\r\nLocation: https://evil.example",
    " //evil.example", "/ /evil.example", "/.//evil.example", "/..//evil.example", "/portal/..//evil.example",
    "/provider//evil.example", "/\x00/evil.example", "/\u2028/evil.example", "/\uff0fevil.example", "/@evil.example/",
    "@evil.example", "evil.example", "?next=//evil.example", "/;//evil.example", "/a?\r\nSet-Cookie: a=b",
    "/a?x=\\evil",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_leads_to_another_site(trick: str, new_browser: Browser) -> None:
    assert local_page(trick) is None
    answer = sign_in(new_browser(), next=trick)
    assert (answer.status_code, answer.location) == (303, "/provider")


@pytest.mark.parametrize("page", ["/", "/portal", "/provider/tenants/acme-2", "/portal/usage?day=2026-11-30&q=%2B49"])
def test_a_page_of_the_portal_is_kept(page: str) -> None:
    assert local_page(page) == page


def test_wrong_credentials_say_nothing_about_who_has_an_account(new_browser: Browser) -> None:
    client = new_browser()
    pages = []
    for email in (STAFF, "nobody@nowhere.example"):
        answer = sign_in(client, email, "not the password")
        assert answer.status_code == 422
        pages.append(re.sub(r'(value|data-passkey)="[^"]*"|"X-CSRFToken": "[^"]*"', "", answer.text))
    assert pages[0] == pages[1]
    assert "The e-mail address or the password is not right." in pages[0]
    assert "<title>Error:" in pages[0]


def test_a_bad_form_comes_back_with_what_was_typed_but_not_the_password(new_browser: Browser) -> None:
    answer = sign_in(new_browser(), "Ann@typo.example", "my secret words")
    assert answer.status_code == 422
    assert 'value="Ann@typo.example"' in answer.text
    assert "my secret words" not in answer.text
    empty = sign_in(new_browser(), "", "")
    assert empty.status_code == 422
    assert "Enter your password." in empty.text


def test_the_session_is_a_new_one_after_signing_in(new_browser: Browser) -> None:
    client = new_browser()
    with client.session_transaction() as session:
        session["planted"] = "by someone who knows this cookie"
    before = token(client.get("/login"))
    sign_in(client)
    first = _cookie_token(client)
    with client.session_transaction() as session:
        assert "planted" not in session
    stale = client.post("/account/password", data={"csrf_token": before})
    assert stale.status_code == 400  # the token of the old session is worth nothing in the new one
    sign_in_again = client.post("/login", data=_form(client))
    assert sign_in_again.status_code == 303
    assert _cookie_token(client) != first


def _form(client: FlaskClient) -> dict[str, str]:
    return {"email": STAFF, "password": PASSWORD, "csrf_token": token(client.get("/account/password"))}


def _cookie_token(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        return str(session["_user_id"])


def test_signing_in_again_ends_the_sign_in_of_before(new_browser: Browser, people: Flask) -> None:
    client, copy = new_browser(), new_browser()
    sign_in(client)
    old = client.get_cookie("ringplan")
    assert old
    copy.set_cookie("ringplan", old.value)
    assert is_signed_in(copy)
    client.post("/login", data=_form(client))
    assert is_signed_in(client)
    assert not is_signed_in(copy)


def test_signing_out_ends_it_on_the_server_too(new_browser: Browser) -> None:
    client, thief = new_browser(), new_browser()
    sign_in(client)
    stolen = client.get_cookie("ringplan")
    assert stolen
    thief.set_cookie("ringplan", stolen.value)
    assert is_signed_in(thief)
    answer = post(client, "/logout")
    assert (answer.status_code, answer.location) == (303, "/login")
    assert not is_signed_in(client)
    assert not is_signed_in(thief)


def test_signing_out_takes_a_post(new_browser: Browser) -> None:
    client = new_browser()
    sign_in(client)
    assert client.get("/logout").status_code == 405
    assert is_signed_in(client)


def test_a_new_password_signs_out_everywhere_else(new_browser: Browser) -> None:
    here, there = new_browser(), new_browser()
    sign_in(here)
    sign_in(there)
    new = "another long password"
    answer = post(here, "/account/password", current=PASSWORD, new=new, repeat=new)
    assert (answer.status_code, answer.location) == (303, "/account/password")
    assert is_signed_in(here)
    assert not is_signed_in(there)
    assert sign_in(new_browser()).status_code == 422
    assert sign_in(new_browser(), password=new).status_code == 303


@pytest.mark.parametrize(
    ("current", "new", "repeat", "words"),
    [
        ("not it at all", "another long password", "another long password", "This is not your current password."),
        (PASSWORD, "too short", "too short", "Use at least 12 characters."),
        (PASSWORD, "Sunshine2026!", "Sunshine2026!", "Too many people use this password, or one like it."),
        (PASSWORD, STAFF, STAFF, "Use something else than your e-mail address."),
        (PASSWORD, f"my {STAFF.upper()}!", f"my {STAFF.upper()}!", "Use something else than your e-mail address."),
        (PASSWORD, "another long password", "another long passwort", "The two new passwords differ."),
        (PASSWORD, "", "", "Enter a new password."),
    ],
)
def test_a_bad_new_password_is_explained(new_browser: Browser, current: str, new: str, repeat: str, words: str) -> None:
    client = new_browser()
    sign_in(client)
    answer = post(client, "/account/password", current=current, new=new, repeat=repeat)
    assert answer.status_code == 422
    assert words in answer.text
    assert sign_in(new_browser()).status_code == 303


def test_disabling_an_account_ends_its_sign_ins_at_once(new_browser: Browser, people: Flask) -> None:
    client = new_browser()
    sign_in(client)
    with people.app_context(), unit_of_work() as session:
        accounts.create_staff(session, "zoe@northline.example", "Zoe", PASSWORD, actor="test", now=datetime.now(UTC))
        accounts.disable_account(session, accounts.by_email(session, STAFF), actor="test", now=datetime.now(UTC))
    assert client.get("/provider").status_code == 303
    assert sign_in(new_browser()).status_code == 422


def test_an_unused_sign_in_ends_and_a_used_one_lasts(new_browser: Browser) -> None:
    with time_machine.travel(datetime(2026, 11, 1, 9, tzinfo=UTC), tick=False) as clock:
        used, unused = new_browser(), new_browser()
        sign_in(used)
        sign_in(unused)
        for _ in range(3):
            clock.shift(timedelta(days=6))
            assert is_signed_in(used)
        assert not is_signed_in(unused)


def test_seeing_pages_writes_at_most_every_five_minutes(new_browser: Browser, people: Flask) -> None:
    def seen_at() -> datetime | None:
        with people.app_context():
            return db.session.scalar(select(SignIn.seen_at))

    start = datetime(2026, 11, 1, 9, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        client = new_browser()
        sign_in(client)
        clock.shift(timedelta(minutes=4))
        client.get("/account/password")
        assert seen_at() == start
        clock.shift(timedelta(minutes=1))
        answer = client.get("/account/password")
        assert seen_at() == start + timedelta(minutes=5)
        assert "Expires=Sun, 15 Nov 2026 09:05" in answer.headers["Set-Cookie"]  # the cookie lasts as long


def test_too_many_guesses_are_told_when_to_come_back_and_others_are_not_stopped(
    new_browser: Browser, people: Flask
) -> None:
    with people.app_context(), unit_of_work() as session:
        now = datetime.now(UTC)
        session.add_all(
            SignInAttempt(id=new_id(), email=STAFF, address="127.0.0.1", at=now, succeeded=False) for _ in range(5)
        )
    guess = sign_in(new_browser())
    assert guess.status_code == 429
    assert 800 < int(guess.headers["Retry-After"]) <= 900
    assert "Try again in 15 minutes." in guess.text
    assert f'value="{STAFF}"' in guess.text
    elsewhere = new_browser()
    form = {"email": STAFF, "password": PASSWORD, "csrf_token": token(elsewhere.get("/login"))}
    victim = elsewhere.post("/login", data=form, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert victim.status_code == 303


def test_a_damaged_cookie_is_no_sign_in(new_browser: Browser) -> None:
    client = new_browser()
    sign_in(client)
    with client.session_transaction() as session:
        session["_user_id"] = "guessed"
    assert client.get("/provider").status_code == 303

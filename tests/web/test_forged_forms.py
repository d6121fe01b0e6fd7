"""Forms that another site has a signed-in browser send: every unsafe route there is refuses them."""

from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.db import db
from tests import world
from tests.web.test_rights import is_for_machines, is_for_people, requests_of

KINDS = {
    "no token": {},
    "another sign-in's token": {},
    "foreign origin": {"Origin": "https://evil.example"},
    "an origin that begins alike": {"Origin": "http://localhost.evil.example"},
    "no origin to speak of": {"Origin": "null"},
    "another site, the browser says": {"Sec-Fetch-Site": "cross-site"},
    "another host of the domain": {"Sec-Fetch-Site": "same-site"},
}


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)


@pytest.mark.databases("sqlite")
def test_no_unsafe_route_takes_a_form_from_elsewhere(app, make, now, login):
    w = world.build(app, make, now)
    ours = {"provider": login(w.people["staff:owner"]), "tenant": login(w.people["tenant:admin"])}
    token = login(w.globex.user).csrf_token + "x"
    commits: list[Session] = []
    note = commits.append
    event.listen(Session, "after_commit", note)
    db.session.rollback()
    wrong, asked_for = [], 0
    for asked in requests_of(w, app.url_map):
        if asked.method == "GET" or not is_for_people(asked.rule) or asked.foreign:
            continue
        browser = ours["tenant" if asked.rule.endpoint.startswith("tenant.") else "provider"]
        for kind, headers in KINDS.items():
            body = {"csrf_token": browser.csrf_token} if headers else {}
            if kind == "another sign-in's token":
                body = {"csrf_token": token}
            del commits[:]
            answer = browser.open(asked.url, method=asked.method, data=body, headers=headers)
            asked_for += 1
            if answer.status_code != 400 or "This form has expired" not in answer.text or commits:
                wrong.append(f"{kind}: {asked}: {answer.status_code}, {len(commits)} commits")
    event.remove(Session, "after_commit", note)
    assert not wrong, "\n".join(wrong)
    assert asked_for > 60 * len(KINDS)


@pytest.mark.databases("sqlite")
def test_nobodys_forms_need_a_token_too_and_few_routes_none(app):
    found = set()
    for rule in app.url_map.iter_rules():
        if is_for_people(rule) or is_for_machines(rule):
            continue  # above; and those prove themselves by a key with each request
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            url = app.url_map.bind("localhost").build(rule.endpoint, dict.fromkeys(rule.arguments, "x" * 32))
            status = app.test_client().open(url, method=method, data={"a": "b"}).status_code
            assert status == (404 if rule.endpoint == "stripe_webhook" else 400), (
                method,
                url,
                status,
            )  # no account there
            found.add(rule.endpoint)
    assert {"auth.login", "auth.forgot", "auth.invitation", "stripe_webhook"} <= found


@pytest.mark.databases("sqlite")
def test_forms_of_the_portals_own_pages_pass(app, make):
    browser = app.test_client()
    browser.sign_in(make.staff().email)
    for headers in ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        answer = browser.submit("/account", {"name": "Nora"}, headers=headers)
        assert answer.status_code in (200, 303), headers

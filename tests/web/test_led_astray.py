"""What a request says of hosts and of pages to go on to leads nobody to another site: every route, also a new one."""

import re
from collections import defaultdict
from dataclasses import replace
from html import unescape
from urllib.parse import quote, urljoin, urlsplit

import pytest

from app import create_app
from app.db import db
from app.domain.jobs.models import Job
from tests import world
from tests.web.test_auth import TRICKS
from tests.web.test_rights import BODIES, nothing_lasts, requests_of, short  # noqa: F401  a fixture

EVIL = "evil.example"
POISON = {
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Server": EVIL,
    "X-Forwarded-Prefix": f"//{EVIL}",
    "X-Forwarded-Port": "666",
    "X-Host": EVIL,
    "X-Original-URL": f"//{EVIL}/",
    "X-Rewrite-URL": f"//{EVIL}/",
    "Forwarded": f"host={EVIL};proto=http",
    "HX-Current-URL": f"https://{EVIL}//{EVIL}/",
    "Referer": f"http://{EVIL}//{EVIL}/",
}
TAKES_NEXT = {"auth.login", "auth.second", "auth.passkey", "auth.sso", "auth.sso_return", "account.confirm"}
pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)


@pytest.fixture
def w(app, make, now):
    return world.build(app, make, now)


@pytest.fixture
def browsers(app, w, login):
    owner, found = login(w.people["staff:owner"]), defaultdict(app.test_client)
    return found | {"provider": owner, "account": owner, "viewing": owner, "tenant": login(w.people["tenant:admin"])}


def leads_to(answer):
    """Every address in the answer that a browser would go to by itself, by a click or with a form."""
    named = [value for name, value in answer.headers if name in ("Location", "HX-Redirect", "HX-Location", "Link")]
    attribute = r'(?:href|src|action|hx-get|hx-post|formaction)="([^"]*)"'
    return named + (re.findall(attribute, answer.text) if answer.mimetype == "text/html" else [])


def is_elsewhere(address):
    """As browsers read it: a backslash is a slash, and what is no printing character is none."""
    address = "".join(each for each in unescape(address).replace("\\", "/") if each > " ")
    return urlsplit(urljoin("http://localhost/here/", address)).netloc not in ("localhost", "")


def test_no_route_repeats_a_host_or_a_page_that_a_request_names(app, w, browsers, nothing_lasts):  # noqa: F811
    app.config["PROPAGATE_EXCEPTIONS"] = False
    wrong, takes, asked_for = [], set(), 0
    for asked in requests_of(w, app.url_map):
        if asked.foreign or asked.rule.endpoint in ("auth.logout", "static"):
            continue
        browser = browsers[asked.rule.endpoint.partition(".")[0]]
        sent = {"csrf_token": browser.csrf_token, "next": f"//{EVIL}/", **BODIES.get(short(asked.rule.endpoint), {})}
        body = sent if asked.method != "GET" else None
        answer = browser.open(f"{asked.url}?next=//{EVIL}/", method=asked.method, headers=POISON, data=body)
        asked_for += 1
        wrong += [f"{asked}: {each}" for each in leads_to(answer) if is_elsewhere(each)]
        if asked.method == "GET" and re.search(b'name="next"|[?]next=', answer.data):
            takes |= {asked.rule.endpoint} if b'"/zq"' in browser.get(f"{asked.url}?next=/zq").data else set()
    assert not wrong and asked_for > 200, "\n".join(wrong)
    assert takes and takes <= TAKES_NEXT, "try every trick on it, too"
    assert not [job for job in db.session.query(Job) if EVIL in str(job.payload)]


@pytest.mark.parametrize("path", ["/login", "/login/second", "/account/confirm"])
def test_no_trick_stands_in_a_form_that_goes_on(app, make, login, path):
    browser = login(make.staff()) if "account" in path else app.test_client()
    for trick in TRICKS:
        answer = browser.get(f"{path}?next={quote(trick)}")
        assert not [each for each in leads_to(answer) if is_elsewhere(each)], trick


def test_behind_a_proxy_only_known_hosts_are_answered(settings, app):
    behind = create_app(replace(settings, BEHIND_PROXY=True, PUBLIC_URL="https://portal.northline.example"))
    client = behind.test_client()
    for rule in behind.url_map.iter_rules():
        path = re.sub("<[^>]*>", "1", rule.rule)
        answer = client.get(path, headers={"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "https"})
        assert answer.status_code in (400, 404) and EVIL not in answer.text + str(answer.headers), rule

"""Who reaches what: every route as everybody, with ids of one's own and of others. New routes are covered unasked."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any, NamedTuple

import pytest
from sqlalchemy.orm import Session
from werkzeug.routing import Map, Rule

from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import Role, who_may
from app.domain.tenants.models import Tenant
from app.web.guards import OPEN_BLUEPRINTS, OPEN_ENDPOINTS, Needs
from tests import world
from tests.world import NOBODY

# What stands in an address, by route and name: the first that fits. Staff's is Acme's or the provider's own thing, and
# to a tenant's user it is Acme's. A new kind of id needs a line here, or the test says so.
SHARED = {
    ("package", "code"): ("small", "nothing"),
    ("resource", "code"): ("extensions", "nothing"),
    ("source", "code"): ("pbx1", "nothing"),
    ("provider.key", "prefix"): (lambda w: w.shared["prefix"], "0123456789"),
    ("line", "code"): ("extensions", "nothing"),
    ("bank_line", "line_id"): (lambda w: w.shared["bank_line_id"], NOBODY),
    ("package_undo", "number"): (1, 999),
    ("statement", "day"): ("2026-09-01", "2020-01-01"),
    ("call_release", "hold"): (lambda w: w.acme.ids["hold"], "h_1_1"),
    ("session_end", "mark"): (None, lambda w: w.acme.ids["mark"]),  # one's own sign-ins differ from person to person
    ("second_factor_reset", "account_id"): (lambda w: w.acme.user.id, NOBODY),
    ("passkey_remove", "passkey_id"): (None, lambda w: w.acme.ids["passkey_id"]),
    ("", "slug"): ("acme", "nobody"),
    ("", "message_id"): (lambda w: w.acme.ids["message_id"], None),
    ("", "run_id"): (lambda w: w.shared["run_id"], NOBODY),
    ("", "job_id"): (lambda w: w.shared["job_id"], NOBODY),
    ("", "entry_id"): (lambda w: w.shared["entry_id"], NOBODY),
}
# Which of a tenant's things a route is about, where its name alone does not say.
MEANT = {
    ("line_again", "allocation_id"): "released_id",
    ("invoice_act", "invoice_id"): "draft_id",
    ("invoice_line", "invoice_id"): "draft_id",
    ("invoice_finalise", "invoice_id"): "draft_id",
}
OWN_IDS = {
    "invoice_id",
    "number",
    "allocation_id",
    "endpoint_id",
    "account_id",
    "invitation_id",
    "prefix",
}  # those that one tenant alone has
PROVIDERS_OWN = {"endpoint_id", "account_id", "invitation_id"}  # and those that the provider has of its own, too
BODIES = {
    "plans_ask": {"package": "large"},
    "people_role": {"role": "billing"},
    "key_new": {"label": "x" * 101},  # what is made is shown, and here nothing lasts
    "key_rotate": {"overlap": "none"},
    "tenants_ticked": {"act": "resume", "tenant": "acme"},
}
# These answer 404 for what is not in the world: nothing is pending, no quote was made, no package named, nobody
# pays in advance. A job that is not there has been done, which is said.
ELSE = {
    "ready_offer": 404,
    "plan_accept": 404,
    "plans_accept": 404,
    "plan_cancel": 404,
    "plans_cancel": 404,
    "trial": 404,
    "balance": 404,
    "balance_card": 404,
    "balance_top_up": 404,
    "job_retry": 409,
}
OPEN_TO_MACHINES = {"api.docs", "api.openapi"}
IDENTITIES = 10


class Asked(NamedTuple):
    """One request: of which route, with what, and what the ids are."""

    rule: Rule
    method: str
    url: str
    foreign: str = ""  # the argument that is somebody else's or nobody's

    def __str__(self) -> str:
        return f"{self.method} {self.url}" + (f" (foreign {self.foreign})" if self.foreign else "")


def short(endpoint: str) -> str:
    return endpoint.rpartition(".")[2].removeprefix("tenant_")


def named(table: dict[tuple[str, str], Any], endpoint: str, argument: str) -> Any:
    for (part, name), value in table.items():
        page = endpoint if "." in part else short(endpoint)
        if name == argument and part.removeprefix("tenant_") in page:
            return value
    return None


def values(w: world.World, rule: Rule, argument: str) -> tuple[Any, Any]:
    """One's own and somebody else's."""
    if argument in ("act",) and hasattr(rule._converters[argument], "items"):
        return min(rule._converters[argument].items), None  # any other is no address at all
    found = named(SHARED, rule.endpoint, argument)
    if found:
        return tuple(each(w) if callable(each) else each for each in found)  # type: ignore[return-value]
    if argument in PROVIDERS_OWN and rule.endpoint.startswith("provider.") and "slug" not in rule.arguments:
        return w.shared[argument], w.acme.ids[argument]
    name = named(MEANT, rule.endpoint, argument) or argument
    assert name in w.acme.ids, f"tests/web/test_rights.py does not know what {argument} of {rule} is"
    return w.acme.ids[name], w.globex.ids[name]


def requests_of(w: world.World, url_map: Map) -> Iterator[Asked]:
    address = url_map.bind("localhost")
    for rule in url_map.iter_rules():
        known = {name: values(w, rule, name) for name in rule.arguments} if is_for_people(rule) else {}
        own = {name: pair[0] for name, pair in known.items()}
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if not is_for_people(rule):
                own = dict.fromkeys(rule.arguments, NOBODY)
            if None not in own.values():
                yield Asked(rule, method, address.build(rule.endpoint, own))
            for name, (_, foreign) in known.items():
                if foreign is not None:
                    yield Asked(rule, method, address.build(rule.endpoint, own | {name: foreign}), name)


def is_for_people(rule: Rule) -> bool:
    return not is_open(rule) and not is_for_machines(rule)


def is_open(rule: Rule) -> bool:
    return rule.endpoint in OPEN_ENDPOINTS


def is_for_machines(rule: Rule) -> bool:
    return rule.endpoint.partition(".")[0] in OPEN_BLUEPRINTS


@pytest.fixture
def settings(settings):
    return replace(settings, MAX_STREAMS=0)  # a stream is asked for as any page, and answers that all are taken


@pytest.fixture
def w(app, make, now) -> world.World:
    return world.build(app, make, now)


@pytest.fixture
def browsers(app, login, make, now, w) -> dict[str, Any]:
    """Somebody signed in of each kind, and nobody."""
    gone = make.user(w.acme.tenant)
    people = {**w.people, "of another tenant": w.globex.user, "deactivated": gone}
    found = {"nobody": app.test_client()} | {name: login(account) for name, account in people.items()}
    with unit_of_work() as session:
        accounts.disable_account(session, session.get_one(Account, gone.id), actor="test", now=now)
    return found


@pytest.fixture
def nothing_lasts(monkeypatch):
    """What requests do is taken back, so that each finds the same world."""

    def take_back(session: Session) -> None:
        session.flush()
        session.rollback()

    monkeypatch.setattr(Session, "commit", take_back)


def expected(w: world.World, name: str, asked: Asked, needed: Needs) -> str:
    """What is due to whom: `sign in`, `no such page`, `not yours to do` or `open`."""
    account = {**w.people, "of another tenant": w.globex.user}.get(name)
    if account is None:
        return "sign in"
    side = asked.rule.endpoint.partition(".")[0]
    if (side in ("provider", "viewing") and not account.is_staff) or (side == "tenant" and account.is_staff):
        return "no such page"
    permission = needed.to_look if asked.method == "GET" else needed.to_change
    if account.role not in who_may(permission, is_staff=account.is_staff):
        return "not yours to do"
    if side == "tenant" and name == "of another tenant" and OWN_IDS.intersection(asked.rule.arguments):
        return "open" if asked.foreign in OWN_IDS else "no such page"
    return "no such page" if asked.foreign else "open"


def seen(answer: Any) -> str:
    location = answer.headers.get("Location", "")
    if answer.status_code == 303 and location.partition("?")[0] == "/login":
        return "sign in"
    return {404: "no such page", 403: "not yours to do"}.get(answer.status_code, "open")


@pytest.mark.databases("sqlite")
def test_every_view_names_its_permission(app):
    unknown = [
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if is_for_people(rule) and not isinstance(getattr(app.view_functions[rule.endpoint], "needs", None), Needs)
    ]
    assert unknown == []


@pytest.mark.databases("sqlite")
def test_everybody_reaches_what_the_table_says_and_nothing_else(app, w, browsers, nothing_lasts):
    assert len(browsers) == IDENTITIES
    app.config["PROPAGATE_EXCEPTIONS"] = False  # a bug is one line of the answer below
    wrong, counted = [], Counter()
    for asked in requests_of(w, app.url_map):
        if not is_for_people(asked.rule):
            continue
        needed = app.view_functions[asked.rule.endpoint].needs
        for name, browser in browsers.items():
            due = expected(w, name, asked, needed)
            if asked.rule.endpoint == "auth.logout" and due == "open":
                continue
            if asked.foreign and due not in ("open", "no such page"):
                continue  # who is refused without an id is refused with any
            page = short(asked.rule.endpoint)
            body = {"csrf_token": browser.csrf_token, **BODIES.get(page, {})} if asked.method != "GET" else None
            answer = browser.open(asked.url, method=asked.method, data=body)
            counted[due] += 1
            is_refused = due in ("sign in", "not yours to do")
            if not is_refused and answer.status_code == ELSE.get(page):
                continue
            if seen(answer) != due or answer.status_code in (400, 500):
                wrong.append(f"{name}: {asked}: {answer.status_code}, which is {seen(answer)}, not {due}")
    assert not wrong, "\n".join(wrong)
    assert len(counted) == 4 and min(counted.values()) > 100, counted


def test_a_persons_cookie_opens_nothing_of_the_machine_interface(app, w, browsers):
    wrong, asked_for = [], 0
    for asked in requests_of(w, app.url_map):
        if not is_for_machines(asked.rule) or asked.rule.endpoint in OPEN_TO_MACHINES:
            continue
        for name in ("nobody", "staff:owner", "tenant:admin"):
            answer = browsers[name].open(asked.url, method=asked.method, json={})
            asked_for += 1
            if answer.status_code != 401:
                wrong.append(f"{name}: {asked}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
    assert asked_for > 50


def offered(page: str) -> Iterator[tuple[str, str]]:
    """Method and address of every link, form and htmx request of a page."""
    for tag, attributes in re.findall(r"<(a|form|button|div|input|select)\b([^>]*)>", page):
        given = {name: unescape(value) for name, value in re.findall(r'([\w:-]+)="([^"]*)"', attributes)}
        if tag == "form":
            yield given.get("method", "get").upper(), given.get("action", "")
        for name, method in {"href": "GET", "formaction": "POST", "hx-get": "GET", "hx-post": "POST"}.items():
            if name in given:
                yield method, given[name]


@pytest.mark.databases("sqlite")
def test_no_page_offers_what_its_reader_may_not_do(app, w, browsers):
    """A link to a refusal is an insult; what is closed is hidden or says so without a link."""
    address, wrong, looked_at = app.url_map.bind("localhost"), set(), 0
    pages = [each for each in requests_of(w, app.url_map) if each.method == "GET" and not each.foreign]
    for name, account in w.people.items():
        for asked in pages:
            side = asked.rule.endpoint.partition(".")[0]
            if side not in ("provider" if account.is_staff else "tenant", "account"):
                continue
            answer = browsers[name].get(asked.url)
            if answer.status_code != 200 or answer.mimetype != "text/html":
                continue
            looked_at += 1
            for method, url in offered(answer.text):
                path = url.partition("?")[0].partition("#")[0]
                if not path.startswith("/"):
                    continue
                endpoint, _ = address.match(path, method=method)
                needed = getattr(app.view_functions[endpoint], "needs", None)
                permission = needed and (needed.to_look if method == "GET" else needed.to_change)
                if permission and account.role not in who_may(permission, is_staff=account.is_staff):
                    wrong.add(f"{asked.rule.endpoint} as {name} offers {method} {path}")
    assert not wrong, "\n".join(sorted(wrong))
    assert looked_at > 100


@pytest.mark.databases("sqlite")
def test_a_refusal_names_the_permission_and_who_has_it(login, make):
    make.tenant("Acme")
    answer = login(make.staff(role=Role.SUPPORT)).get("/provider/packages/new")
    assert answer.status_code == 403
    text = " ".join(unescape(answer.text).split())
    assert "This needs the permission “Edit packages, prices and resources”. Your role is Support." in text
    assert "Who has it: Owner, Billing." in text


@pytest.mark.databases("sqlite")
def test_a_member_chooses_its_own_mail_and_not_the_thresholds_of_all(login, make, session):
    acme = make.tenant("Acme")
    member = make.user(acme, role=Role.MEMBER)
    browser = login(member)
    assert 'name="thresholds"' not in browser.get("/portal/notifications").text
    sent = {"wanted": "y", "thresholds": "1, 2"}
    assert browser.submit("/portal/notifications", sent).status_code == 303
    session.expire_all()
    assert session.get_one(Account, member.id).wants_threshold_mail
    assert session.get_one(Tenant, acme.id).thresholds != [1, 2]

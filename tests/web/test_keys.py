"""API keys on pages: issued, shown once, exchanged, ended and revoked, by the provider and by a tenant for itself."""

import re
import shlex
from datetime import timedelta
from html import unescape

import pytest

from app.domain.accounts import service as accounts
from app.domain.accounts.models import ApiKey
from app.domain.accounts.roles import Role

pytestmark = pytest.mark.databases("sqlite")
SIDES = ("provider", "portal")


@pytest.fixture
def acme(make):
    acme = make.tenant("Acme", timezone="Europe/Berlin")
    make.subscribe(acme, make.package("gold", {"fax_pages": 10}))
    return acme


@pytest.fixture
def people(make, login, acme):
    """Who may issue keys on each side."""
    make.source("pbx1")
    return {"provider": login(make.staff()), "portal": login(make.user(acme))}


def issued(page) -> str:
    assert page.status_code == 200
    return re.search(r'<code id="key">(rp_\w+)</code>', page.text)[1]


def issue(people, side, **more) -> str:
    fields = {"source": "pbx1", "scopes": ["usage", "calls", "read"]} if side == "provider" else {}
    return issued(people[side].submit(f"/{side}/keys/new", {**fields, "label": "Books", **more}))


def page_of(people, side, key) -> str:
    return unescape(" ".join(people[side].get(f"/{side}/keys/{key.split('_')[1]}").text.split()))


def act(people, side, key, what, **fields):
    return people[side].submit(f"/{side}/keys/{key.split('_')[1]}/{what}", fields)


@pytest.mark.parametrize("side", SIDES)
def test_every_line_to_try_works(app, people, side):
    answer = people[side].submit(
        f"/{side}/keys/new",
        {"source": "pbx1", "scopes": ["usage", "calls", "read", "provision"]} if side == "provider" else {},
    )
    lines = [unescape(line) for line in re.findall(r'<pre id="try-\d"[^>]*>(.*?)</pre>', answer.text, re.DOTALL)]
    assert len(lines) == (3 if side == "provider" else 1)
    for line in lines:
        words = shlex.split(line)
        headers = dict(words[at + 1].split(": ") for at, word in enumerate(words) if word == "-H")
        body = words[words.index("-d") + 1] if "-d" in words else None
        url = next(word for word in words if word.startswith("http")).removeprefix("http://localhost")
        found = app.test_client().open(url, method="POST" if body else "GET", headers=headers, data=body)
        assert found.status_code == 200, (line, found.text)
        assert found.json.get("accepted", 1) == 1
        assert found.json.get("allowed", True)


@pytest.mark.parametrize("side", SIDES)
def test_a_key_is_shown_once_and_then_by_its_beginning(people, side, session, now):
    key = issue(people, side)
    prefix = key.split("_")[1]
    assert accounts.verify_key(session, key, now)
    for path in (f"/{side}/keys", f"/{side}/keys/{prefix}"):
        page = people[side].get(path).text
        assert f"rp_{prefix}_…" in page and "Books" in page and key not in page


@pytest.mark.parametrize("side", SIDES)
def test_a_key_is_exchanged_and_the_old_one_works_on_for_a_while(people, side, session, now):
    old = issue(people, side)
    new = issued(act(people, side, old, "rotate", overlap="168"))
    session.expire_all()
    assert accounts.verify_key(session, old, now + timedelta(days=6)) and accounts.verify_key(session, new, now)
    assert not accounts.verify_key(session, old, now + timedelta(days=8))
    assert f"rp_{new.split('_')[1]}_…" in page_of(people, side, old)
    assert f"rp_{old.split('_')[1]}_…" in page_of(people, side, new)
    assert act(people, side, old, "rotate", overlap="24").status_code == 409
    assert act(people, side, new, "rotate", overlap="13").status_code == 422


def test_a_key_ends_with_its_last_day_where_the_reader_lives(people, session, now):
    day = now.date() + timedelta(days=30)
    for side, hours in (("provider", 0), ("portal", -1)):  # Berlin's midnight comes an hour before that of UTC
        key = issue(people, side, ends_on=day.isoformat())
        stored = accounts.find_key(session, key.split("_")[1])
        midnight = stored.expires_at - timedelta(hours=hours)
        assert (midnight.date(), midnight.hour) == (day + timedelta(days=1), 0)
        assert f'value="{day.isoformat()}"' in page_of(people, side, key)
        assert act(people, side, key, "end", ends_on="").status_code == 303
        session.expire_all()
        assert accounts.find_key(session, key.split("_")[1]).expires_at is None


def test_a_key_that_ends_within_two_weeks_says_so(people, now):
    soon, later = (issue(people, "portal", ends_on=(now.date() + timedelta(days=days)).isoformat()) for days in (9, 40))
    assert "ends soon" in page_of(people, "portal", soon) and "ends soon" not in page_of(people, "portal", later)


@pytest.mark.parametrize("day", ["2020-01-01", "9999-12-31", "0001-01-01", "soon"])
@pytest.mark.parametrize("side", SIDES)
def test_a_day_that_cannot_be_meant_is_refused_at_its_field(people, side, day):
    key = issue(people, side)
    for answer in (
        act(people, side, key, "end", ends_on=day),
        people[side].submit(f"/{side}/keys/new", {"source": "pbx1", "scopes": "usage", "ends_on": day}),
    ):
        assert answer.status_code == 422 and 'id="ends_on-error"' in answer.text


@pytest.mark.parametrize("side", SIDES)
def test_a_revoked_key_is_refused_at_the_next_request_and_cannot_be_changed(client, people, side):
    key = issue(people, side)
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/api/v1/tenants/acme", headers=headers).status_code == 200
    assert act(people, side, key, "revoke").status_code == 303
    assert client.get("/api/v1/tenants/acme", headers=headers).status_code == 401
    assert "It opens nothing" in page_of(people, side, key)
    assert act(people, side, key, "end", ends_on="").status_code == 303  # there is nothing to change
    assert act(people, side, key, "rotate", overlap="24").status_code == 409


def test_the_provider_sees_and_revokes_everybodys_and_a_tenant_its_own_alone(make, login, people, session):
    theirs, ours = issue(people, "portal", label="Theirs"), issue(people, "provider", label="Ours")
    listed = people["provider"].get("/provider/keys").text
    assert "Theirs" in listed and "Ours" in listed and "Acme" in listed
    for query, seen in {"whose=tenants": {"Theirs"}, "whose=sources": {"Ours"}, "state=ended": set()}.items():
        page = people["provider"].get(f"/provider/keys?{query}").text
        assert {name for name in ("Theirs", "Ours") if name in page} == seen
    assert "Ours" not in people["portal"].get("/portal/keys").text
    prefix = ours.split("_")[1]
    assert people["portal"].get(f"/portal/keys/{prefix}").status_code == 404
    for what in ("rotate", "end", "revoke"):
        assert act(people, "portal", ours, what, overlap="24").status_code == 404
    assert act(people, "provider", theirs, "revoke").status_code == 303
    session.expire_all()
    assert session.query(ApiKey).filter(ApiKey.revoked_at.is_not(None)).one().label == "Theirs"


@pytest.mark.parametrize("fields", [{"source": "pbx1"}, {"scopes": "usage"}, {"source": "no", "scopes": "usage"}])
def test_a_key_needs_a_source_and_a_scope(people, fields, session):
    before = session.query(ApiKey).count()
    assert people["provider"].submit("/provider/keys/new", fields).status_code == 422
    assert session.query(ApiKey).count() == before


def test_the_list_is_paged(people, make, session, monkeypatch):
    monkeypatch.setattr("app.web.keys.PAGE", 2)
    for number in range(3):
        issue(people, "portal", label=f"Key {number}")
    page = people["portal"].get("/portal/keys").text
    older = unescape(re.search(r'href="(/portal/keys\?after=[^"]+)"', page)[1])
    assert "Key 2" in page and "Key 0" not in page
    assert "Key 0" in people["portal"].get(older).text


def test_identity_is_confirmed_before_a_key_is_made(people, clock):
    clock.shift(16 * 60)
    for side in SIDES:
        answer = people[side].get(f"/{side}/keys/new")
        assert answer.status_code == 303 and answer.headers["Location"].startswith("/account/confirm")


@pytest.mark.parametrize(("role", "status"), [(Role.BILLING, 403), (Role.MEMBER, 403)])
def test_of_a_tenant_its_admins_alone_see_keys(make, login, acme, role, status):
    assert login(make.user(acme, role=role)).get("/portal/keys").status_code == status

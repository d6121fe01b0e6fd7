"""Signing in by two steps, setting the second one up, and proving oneself again before what is sensitive."""

import html
import re
from datetime import timedelta

import pyotp
import pytest
from sqlalchemy import select
from werkzeug.routing import AnyConverter

from app import jobs, mail
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account
from app.domain.accounts.roles import SENSITIVE, who_may
from app.domain.audit.models import AuditEntry
from app.domain.factors import service as factors
from app.domain.factors.models import Passkey
from app.web.guards import Needs
from tests.authenticator import PRESENT, Authenticator
from tests.browser_client import Browser
from tests.factories import PASSWORD

pytestmark = pytest.mark.databases("sqlite")
STEP = timedelta(seconds=30)


@pytest.fixture
def ann(make) -> Account:
    return make.staff("ann@northline.example")


@pytest.fixture
def at_work(ann, login) -> Browser:
    """Where Ann sets things up."""
    return login(ann)


@pytest.fixture
def elsewhere(app) -> Browser:
    """A browser that nobody has signed in with."""
    return app.test_client()


def set_up_app(client: Browser, clock) -> tuple[pyotp.TOTP, list[str]]:
    """An app through its pages, and the recovery codes that came with it; the clock is then at its next step."""
    assert client.submit("/account/security/app/new").location == "/account/security/app"
    page = client.get("/account/security/app").text
    app = pyotp.TOTP(re.search(r'id="key">(\w+)<', page)[1])
    codes = client.submit("/account/security/app", {"code": app.now()})
    assert codes.status_code == 200
    clock.shift(2 * STEP)
    return app, shown_codes(codes.text)


def shown_codes(page: str) -> list[str]:
    return re.search(r'id="recovery-codes"[^>]*>([^<]*)<', page)[1].split()


def options(page: str, number: int = 0) -> str:
    """What the page asks a passkey for."""
    return html.unescape(re.findall(r'data-passkey="([^"]*)"', page)[number])


def add_passkey(client: Browser, name: str = "Laptop", device: Authenticator | None = None) -> Authenticator:
    device = device or Authenticator()
    answer = device.create(options(client.get("/account/security/passkeys/new").text))
    page = client.submit("/account/security/passkeys/new", {"name": name, "credential": answer})
    assert page.status_code in (200, 303), page.text
    device.count += 1
    return device


def is_signed_in(client: Browser) -> bool:
    return client.get("/account").status_code == 200


def test_without_a_second_factor_the_password_is_enough(ann, elsewhere):
    assert elsewhere.sign_in(ann.email).location == "/provider"
    assert elsewhere.get("/login/second").location == "/login"


def test_the_password_alone_opens_nothing_once_there_is_a_second_factor(ann, at_work, elsewhere, clock):
    app, _ = set_up_app(at_work, clock)
    asked = elsewhere.get("/provider/tenants?sort=name").location
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', elsewhere.get(asked).text)[1]
    form = {"email": ann.email, "password": PASSWORD, "csrf_token": token, "next": "/provider/tenants?sort=name"}
    half = elsewhere.post("/login", data=form)
    assert half.location == "/login/second?next=/provider/tenants?sort%3Dname"
    for path in ("/", "/provider", "/account", "/account/security", "/account/confirm", "/portal"):
        assert elsewhere.get(path).location.startswith("/login"), path
    page = elsewhere.get(half.location)
    assert "Code from your app" in page.text
    wrong = elsewhere.submit("/login/second", {"code": "000000"})
    assert wrong.status_code == 422
    assert "This code is not right" in wrong.text
    assert not is_signed_in(elsewhere)
    done = elsewhere.submit("/login/second", {"code": app.now(), "next": "/provider/tenants?sort=name"})
    assert (done.status_code, done.location) == (303, "/provider/tenants?sort=name")
    assert is_signed_in(elsewhere)


def test_a_code_that_signed_somebody_in_signs_in_nobody_else(ann, at_work, elsewhere, clock, app):
    authenticator, _ = set_up_app(at_work, clock)
    code = authenticator.now()
    elsewhere.sign_in(ann.email)
    assert elsewhere.submit("/login/second", {"code": code}).status_code == 303
    thief = app.test_client()
    thief.sign_in(ann.email)
    assert thief.submit("/login/second", {"code": code}).status_code == 422
    assert not is_signed_in(thief)


def test_a_recovery_code_signs_in_once_and_says_how_many_are_left(ann, at_work, elsewhere, clock, app):
    _, codes = set_up_app(at_work, clock)
    elsewhere.sign_in(ann.email)
    assert elsewhere.submit("/login/second", {"recovery": codes[3].upper()}).location == "/provider"
    assert "9 recovery codes are left" in elsewhere.get("/provider").text
    again = app.test_client()
    again.sign_in(ann.email)
    refused = again.submit("/login/second", {"recovery": codes[3]})
    assert refused.status_code == 422
    assert '<details class="proof" open>' in refused.text


@pytest.mark.parametrize("what", ["time", "password", "closed", "forged"])
def test_the_half_way_state_ends(ann, at_work, elsewhere, clock, now, what):
    app, _ = set_up_app(at_work, clock)
    elsewhere.sign_in(ann.email)
    assert elsewhere.get("/login/second").status_code == 200
    if what == "time":
        clock.shift(timedelta(minutes=11))
    elif what == "forged":
        with elsewhere.session_transaction() as session:
            session["half_signed_in"] = session["half_signed_in"][:-1] + "x"
    else:
        with unit_of_work() as session:
            account = accounts.by_email(session, ann.email)
            if what == "password":
                accounts.reset_password(session, account, "another long one", actor="test", now=now)
            else:
                accounts.create_staff(session, "other@northline.example", "Other", PASSWORD, actor="test", now=now)
                accounts.disable_account(session, account, actor="test", now=now)
    assert elsewhere.get("/login/second").location == "/login"
    assert elsewhere.submit("/login/second", {"code": app.now()}).location == "/login"
    assert not is_signed_in(elsewhere)


def test_guessing_codes_is_throttled(ann, at_work, elsewhere, clock):
    app, _ = set_up_app(at_work, clock)
    elsewhere.sign_in(ann.email)
    for number in range(5):
        assert elsewhere.submit("/login/second", {"code": f"00000{number}"}).status_code == 422
    later = elsewhere.submit("/login/second", {"code": app.now()})
    assert later.status_code == 429
    assert int(later.headers["Retry-After"]) > 800
    assert "Too many attempts" in later.text
    refusals = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "account.sign_in_refused")).all()
    assert [(entry.actor, entry.details["reason"]) for entry in refusals] == [(ann.email, "wrong_code")] * 5


def test_a_passkey_is_the_second_step_or_the_only_one(ann, at_work, elsewhere, app):
    device = add_passkey(at_work)
    elsewhere.sign_in(ann.email)
    answer = device.get(options(elsewhere.get("/login/second").text))
    assert elsewhere.submit("/login/second", {"credential": answer}).location == "/provider"
    device.count += 1
    third = app.test_client()
    answer = device.get(options(third.get("/login").text))
    assert (
        third.submit("/login/passkey", {"credential": answer, "next": "/provider/tenants"}).location
        == "/provider/tenants"
    )
    assert is_signed_in(third)
    fourth = app.test_client()  # what went over the wire opens no other browser, nor this one again
    fourth.get("/login")
    for client in (fourth, third):
        refused = client.submit("/login/passkey", {"credential": answer})
        assert refused.status_code == 422
        assert "There is a problem" in refused.text


def test_without_its_holder_verified_a_passkey_is_a_second_step_alone(ann, at_work, elsewhere, app):
    device = add_passkey(at_work)
    device.flags = PRESENT
    answer = device.get(options(elsewhere.get("/login").text))
    assert elsewhere.submit("/login/passkey", {"credential": answer}).status_code == 422
    elsewhere.sign_in(ann.email)
    answer = device.get(options(elsewhere.get("/login/second").text))
    assert elsewhere.submit("/login/second", {"credential": answer}).status_code == 303


def test_an_answer_to_one_question_is_none_to_another(ann, at_work, elsewhere):
    device = add_passkey(at_work)
    answer = device.get(options(elsewhere.get("/login").text))
    elsewhere.sign_in(ann.email)
    assert elsewhere.submit("/login/second", {"credential": answer}).status_code == 422
    assert not is_signed_in(elsewhere)


def test_a_closed_account_has_no_passkey_either(ann, make, at_work, elsewhere, now):
    device = add_passkey(at_work)
    make.staff("other@northline.example")
    with unit_of_work() as session:
        accounts.disable_account(session, accounts.by_email(session, ann.email), actor="test", now=now)
    answer = device.get(options(elsewhere.get("/login").text))
    assert elsewhere.submit("/login/passkey", {"credential": answer}).status_code == 422
    assert not is_signed_in(elsewhere)


def test_passkeys_are_not_offered_at_an_address_of_numbers(ann, at_work, elsewhere):
    assert "data-passkey=" in elsewhere.get("/login").text
    numbers = {"base_url": "http://127.0.0.1"}
    assert "data-passkey=" not in elsewhere.get("/login", **numbers).text
    device = add_passkey(at_work)
    answer = device.get(options(elsewhere.get("/login").text))
    token = elsewhere.csrf_token
    refused = elsewhere.post("/login/passkey", data={"credential": answer, "csrf_token": token}, **numbers)
    assert refused.status_code in (400, 422)


def test_several_passkeys_are_named_and_removed_one_by_one(ann, at_work):
    add_passkey(at_work, "Laptop")
    add_passkey(at_work, "Phone <b>")
    page = at_work.get("/account/security").text
    assert "Laptop" in page
    assert "Phone &lt;b&gt;" in page
    first = db.session.scalars(select(Passkey.id).order_by(Passkey.id)).first()
    at_work.submit(f"/account/security/passkeys/{first}/remove")
    page = at_work.get("/account/security").text
    assert "The passkey Laptop is removed." in page
    assert at_work.submit(f"/account/security/passkeys/{first}/remove").status_code == 404
    nameless = at_work.submit("/account/security/passkeys/new", {"name": "", "credential": "{}"})
    assert nameless.status_code == 422
    assert "Give it a name" in nameless.text
    refused = at_work.submit("/account/security/passkeys/new", {"name": "x", "credential": "{}"})
    assert (refused.status_code, "was not accepted" in refused.text) == (422, True)


def test_anothers_passkey_is_not_found(ann, make, login, at_work):
    add_passkey(at_work)
    passkey = db.session.scalars(select(Passkey.id)).one()
    other = login(make.user(make.tenant("Acme")))
    assert other.submit(f"/account/security/passkeys/{passkey}/remove").status_code == 404
    assert db.session.scalars(select(Passkey.id)).one() == passkey


def test_new_recovery_codes_replace_the_old_ones(ann, at_work, elsewhere, clock):
    _, old = set_up_app(at_work, clock)
    fresh = shown_codes(at_work.submit("/account/security/codes").text)
    assert len(fresh) == 10
    assert not set(fresh) & set(old)
    elsewhere.sign_in(ann.email)
    assert elsewhere.submit("/login/second", {"recovery": old[0]}).status_code == 422
    assert elsewhere.submit("/login/second", {"recovery": fresh[0]}).status_code == 303


def test_an_app_is_set_up_by_its_first_code_and_removed(ann, at_work, elsewhere, clock):
    assert at_work.get("/account/security/app").location == "/account/security"
    at_work.submit("/account/security/app/new")
    page = at_work.get("/account/security/app")
    assert '<svg class="scan"' in page.text
    wrong = at_work.submit("/account/security/app", {"code": "12345"})
    assert wrong.status_code == 422
    assert "not the code of this moment" in wrong.text
    assert elsewhere.sign_in(ann.email).location == "/provider"  # a draft demands nothing yet
    set_up_app(at_work, clock)
    assert at_work.submit("/account/security/app/new").status_code == 409
    at_work.submit("/account/security/app/remove")
    elsewhere.submit("/logout")
    assert elsewhere.sign_in(ann.email).location == "/provider"
    assert at_work.submit("/account/security/codes").status_code == 409


def test_what_is_sensitive_asks_again_after_fifteen_minutes(ann, at_work, clock):
    assert at_work.get("/provider/packages/new").status_code == 200
    clock.shift(timedelta(minutes=15, seconds=1))
    assert at_work.get("/provider/packages").status_code == 200
    asked = at_work.get("/provider/packages/new?from=x")
    assert (asked.status_code, asked.location) == (303, "/account/confirm?next=/provider/packages/new?from%3Dx")
    page = at_work.get(asked.location)
    assert "Is it still you?" in page.text
    wrong = at_work.submit("/account/confirm", {"password": "not the password", "next": "/provider/packages/new"})
    assert (wrong.status_code, "This is not your password" in wrong.text) == (422, True)
    assert at_work.get("/provider/packages/new").status_code == 303
    done = at_work.submit("/account/confirm", {"password": PASSWORD, "next": "/provider/packages/new"})
    assert (done.status_code, done.location) == (303, "/provider/packages/new")
    assert at_work.get("/provider/packages/new").status_code == 200


def test_an_act_that_was_not_done_says_so_and_leads_back_to_its_page(ann, at_work, clock, session):
    clock.shift(timedelta(minutes=16))
    form, back = {"name": "Office", "code": "office"}, "/provider/packages/new"
    asked = at_work.submit("/provider/packages/new", form, headers={"Referer": f"http://localhost{back}"})
    assert asked.location == f"/account/confirm?next={back}&again=True"
    assert "was not done" in at_work.get(asked.location).text
    assert not session.scalars(select(AuditEntry).where(AuditEntry.act == "package.create")).all()
    done = at_work.submit("/account/confirm", {"password": PASSWORD, "next": back, "again": "True"})
    assert done.location == back
    assert "please send it again" in at_work.get(back).text
    clock.shift(timedelta(minutes=16))
    headers = {"HX-Request": "true", "HX-Current-URL": f"http://localhost{back}", "HX-Target": "main#main"}
    fragment = at_work.submit("/provider/packages/new", form, headers=headers)
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (204, asked.location)


@pytest.mark.parametrize(
    "referrer",
    ["https://evil.example/provider", "http://localhost//evil.example", "http://localhost/logout", "", "junk"],
)
def test_a_page_that_cannot_be_looked_at_is_not_led_back_to(ann, at_work, clock, referrer):
    clock.shift(timedelta(minutes=16))
    asked = at_work.submit("/provider/packages/new", {}, headers={"Referer": referrer} if referrer else {})
    assert asked.location == "/account/confirm?again=True"
    assert at_work.submit("/account/confirm", {"password": PASSWORD}).location == "/provider"
    evil = at_work.submit("/account/confirm", {"password": PASSWORD, "next": "//evil.example"})
    assert evil.location == "/provider"


def test_a_code_or_a_passkey_confirms_as_well(ann, at_work, clock):
    app, codes = set_up_app(at_work, clock)
    device = add_passkey(at_work)
    clock.shift(timedelta(minutes=16))
    assert at_work.get("/provider/packages/new").status_code == 303
    assert at_work.submit("/account/confirm", {"recovery": codes[0]}).status_code == 422
    assert at_work.submit("/account/confirm", {"code": app.now()}).status_code == 303
    assert at_work.get("/provider/packages/new").status_code == 200
    clock.shift(timedelta(minutes=16))
    answer = device.get(options(at_work.get("/account/confirm").text))
    assert at_work.submit("/account/confirm", {"credential": answer}).status_code == 303
    assert at_work.get("/provider/packages/new").status_code == 200


def test_confirming_here_confirms_nowhere_else(ann, at_work, login, clock):
    other = login(ann)
    clock.shift(timedelta(minutes=16))
    at_work.submit("/account/confirm", {"password": PASSWORD})
    assert at_work.get("/provider/packages/new").status_code == 200
    assert other.get("/provider/packages/new").status_code == 303


def test_guesses_at_the_question_are_throttled(ann, at_work, clock):
    for _ in range(5):
        assert at_work.submit("/account/confirm", {"password": "not the password"}).status_code == 422
    later = at_work.submit("/account/confirm", {"password": PASSWORD})
    assert (later.status_code, "Retry-After" in later.headers) == (429, True)


def test_every_change_of_the_second_factor_asks_who_is_there(ann, at_work, clock):
    clock.shift(timedelta(minutes=16))
    assert at_work.get("/account/security").status_code == 200
    for path in ("app/new", "app", "app/remove", "passkeys/new", "passkeys/1/remove", "codes"):
        assert at_work.submit(f"/account/security/{path}").location.startswith("/account/confirm"), path


def test_no_page_but_its_own_shows_a_secret(ann, at_work, clock):
    app, codes = set_up_app(at_work, clock)
    shown = at_work.get("/account/security").text + at_work.get("/provider").text
    kept = " ".join(str(entry.details) for entry in db.session.scalars(select(AuditEntry)))
    for secret in (app.secret, *codes):
        assert secret not in shown
        assert secret not in kept


def test_a_role_that_needs_a_second_factor_can_do_nothing_but_set_one_up(ann, make, login, at_work, clock):
    member = make.user(make.tenant("Acme"))
    theirs = login(member)
    assert theirs.get("/portal").status_code == 200
    form = {"staff": ["owner"], "tenants": [member.role]}
    assert at_work.submit("/provider/people/second-factor", form).status_code == 303
    for client, home in ((at_work, "/provider"), (theirs, "/portal")):
        for path in ("/", home, "/account", "/account/password", "/account/sessions"):
            assert client.get(path).location == "/account/security", path
        htmx = client.get(home, headers={"HX-Request": "true", "HX-Target": "div#rows"})
        assert htmx.headers["HX-Redirect"] == "/account/security"
        assert "Your role needs a second factor." in client.get("/account/security").text
        add_passkey(client)
        assert client.get(home).status_code == 200
    page = at_work.get("/provider/people/second-factor").text
    assert "Owner – 1 of 1 have one" in page
    assert len(re.findall(r"<input[^>]* checked", page)) == 2
    entries = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "second_factor.demand")).all()
    assert [entry.details["changed"]["roles"] for entry in entries] == [[[], ["owner"]], [[], [member.role]]]
    assert at_work.submit("/provider/people/second-factor", {"staff": ["member"]}).status_code == 422
    assert at_work.submit("/provider/people/second-factor", {}).status_code == 303
    passkey = db.session.scalars(select(Passkey.id).where(Passkey.account_id == ann.id)).one()
    at_work.submit(f"/account/security/passkeys/{passkey}/remove")
    assert at_work.get("/provider").status_code == 200


def test_who_has_no_second_factor_yet_gets_one_at_the_first_sign_in(ann, make, at_work, elsewhere):
    at_work.submit("/provider/people/second-factor", {"staff": ["support"]})
    bob = make.staff("bob@northline.example", role="support")
    assert elsewhere.sign_in(bob.email).location == "/provider"
    assert elsewhere.get("/provider").location == "/account/security"
    assert at_work.get("/provider").status_code == 200  # another role


def test_an_owner_resets_what_somebody_lost(ann, make, login, at_work, elsewhere):
    user = make.user(make.tenant("Acme"), "office@acme.example")
    theirs = login(user)
    add_passkey(theirs)
    path = f"/provider/people/{user.id}/second-factor"
    assert login(make.staff(role="support")).get(path).status_code == 403
    assert theirs.get(path).status_code == 404
    assert "office@acme.example" in at_work.get(path).text
    assert is_signed_in(theirs)
    assert f'href="{path}"' in at_work.get("/provider/tenants/acme/people").text
    assert at_work.submit(path).location == "/provider/tenants/acme/people"
    assert path not in at_work.get("/provider/tenants/acme/people").text
    assert not is_signed_in(theirs)
    assert elsewhere.sign_in(user.email).location == "/portal"
    entry = db.session.scalars(select(AuditEntry).where(AuditEntry.act == "account.factor_reset")).one()
    assert (entry.actor, entry.subject, entry.tenant_id) == (ann.email, "account:office@acme.example", user.tenant_id)
    assert at_work.submit("/provider/people/1/second-factor").status_code == 404


def test_every_change_is_told_by_mail_without_the_secret(ann, make, at_work, elsewhere, clock, app, monkeypatch, now):
    sent: list[dict[str, str]] = []
    email = ann.email
    monkeypatch.setitem(jobs.OUTSIDE, mail.KIND, lambda key, payload: sent.append(payload))
    authenticator, codes = set_up_app(at_work, clock)
    add_passkey(at_work, "Laptop")
    elsewhere.sign_in(ann.email)
    elsewhere.submit("/login/second", {"recovery": codes[0]})
    fresh = shown_codes(at_work.submit("/account/security/codes").text)
    passkey = db.session.scalars(select(Passkey.id)).one()
    at_work.submit(f"/account/security/passkeys/{passkey}/remove")
    at_work.submit("/account/security/app/remove")
    with unit_of_work() as session:
        factors.reset(session, accounts.by_email(session, ann.email), actor="test", now=now)
    done = app.test_cli_runner().invoke(args=["worker", "--once"])
    assert "was put off" not in done.output, done.output
    told = [each["body"] for each in sent if each["to"] == email]
    for words in (
        "An authenticator app was set up", "“Laptop” was added", "A recovery code of", "New recovery codes were made",
        "“Laptop” of ann@northline.example", "The authenticator app of", "was reset",
    ):  # fmt: skip
        assert sum(words in body for body in told) == 1, (words, told)
    assert len(told) == 7
    assert not [secret for secret in (authenticator.secret, *codes, *fresh) if secret in " ".join(told)]


def routes_for_people(app) -> list[tuple[str, str, Needs]]:
    """Method, address and needs of every route that wants a sign-in; what stands in an address is made up."""
    found, address = [], app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        needed = getattr(app.view_functions[rule.endpoint], "needs", None)
        if needed:
            kinds = {name: rule._converters[name] for name in rule.arguments}
            made_up = {name: min(kind.items) if isinstance(kind, AnyConverter) else "1" for name, kind in kinds.items()}
            methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
            found += [(method, address.build(rule.endpoint, made_up), needed) for method in sorted(methods)]
    return found


def test_every_sensitive_route_asks_again(ann, make, login, at_work, clock, app):
    users = {"provider": at_work, "portal": login(make.user(make.tenant("Acme")))}
    clock.shift(timedelta(minutes=16))
    asked = 0
    for method, url, needed in routes_for_people(app):
        permission = needed.to_look if method == "GET" else needed.to_change
        client = users.get(url.split("/")[1], at_work)
        is_staff = client is at_work
        if permission not in SENSITIVE or not who_may(permission, is_staff=is_staff):
            continue
        answer = client.open(url, method=method, data={"csrf_token": client.csrf_token} if method != "GET" else None)
        assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/account/confirm"), (method, url)
        asked += 1
    assert asked > 40


def test_no_route_but_to_set_one_up_is_open_while_a_second_factor_is_missing(ann, make, login, at_work, app):
    user = make.user(make.tenant("Acme"))
    users = {"provider": at_work, "portal": login(user)}
    at_work.submit("/provider/people/second-factor", {"staff": ["owner"], "tenants": [user.role]})
    led = 0
    for method, url, _needed in routes_for_people(app):
        client = users.get(url.split("/")[1], at_work)
        if url.startswith(("/account/security", "/account/confirm", "/logout")):
            continue
        answer = client.open(url, method=method, data={"csrf_token": client.csrf_token} if method != "GET" else None)
        is_led = answer.status_code == 303 and answer.location == "/account/security"
        assert is_led or answer.status_code == 403, (method, url, answer.status_code)
        led += is_led
    assert led > 100

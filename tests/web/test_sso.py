"""Single sign-on of staff, against a real small OpenID Connect provider."""

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import select

from app import create_app
from app.config import Settings
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account, StaffIdentity
from app.domain.audit.models import AuditEntry
from tests.oidc_server import CLIENT_ID, CLIENT_SECRET, oidc_server

NORA = "nora@northline.example"


@pytest.fixture(scope="module")
def running():
    with oidc_server() as server:
        yield server


@pytest.fixture
def oidc(running):
    running.person = {"sub": "u-1", "email": NORA, "email_verified": True}
    running.signing_key = None
    for kept in (running.claims, running.header, running.answers, running.codes):
        kept.clear()
    running.asked.clear()
    return running


@pytest.fixture
def settings(settings, oidc):
    return replace(
        settings, PUBLIC_URL="https://portal.northline.example", OIDC_ISSUER=oidc.issuer, OIDC_CLIENT_ID=CLIENT_ID,
        OIDC_CLIENT_SECRET=CLIENT_SECRET, OIDC_NAME="Northline ID",
    )  # fmt: skip


@pytest.fixture
def nora(make):
    make.staff("owner@northline.example")
    return make.staff(NORA)


def begin(client, path="/login/sso", **headers):
    """To the provider's page, where the person says yes; returns where the browser is sent back to."""
    sent = client.get(path, headers=headers)
    assert sent.status_code == 303, sent.text
    back = requests.get(sent.location, allow_redirects=False, timeout=10).headers["Location"]
    assert back.startswith("https://portal.northline.example/login/sso/return?")
    return "/login/sso/return?" + urlsplit(back).query


def come_back(client, path="/login/sso"):
    return client.get(begin(client, path))


def is_signed_in(client):
    return client.get("/account").status_code == 200


def refused(client, answer, words, status):
    assert answer.status_code == status
    assert words in answer.text.replace("&#39;", "'")
    assert not is_signed_in(client)


def test_staff_sign_in_at_the_provider(client, nora, oidc, session):
    assert "Sign in with Northline ID" in client.get("/login").text
    answer = come_back(client)
    assert (answer.status_code, answer.location) == (303, "/provider")
    assert is_signed_in(client)
    assert session.execute(select(StaffIdentity.issuer, StaffIdentity.subject, StaffIdentity.account_id)).all() == [
        (oidc.issuer, "u-1", nora.id)
    ]
    [entry] = session.scalars(select(AuditEntry).where(AuditEntry.act == "account.bind"))
    assert (entry.actor, entry.details) == (NORA, {"issuer": oidc.issuer})


def test_what_is_asked_has_a_state_a_nonce_and_a_challenge_that_never_come_again(client, nora):
    seen = []
    for _ in range(2):
        query = parse_qs(urlsplit(client.get("/login/sso").location).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["response_type"] == ["code"]
        assert query["redirect_uri"] == ["https://portal.northline.example/login/sso/return"]
        seen += [query[name][0] for name in ("state", "nonce", "code_challenge")]
    assert len(set(seen)) == 6
    assert all(len(each) >= 30 for each in seen)


def test_the_way_back_does_not_follow_the_host_header(client, nora):
    forged = {"X-Forwarded-Host": "evil.example"}
    query = parse_qs(urlsplit(client.get("/login/sso", headers=forged).location).query)
    assert query["redirect_uri"] == ["https://portal.northline.example/login/sso/return"]


def test_the_page_that_was_asked_for_is_shown_and_no_other_site(client, nora):
    form = client.get("/login?next=/provider/tenants")
    assert "/login/sso?next=/provider/tenants" in form.text
    assert come_back(client, "/login/sso?next=/provider/tenants").location == "/provider/tenants"
    for trick in ("//evil.example", "https://evil.example", "/\\evil.example", "/%09/evil.example"):
        client.submit("/logout")
        assert come_back(client, f"/login/sso?next={trick}").location == "/provider"


def test_an_account_once_bound_is_known_by_its_subject(client, nora, oidc, session):
    come_back(client)
    client.submit("/logout")
    oidc.person.update(email="new.name@elsewhere.example", email_verified=False)
    assert come_back(client).status_code == 303
    assert is_signed_in(client)
    assert session.scalar(select(StaffIdentity.account_id)) == nora.id


def test_whoever_gets_the_address_later_does_not_get_the_account(client, nora, oidc):
    come_back(client)
    client.submit("/logout")
    oidc.person["sub"] = "u-2"
    refused(client, come_back(client), "This account belongs to another person at Northline ID.", 403)


def test_nobody_is_created_unasked(client, nora, oidc, session):
    oidc.person["email"] = "stranger@northline.example"
    refused(client, come_back(client), "None of the staff has the address", 403)
    assert session.scalar(select(Account.id).where(Account.email == "stranger@northline.example")) is None
    assert session.scalar(select(StaffIdentity.subject)) is None


def test_a_tenants_user_does_not_come_in_that_way(client, make, oidc):
    make.user(make.tenant("Acme"), NORA)
    refused(client, come_back(client), "None of the staff has the address", 403)


@pytest.mark.parametrize("said", [False, None, "no", 1, "false"])
def test_an_address_that_is_not_verified_opens_nothing(client, nora, oidc, said):
    oidc.person["email_verified"] = said
    refused(client, come_back(client), "has not verified your e-mail address", 403)


def test_a_closed_account_stays_closed(client, nora, make):
    def close():
        with unit_of_work() as unit:
            accounts.disable_account(unit, unit.get_one(Account, nora.id), actor="test", now=make.now)

    come_back(client)
    assert is_signed_in(client)
    close()
    refused(client, come_back(client), "This account is closed.", 403)


def test_a_sign_in_and_a_refusal_stand_in_the_audit_trail(client, nora, oidc, session):
    come_back(client)
    client.submit("/logout")
    oidc.person.update(sub="u-2")
    come_back(client)
    oidc.person.update(sub="u-3", email="somebody.else@northline.example")
    come_back(client)
    acts = ("account.bind", "account.sign_in", "account.sign_in_refused")
    found = session.scalars(select(AuditEntry).where(AuditEntry.act.in_(acts)).order_by(AuditEntry.id))
    assert [(each.act, each.actor, each.details.get("reason")) for each in found] == [
        ("account.bind", NORA, None),
        ("account.sign_in", NORA, None),
        ("account.sign_in_refused", NORA, "bound_to_another"),
        ("account.sign_in_refused", "unknown", "no_such_staff"),
    ]


def test_whoever_has_a_second_factor_is_asked_for_it_here_too(client, nora, session):
    with unit_of_work() as unit:
        unit.get_one(Account, nora.id).has_second_factor = True
    answer = come_back(client, "/login/sso?next=/provider/tenants")
    assert answer.location.startswith("/login/second")
    assert not is_signed_in(client)


def test_a_closed_account_is_not_bound(client, nora, make, session):
    with unit_of_work() as unit:
        accounts.disable_account(unit, unit.get_one(Account, nora.id), actor="test", now=make.now)
    refused(client, come_back(client), "This account is closed.", 403)
    assert session.scalar(select(StaffIdentity.subject)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": "another client", "azp": CLIENT_ID},
        {"aud": ["another client", "a third"], "azp": CLIENT_ID},
        {"aud": None},
        {"azp": "another client"},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": None},
        {"nbf": 4_000_000_000},
        {"sub": None},
        {"at_hash": "of another token"},
    ],
    ids=str,
)
def test_a_token_that_says_something_wrong_is_refused(client, nora, oidc, wrong):
    oidc.claims.update(wrong)
    refused(client, come_back(client), "What Northline ID answered cannot be trusted.", 502)


def test_a_token_signed_by_another_key_is_refused(client, nora, oidc):
    oidc.signing_key = RSAKey.generate_key(2048, {"kid": "first"})
    refused(client, come_back(client), "What Northline ID answered cannot be trusted.", 502)


@pytest.mark.parametrize("kid", ["unknown", "../../first"])
def test_a_token_of_an_unknown_key_is_refused(client, nora, oidc, kid):
    oidc.signing_key = RSAKey.generate_key(2048, {"kid": kid})
    oidc.header["kid"] = kid
    refused(client, come_back(client), "What Northline ID answered cannot be trusted.", 502)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("alg", ["none", "HS256"])
def test_a_token_that_anybody_could_have_made_is_refused(client, nora, oidc, alg):
    oidc.header["alg"] = alg
    oidc.signing_key = OctKey.import_key(CLIENT_SECRET) if alg == "HS256" else oidc.key
    refused(client, come_back(client), "What Northline ID answered cannot be trusted.", 502)


def test_an_answer_works_once(client, nora, oidc):
    back = begin(client)
    assert client.get(back).status_code == 303
    client.submit("/logout")
    refused(client, client.get(back), "was begun elsewhere, is finished or took too long", 403)


def test_an_answer_with_the_cookie_of_before_does_not_work_again_either(client, nora, app):
    back = begin(client)
    before = client.get_cookie("ringplan")
    assert client.get(back).status_code == 303
    thief = app.test_client()
    thief.set_cookie("ringplan", before.value)
    assert thief.get(back).status_code == 502  # the code was used
    assert not is_signed_in(thief)


def test_an_answer_is_good_in_the_browser_that_asked_alone(client, nora, app):
    back = begin(client)
    other = app.test_client()
    refused(other, other.get(back), "was begun elsewhere", 403)  # a link that somebody else prepared
    begin(other)
    refused(other, other.get(back), "was begun elsewhere", 403)


@pytest.mark.parametrize("query", ["", "?state=", "?code=x", "?code=x&state=guess", "?state=guess&error=access_denied"])
def test_an_answer_nobody_asked_for_is_refused(client, nora, query):
    refused(client, client.get(f"/login/sso/return{query}"), "was begun elsewhere", 403)


def test_an_answer_that_took_too_long_is_refused(client, nora, clock):
    back = begin(client)
    clock.shift(timedelta(minutes=11))
    refused(client, client.get(back), "took too long", 403)


def test_a_person_who_says_no_is_told_so(client, nora):
    state = parse_qs(urlsplit(client.get("/login/sso").location).query)["state"][0]
    answer = client.get(f"/login/sso/return?error=access_denied&state={state}")
    refused(client, answer, "You were not signed in at Northline ID.", 403)


def test_an_answer_of_another_issuer_is_refused(client, nora):
    back = begin(client)
    mixed = back[: back.index("iss=")] + "iss=https%3A%2F%2Fevil.example"
    refused(client, client.get(mixed), "cannot be trusted", 502)


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/.well-known/openid-configuration", (500, {}), "does not answer"),
        ("/.well-known/openid-configuration", (200, "no json"), "does not answer"),
        ("/.well-known/openid-configuration", (200, ["a list"]), "cannot be trusted"),
        ("/.well-known/openid-configuration", (200, {"issuer": "https://evil.example"}), "cannot be trusted"),
    ],
)
def test_a_provider_that_is_ill_is_named_and_the_password_still_works(client, nora, oidc, path, answer, words):
    oidc.answers[path] = answer
    refused(client, client.get("/login/sso"), words, 502)
    assert client.sign_in(NORA).status_code == 303


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/token", (500, {})),
        ("/token", (200, "no json")),
        ("/token", (400, {"error": "invalid_grant"})),
        ("/token", (200, {"access_token": "x", "token_type": "Bearer"})),
        ("/token", (200, {"access_token": "x", "token_type": "Bearer", "id_token": "a.b.c"})),
        ("/token", (200, {"access_token": "x", "token_type": "Bearer", "id_token": ["x"]})),
        ("/keys", (500, {})),
        ("/keys", (200, {"keys": []})),
        ("/keys", (200, {})),
        ("/keys", (200, {"keys": [{"kty": "oct", "k": "A" * 43}]})),
    ],
)
def test_a_provider_that_answers_nonsense_signs_nobody_in(client, nora, oidc, path, answer):
    back = begin(client)
    oidc.answers[path] = answer
    page = client.get(back)
    assert page.status_code == 502
    assert not is_signed_in(client)


def test_no_secret_stands_on_the_page_of_a_refusal(client, nora, oidc, caplog):
    back = begin(client)
    oidc.claims["nonce"] = "another"
    page = client.get(back)
    code = parse_qs(urlsplit(back).query)["code"][0]
    for text in (page.text, caplog.text):
        assert CLIENT_SECRET not in text
        assert code not in text
    assert "single sign-on refused: bad_answer" in caplog.text


@pytest.mark.databases("sqlite")
def test_without_a_provider_there_is_no_button_and_no_page(settings, nora):
    plain = create_app(replace(settings, OIDC_ISSUER=""), TESTING=True).test_client()
    assert "/login/sso" not in plain.get("/login").text
    assert plain.get("/login/sso").status_code == 404
    assert plain.get("/login/sso/return?state=x&code=y").status_code == 404


@pytest.mark.parametrize("wrong", [{"OIDC_ISSUER": "http://id.example"}, {"OIDC_CLIENT_ID": ""}])
def test_a_provider_that_could_be_listened_to_or_does_not_know_us_stops_the_start(tmp_path, wrong):
    right = {"OIDC_ISSUER": "https://id.example", "OIDC_CLIENT_ID": "ringplan"}
    with pytest.raises(SystemExit, match="OIDC_"):
        create_app(Settings(RINGPLAN_INSTANCE=str(tmp_path), SECRET_KEY="x", **{**right, **wrong}))

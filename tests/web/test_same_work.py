"""Who is unknown is refused after the same work as who is known and wrong: time tells nobody who has an account or a key."""

import hmac
import re
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from app.config import Settings
from app.db import db, unit_of_work
from app.domain.accounts import keys, links, passwords
from app.domain.accounts.links import Purpose
from app.domain.accounts.models import Account
from app.domain.factors import totp
from app.stripe import BadNotice, Stripe

WRONG = "not my password at all"


@pytest.fixture
def work(monkeypatch) -> Counter[str]:
    """How often something was hashed or compared."""
    done: Counter[str] = Counter()

    def counted(name, act):
        def call(*given):
            done[name] += 1
            return act(*given)

        return call

    monkeypatch.setattr(hmac, "compare_digest", counted("compared", hmac.compare_digest))
    hasher = passwords._hasher.current_hasher
    monkeypatch.setattr(type(hasher), "verify", counted("argon2", type(hasher).verify))
    return done


def spent(work, count_statements, act):
    """The work of `act`: what was counted, and the shapes of its statements."""
    work.clear()
    with count_statements() as seen:
        act()
    return dict(work), [re.sub(r"\s+", " ", text) for text in seen.texts]


def test_signing_in_as_nobody_costs_what_a_wrong_password_does(app, client, make, now, work, count_statements):
    known, closed = make.staff("ann@northline.example"), make.staff("bob@northline.example")
    with unit_of_work() as session:
        session.get_one(Account, closed.id).disabled_at = now
    client.sign_in(known.email, WRONG)  # what is made once is made
    found = [
        spent(work, count_statements, lambda email=email: client.sign_in(email, WRONG))
        for email in (known.email, closed.email, "nobody@northline.example")
    ]
    assert found[0][0]["argon2"] == 1
    assert all(each == found[0] for each in found)


def test_asking_for_a_new_password_costs_the_same_for_everybody(client, make, work, count_statements):
    make.staff("ann@northline.example")
    client.submit("/forgot", {"email": "first@northline.example"})  # the cookie is set
    known, unknown = (
        spent(work, count_statements, lambda email=email: client.submit("/forgot", {"email": email}))
        for email in ("ann@northline.example", "nobody@northline.example")
    )
    assert known == unknown


def test_an_unknown_key_costs_what_a_wrong_secret_does(app, make, now, work, count_statements):
    _, prefix, secret = make.source("pbx1").key.split("_")
    found = [
        spent(work, count_statements, lambda key=key: keys.verify_key(db.session(), key, now))
        for key in (f"rp_{prefix}_{secret[:-1]}", "rp_0000000000_" + secret, f"xx_{prefix}_{secret[:-1]}")
    ]
    assert found[0][0] == {"compared": 1}
    assert all(each == found[0] for each in found)


def test_a_code_is_compared_with_every_step_whatever_fits(work, now):
    import pyotp

    secret = pyotp.random_base32()
    right = pyotp.TOTP(secret).at(now)
    done = []
    for code in (right, pyotp.TOTP(secret).at(now - timedelta(seconds=30)), "000000"):
        work.clear()
        totp.step_of(secret, code, now)
        done.append(work["compared"])
    assert done == [len(totp.WINDOW)] * 3


def test_tokens_are_looked_up_by_their_hash_alone(app, now, count_statements):
    with count_statements() as seen, pytest.raises(links.NotFound):
        links.find(db.session(), Purpose.RESET, "guess", now=now)
    assert len(seen) == 1 and "token_hash = " in seen.texts[0]
    assert not db.session.scalars(select(Account)).all()


def test_a_payment_notice_is_compared_in_constant_time_before_it_is_read(work, now):
    stripe = Stripe("sk", "whsec", Settings().STRIPE_API_URL)
    for signature in (f"t={int(now.timestamp())},v1=" + "0" * 64, f"t={int(now.timestamp())},v1=x"):
        work.clear()
        with pytest.raises(BadNotice):
            stripe.read_notice(b"not even json", {"Stripe-Signature": signature}, now=now)
        assert work["compared"] == 1


def test_the_token_of_the_metrics_is_compared_in_constant_time(client, monkeypatch):
    from app.web import scrape

    compared = []
    monkeypatch.setattr(scrape, "compare_digest", lambda *pair: compared.append(pair) or hmac.compare_digest(*pair))
    headers = {"Authorization": "Bearer guess", "X-Forwarded-For": "192.0.2.1"}
    assert client.get("/metrics", headers=headers).status_code == 403
    assert len(compared) == 1

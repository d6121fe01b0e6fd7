"""Who may exchange a key hears of its end before a switch does."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.db import run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.accounts.models import ApiKey
from app.domain.accounts.roles import Role
from app.domain.jobs.models import Job

DAY = timedelta(days=1)


@pytest.fixture
def mails(app, session):
    """`mails()`: to whom and in which words, what the worker sent since it was last asked."""
    seen = set()

    def work():
        done = app.test_cli_runner().invoke(args=["worker", "--once"])
        assert done.exit_code == 0, done.output
        session.rollback()
        assert not session.scalars(select(Job.last_error).where(Job.last_error != "")).all()
        found = [job for job in session.scalars(select(Job).where(Job.kind == "mail")) if job.id not in seen]
        seen.update(job.id for job in found)
        assert all(job.done_at for job in found)
        return sorted((job.payload["to"], job.payload["subject"], job.payload["body"]) for job in found)

    return work


def issue(now, *, source=None, tenant=None, days=90, label="Books") -> str:
    """The prefix of a key that lasts so long."""
    lasting = {"label": label, "expires_at": now + days * DAY}

    def act(session):
        if tenant:
            return accounts.issue_tenant_key(session, tenant, actor="test", now=now, **lasting)
        return accounts.issue_key(session, source, ["usage"], actor="test", now=now, **lasting)

    return run_in_transaction(act).split("_")[1]


def change(prefix, act) -> None:
    run_in_transaction(lambda session: act(session, accounts.find_key(session, prefix)))


def test_the_provider_hears_of_a_sources_key_and_a_tenant_of_its_own(make, mails, clock, now):
    make.staff("own@northline.example")
    make.staff("sue@northline.example", role=Role.SUPPORT)
    acme, globex = make.tenant("Acme", timezone="Europe/Berlin"), make.tenant("Globex")
    make.user(acme, "ada@acme.example")
    make.user(acme, "mem@acme.example", role=Role.MEMBER)
    make.user(globex, "gil@globex.example")
    of_source, of_acme = issue(now, source=make.source("pbx1")), issue(now, tenant=acme)
    clock.shift(75 * DAY)
    assert mails() == []
    clock.shift(DAY + timedelta(minutes=1))
    (first, subject, told), (second, _, also_told) = mails()
    assert (first, second, subject) == ("ada@acme.example", "own@northline.example", "An API key ends soon")
    assert f"rp_{of_acme}…" in told and "Berlin" in told and f"/portal/keys/{of_acme}" in told and "Books" in told
    assert f"rp_{of_source}…" in also_told and "pbx1" in also_told and f"/provider/keys/{of_source}" in also_told
    clock.shift(DAY)
    assert mails() == []  # once


def test_nobody_hears_of_a_key_that_was_exchanged_or_revoked_or_has_no_end(make, mails, clock, now):
    make.staff()
    source = make.source("pbx1")
    exchanged, revoked, endless, ending = (issue(now, source=source) for _ in range(4))
    edge = {"actor": "test", "now": now}
    change(exchanged, lambda session, key: accounts.rotate_key(session, key, 80 * DAY, **edge))
    change(revoked, lambda session, key: accounts.revoke_key(session, key, **edge))
    change(endless, lambda session, key: accounts.change_end(session, key, None, **edge))
    clock.shift(79 * DAY)
    told = "".join(body for _, _, body in mails())
    assert [prefix in told for prefix in (exchanged, revoked, endless, ending)] == [False, False, False, True]


def test_an_end_that_is_moved_is_told_anew(make, mails, clock, now, session):
    make.staff()
    prefix = issue(now, source=make.source("pbx1"), days=10)
    assert len(mails()) == 1
    later = now + 40 * DAY
    change(prefix, lambda session, key: accounts.change_end(session, key, later, actor="test", now=now))
    assert mails() == []
    clock.shift(30 * DAY)
    assert len(mails()) == 1
    assert session.scalars(select(ApiKey.prefix).where(ApiKey.expires_at == later)).one() == prefix

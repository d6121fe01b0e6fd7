"""Links that go out by mail: a forgotten password, a new address, an invitation; each opens one thing once."""

import hashlib
import re
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from app import mail
from app.core.errors import Conflict, NotFound
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import invitations, links, recovery, service as accounts, throttle
from app.domain.accounts.models import Account, MailedLink, SignInAttempt
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.domain.jobs.models import Job
from tests.factories import PASSWORD

NEW = "another long password"


@pytest.fixture
def settings(settings):
    return replace(settings, PUBLIC_URL="https://portal.northline.example")


@pytest.fixture
def mails(app, monkeypatch):
    """`mails()` does all jobs that are due and returns the mails they sent."""
    sent = []
    monkeypatch.setattr("app.mail.send", lambda key, payload, attached=(): sent.append(payload))
    monkeypatch.setitem(
        __import__("app.jobs", fromlist=["OUTSIDE"]).OUTSIDE, mail.KIND, lambda key, payload: sent.append(payload)
    )

    def work():
        sent.clear()
        done = app.test_cli_runner().invoke(args=["worker", "--once"])
        assert done.exit_code == 0, done.output
        assert "was put off" not in done.output, done.output
        return list(sent)

    return work


def path_in(sent):
    [url] = re.findall(r"https://\S+", sent["body"])
    assert url.startswith("https://portal.northline.example/"), url
    return url.removeprefix("https://portal.northline.example")


def ask(client, email, **kwargs):
    return client.submit("/forgot", {"email": email}, **kwargs)


def reset_link(client, mails, email):
    assert ask(client, email).status_code == 200
    return path_in(next(each for each in mails() if each["to"] == email))


def choose(client, path, password=NEW, **more):
    return client.submit(path, {"new": password, "repeat": password, **more})


def acts(session, act):
    return session.scalars(select(AuditEntry).where(AuditEntry.act == act).order_by(AuditEntry.id)).all()


# A forgotten password


def test_a_forgotten_password_is_replaced_by_a_link_and_every_sign_in_ends(make, login, client, mails, session):
    person = make.user(make.tenant("Acme"))
    signed_in = login(person)
    path = reset_link(client, mails, person.email)
    page = client.get(path)
    assert page.status_code == 200
    assert person.email in page.text
    answer = choose(client, path)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert "Your password is changed" in client.get("/login").text
    assert signed_in.get("/account").status_code == 303
    assert client.sign_in(person.email).status_code == 422
    assert client.sign_in(person.email, NEW).status_code == 303
    [told] = mails()
    assert (told["to"], "was changed just now" in told["body"]) == (person.email, True)
    assert [entry.tenant_id for entry in acts(session, "account.password")] == [person.tenant_id]


def test_a_link_opens_once_and_looking_at_it_does_not_use_it_up(make, client, mails):
    person = make.staff()
    path = reset_link(client, mails, person.email)
    for _ in range(3):  # a mail program may look first
        assert client.get(path).status_code == 200
    assert choose(client, path).status_code == 303
    for again in (client.get(path), choose(client, path, "yet another password")):
        assert again.status_code == 404
        assert "This link works no longer" in again.text
    assert client.sign_in(person.email, NEW).status_code == 303


def test_a_link_is_over_after_an_hour(make, client, mails, clock):
    person = make.staff()
    path = reset_link(client, mails, person.email)
    clock.shift(timedelta(minutes=59))
    assert client.get(path).status_code == 200
    clock.shift(timedelta(minutes=2))
    assert client.get(path).status_code == 404
    assert choose(client, path).status_code == 404


def test_the_answer_and_the_work_are_the_same_whoever_is_asked_for(make, client, mails, session, count_statements):
    person, closed = make.staff("here@northline.example"), make.staff("gone@northline.example")
    with unit_of_work() as unit:
        accounts.disable_account(unit, unit.get_one(Account, closed.id), actor="test", now=make.now)
    pages, statements = [], []
    for email in (person.email, "none@northline.example", closed.email):
        with count_statements() as seen:
            page = ask(client, email)
        pages.append((page.status_code, re.sub(r'"X-CSRFToken": "[^"]*"', "", page.text).replace(email, "-")))
        statements.append(seen.texts)
    assert pages[0] == pages[1] == pages[2]
    assert statements[0] == statements[1] == statements[2]
    assert [each["to"] for each in mails()] == [person.email]
    assert len(acts(session, "account.reset_asked")) == 1


def test_no_token_is_kept_but_its_sha256(make, client, mails, session):
    person = make.staff()
    path = reset_link(client, mails, person.email)
    token = path.rpartition("/")[2]
    assert len(token) == 43
    kept = session.scalars(select(MailedLink)).one()
    assert kept.token_hash == hashlib.sha256(token.encode()).hexdigest()
    everything = [str(job.payload) + job.key for job in session.scalars(select(Job))]
    everything += [str(entry.details) + entry.subject for entry in session.scalars(select(AuditEntry))]
    assert not [text for text in everything if token in text]


def test_a_new_password_closes_all_other_links(make, client, mails):
    person = make.staff()
    first, second = (reset_link(client, mails, person.email) for _ in range(2))
    assert client.get(first).status_code == 200
    assert choose(client, second).status_code == 303
    assert client.get(first).status_code == 404


def test_bad_new_passwords_are_explained_and_leave_the_link_open(make, client, mails):
    person = make.staff()
    path = reset_link(client, mails, person.email)
    for password, words in (
        ("short", "Use at least 12 characters."),
        ("Sunshine2026!", "Too many people use this password"),
        (person.email, "Use something else than your e-mail address."),
    ):
        page = choose(client, path, password)
        assert page.status_code == 422
        assert words in page.text
    differ = client.submit(path, {"new": NEW, "repeat": "something else entirely"})
    assert "The two new passwords differ." in differ.text
    assert choose(client, path).status_code == 303


def test_asking_is_throttled_per_address_and_account(make, client, mails, clock):
    person = make.staff()
    for _ in range(throttle.PER_ACCOUNT_AND_ADDRESS):
        assert ask(client, person.email).status_code == 200
    refused = ask(client, person.email)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert len(mails()) == throttle.PER_ACCOUNT_AND_ADDRESS
    assert ask(client, "someone.else@northline.example").status_code == 200
    assert client.sign_in(person.email).status_code == 303  # which is counted by itself
    clock.shift(timedelta(minutes=16))
    client.submit("/logout")
    assert ask(client, person.email).status_code == 200


def test_many_addresses_cannot_flood_one_mailbox(make, client, session):
    person, now = make.staff(), make.now
    with unit_of_work() as unit:
        unit.add_all(
            SignInAttempt(
                id=number, email=f"reset {person.email}", address=f"192.0.2.{number}", at=now, succeeded=False
            )
            for number in range(1, recovery.MOST_RESETS + 1)
        )
    assert ask(client, person.email).status_code == 429


def test_a_host_header_does_not_lead_the_link_elsewhere(make, client, mails):
    person = make.staff()
    assert ask(client, person.email, headers={"X-Forwarded-Host": "evil.example"}).status_code == 200
    assert ask(client, person.email, headers={"Host": "evil.example"}).status_code == 400
    for each in mails():
        assert "evil.example" not in each["body"]
        assert path_in(each).startswith("/reset/")


def test_disabling_closes_links_that_are_on_their_way(make, client, mails):
    person = make.user(make.tenant("Acme"))
    path = reset_link(client, mails, person.email)
    assert ask(client, person.email).status_code == 200  # its mail is not sent yet
    with unit_of_work() as unit:
        account = unit.get_one(Account, person.id)
        accounts.disable_account(unit, account, actor="test", now=make.now)
    assert client.get(path).status_code == 404
    assert mails() == []
    with unit_of_work() as unit:
        accounts.enable_account(unit, unit.get_one(Account, person.id), actor="test", now=make.now)
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("kind", ["reset", "invitation", "new-email"])
@pytest.mark.parametrize("token", ["x", "A" * 43, "%00", "None", "..%2f..", "é"])
def test_a_guessed_link_opens_nothing(client, make, session, kind, token):
    with unit_of_work() as unit:  # a link whose mail was not sent yet has no token at all
        links.make(unit, links.Purpose.INVITATION, "new@acme.example", role=Role.OWNER, asked_by="x", now=make.now)
    answer = client.get(f"/{kind}/{token}")
    assert answer.status_code == 404


def test_a_link_for_one_thing_does_not_open_another(make, client, mails):
    person = make.staff()
    token = reset_link(client, mails, person.email).rpartition("/")[2]
    for kind in ("invitation", "new-email"):
        assert client.get(f"/{kind}/{token}").status_code == 404


# A new address


def test_a_new_address_counts_once_its_mail_was_read(make, login, client, mails, session):
    person = make.user(make.tenant("Acme"), "uma@acme.example")
    own = login(person)
    answer = own.submit("/account/email", {"email": " Uma@New.example", "current": PASSWORD})
    assert (answer.status_code, answer.location) == (303, "/account")
    by_address = {each["to"]: each for each in mails()}
    assert set(by_address) == {"uma@new.example", "uma@acme.example"}
    assert "uma@new.example" in by_address["uma@acme.example"]["body"]
    path = path_in(by_address["uma@new.example"])
    assert client.get(path).status_code == 200
    assert own.get("/account").text.count("uma@acme.example") >= 1  # nothing changed yet
    assert client.submit(path).status_code == 303
    assert client.get(path).status_code == 404
    assert "uma@new.example" in own.get("/account").text
    assert client.sign_in("uma@acme.example").status_code == 422
    assert client.sign_in("uma@new.example").status_code == 303
    [told] = mails()
    assert (told["to"], "uma@new.example" in told["body"]) == ("uma@acme.example", True)
    [entry] = acts(session, "account.email")
    assert entry.details == {"changed": {"email": ["uma@acme.example", "uma@new.example"]}}


def test_a_new_address_takes_the_password_and_an_address(make, login, mails):
    own = login(make.staff("ann@northline.example"))
    for email, current, words in (
        ("new@northline.example", "not my password", "This is not your password."),
        ("no address", PASSWORD, "This is no e-mail address."),
        ("ANN@northline.example", PASSWORD, "This is your address already."),
    ):
        page = own.submit("/account/email", {"email": email, "current": current})
        assert page.status_code == 422
        assert words in page.text
    assert mails() == []


def test_that_the_new_address_is_taken_is_told_to_its_owner_alone(make, login, client, mails):
    other = "gil@globex.example"
    make.user(make.tenant("Globex"), other)
    own = login(make.user(make.tenant("Acme"), "uma@acme.example"))
    free = own.submit("/account/email", {"email": "free@acme.example", "current": PASSWORD})
    taken = own.submit("/account/email", {"email": other, "current": PASSWORD})
    assert (taken.status_code, taken.location) == (free.status_code, free.location)
    sent = {each["to"]: each for each in mails() if each["to"] != "uma@acme.example"}
    assert set(sent) == {other}  # the newer wish replaced the older one
    page = client.submit(path_in(sent[other]))
    assert page.status_code == 422
    assert "already has an account" in page.text
    assert client.sign_in("uma@acme.example").status_code == 303


def test_choosing_a_new_password_stops_a_change_of_address(make, login, client, mails):
    own = login(make.staff("ann@northline.example"))
    own.submit("/account/email", {"email": "thief@evil.example", "current": PASSWORD})
    path = path_in(next(each for each in mails() if each["to"] == "thief@evil.example"))
    assert choose(client, reset_link(client, mails, "ann@northline.example")).status_code == 303
    assert client.submit(path).status_code == 404
    assert client.sign_in("ann@northline.example", NEW).status_code == 303


# An invitation


def invite(make, tenant=None, email="new@acme.example", role=Role.MEMBER):
    with unit_of_work() as unit:
        return invitations.invite(
            unit, tenant.id if tenant else None, email, role, actor="ann@northline.example", now=make.now
        )


def test_an_invited_person_chooses_name_and_password_and_is_in(make, client, mails, session):
    tenant = make.tenant("Acme")
    invite(make, tenant, " New@Acme.example ")
    [sent] = mails()
    assert sent["to"] == "new@acme.example"
    assert "Acme" in sent["subject"]
    assert "ann@northline.example" in sent["body"]
    path = path_in(sent)
    assert "Acme" in client.get(path).text
    answer = choose(client, path, name="Nina New")
    assert (answer.status_code, answer.location) == (303, "/portal")
    assert client.get("/portal").status_code == 200
    account = session.scalars(select(Account).where(Account.email == "new@acme.example")).one()
    assert (account.name, account.tenant_id, account.role) == ("Nina New", tenant.id, "member")
    assert client.get(path).status_code == 404
    [entry] = acts(session, "account.create")[-1:]
    assert (entry.actor, entry.tenant_id) == ("new@acme.example", tenant.id)


def test_staff_come_by_invitation_with_their_role(make, client, mails, session):
    invite(make, None, "new@northline.example", Role.SUPPORT)
    answer = choose(client, path_in(mails()[0]), name="Sue")
    assert (answer.status_code, answer.location) == (303, "/provider")
    account = session.scalars(select(Account).where(Account.email == "new@northline.example")).one()
    assert (account.tenant_id, account.role) == (None, "support")


def test_an_invitation_is_over_after_three_days_and_can_be_sent_again(make, client, mails, clock):
    tenant = make.tenant("Acme")
    sent = invite(make, tenant)
    old = path_in(mails()[0])
    clock.shift(timedelta(hours=71))
    assert client.get(old).status_code == 200
    clock.shift(timedelta(hours=2))
    assert client.get(old).status_code == 404
    with unit_of_work() as unit:
        now = make.now + timedelta(hours=73)
        invitations.resend(unit, tenant.id, sent.id, actor="ann@northline.example", now=now)
    new = path_in(mails()[0])
    assert client.get(old).status_code == 404
    assert choose(client, new, name="Nina").status_code == 303


def test_sending_again_closes_the_old_link_at_once(make, client, mails):
    sent = invite(make, None, role=Role.OWNER)
    old = path_in(mails()[0])
    with unit_of_work() as unit:
        invitations.resend(unit, None, sent.id, actor="ann@northline.example", now=make.now)
    assert client.get(old).status_code == 404
    assert client.get(path_in(mails()[0])).status_code == 200


def test_a_withdrawn_invitation_opens_nothing_also_when_its_mail_is_still_to_go(make, client, mails, session):
    tenant = make.tenant("Acme")
    first, second = invite(make, tenant), invite(make, tenant, "other@acme.example")
    tenant_id, ids = tenant.id, [first.id, second.id]
    path = path_in(next(each for each in mails() if each["to"] == "new@acme.example"))
    with unit_of_work() as unit:
        invitations.resend(unit, tenant_id, ids[1], actor="x", now=make.now)
        for each in ids:
            invitations.withdraw(unit, tenant_id, each, actor="x", now=make.now)
    assert mails() == []
    assert client.get(path).status_code == 404
    assert invitations.open_of(session, tenant_id) == []
    with unit_of_work() as unit:  # twice is once
        invitations.withdraw(unit, tenant_id, ids[0], actor="x", now=make.now)
    assert len(acts(session, "invitation.withdraw")) == 2
    with pytest.raises(Conflict), unit_of_work() as unit:
        invitations.resend(unit, tenant_id, ids[0], actor="x", now=make.now)
    with unit_of_work() as unit:  # and can be made anew
        invitations.invite(unit, tenant_id, "new@acme.example", Role.MEMBER, actor="x", now=make.now)


def test_nobody_touches_the_invitations_of_another_side(make, session):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    of_acme, of_staff = invite(make, acme), invite(make, None, "s@northline.example", Role.OWNER)
    for side, other in ((globex.id, of_acme), (None, of_acme), (acme.id, of_staff)):
        for act in (invitations.resend, invitations.withdraw):
            with pytest.raises(NotFound), unit_of_work() as unit:
                act(unit, side, other.id, actor="x", now=make.now)
    assert [each.email for each in invitations.open_of(session, acme.id)] == [of_acme.email]
    assert [each.email for each in invitations.open_of(session, None)] == [of_staff.email]
    assert invitations.open_of(session, globex.id) == []


def test_somebody_is_invited_once_and_not_where_they_are_already(make, session):
    tenant = make.tenant("Acme")
    person = make.user(tenant)
    invite(make, tenant)
    for email, code in ((person.email, "email_taken"), ("NEW@acme.example", "already_invited")):
        with pytest.raises(Conflict) as refused:
            invite(make, tenant, email)
        assert refused.value.code == code


def test_that_an_invited_address_belongs_to_somebody_elsewhere_is_told_to_its_owner_alone(make, client, mails):
    stranger = make.user(make.tenant("Globex"), "gil@globex.example")
    invite(make, make.tenant("Acme"), stranger.email)
    path = path_in(mails()[0])
    page = choose(client, path, name="Gil")
    assert page.status_code == 422
    assert "already has an account" in page.text
    assert client.get(path).status_code == 200  # nothing was used up


def test_a_link_taken_by_two_at_once_makes_one_account(make, client, mails, session):
    invite(make, make.tenant("Acme"))
    token = path_in(mails()[0]).rpartition("/")[2]
    invitations.accept(session, token, "One", NEW, now=make.now)
    with pytest.raises(NotFound):
        invitations.accept(session, token, "Two", NEW, now=make.now)
    with pytest.raises(NotFound), unit_of_work() as unit:
        links.use(unit, links.Purpose.INVITATION, token, now=make.now)


def test_of_many_who_take_a_link_at_the_same_moment_one_gets_in(make, app, mails, session):
    invite(make, make.tenant("Acme"))
    token = path_in(mails()[0]).rpartition("/")[2]
    start, outcomes = threading.Barrier(6), []

    def take(name):
        with app.app_context():
            start.wait()
            try:
                outcomes.append(invitations.accept(db.session(), token, name, NEW, now=make.now).name)
            except NotFound as error:
                outcomes.append(error.code)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=take, args=(f"person {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 6 and outcomes.count("link_over") == 5
    assert len(session.scalars(select(Account).where(Account.email == "new@acme.example")).all()) == 1


def test_of_many_who_invite_the_same_person_at_once_one_does(make, app, session):
    tenant_id = make.tenant("Acme").id
    start, outcomes = threading.Barrier(6), []

    def ask_in():
        def act(unit):
            invitations.invite(unit, tenant_id, "new@acme.example", Role.MEMBER, actor="x", now=make.now)

        with app.app_context():
            start.wait()
            try:
                run_in_transaction(act)
                outcomes.append("invited")
            except Conflict as error:
                outcomes.append(error.code)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=ask_in) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["already_invited"] * 5 + ["invited"]
    assert len(invitations.open_of(session, tenant_id)) == 1


def test_the_owner_is_told_of_a_new_password_however_it_came(make, login, mails):
    own = login(make.staff("ann@northline.example"))
    answer = own.submit("/account/password", {"current": PASSWORD, "new": NEW, "repeat": NEW})
    assert answer.status_code == 303
    [told] = mails()
    assert (told["to"], NEW in str(told)) == ("ann@northline.example", False)


def test_what_is_long_over_is_forgotten(make, session):
    invite(make, make.tenant("Acme"))
    with unit_of_work() as unit:
        links.forget(unit, now=make.now + timedelta(days=32))
    assert session.scalars(select(MailedLink.email)).all() == ["new@acme.example"]
    with unit_of_work() as unit:
        links.forget(unit, now=make.now + timedelta(days=34))
    assert session.scalars(select(MailedLink.email)).all() == []


def test_a_mail_that_is_tried_again_carries_a_link_that_works(make, client, session, now):
    person = make.staff()
    with unit_of_work() as unit:
        recovery.begin_reset(unit, {"email": person.email, "address": "192.0.2.1"}, now)
        [link_id] = unit.scalars(select(MailedLink.id))
    with unit_of_work() as unit:
        first = links.arm(unit, link_id, now=now)
    with unit_of_work() as unit:
        second = links.arm(unit, link_id, now=now)
    assert first and second
    assert client.get(f"/reset/{first[1]}").status_code == 404
    assert client.get(f"/reset/{second[1]}").status_code == 200
    with unit_of_work() as unit:
        unit.execute(update(MailedLink).values(used_at=now))
        assert links.arm(unit, link_id, now=now) is None


# The pages


@pytest.mark.parametrize("side", ["staff", "tenant by staff", "tenant"])
def test_people_are_invited_seen_and_taken_back_on_the_page(make, login, client, mails, side):
    acme = make.tenant("Acme")
    inviter = login(make.user(acme) if side == "tenant" else make.staff())
    base = {"staff": "/provider/people", "tenant by staff": "/provider/tenants/acme/people", "tenant": "/portal/people"}
    role = "support" if side == "staff" else "member"
    assert f'href="{base[side]}/invite"' in inviter.get(base[side]).text
    assert inviter.get(base[side] + "/invite").status_code == 200
    answer = inviter.submit(base[side] + "/invite", {"email": "New@acme.example", "role": role})
    assert (answer.status_code, answer.location) == (303, base[side])
    old = path_in(mails()[0])
    page = inviter.get(base[side]).text
    assert "new@acme.example" in page
    [again] = re.findall(rf'action="({base[side]}/invitations/\d+/resend)"', page)
    assert inviter.submit(again).status_code == 303
    assert client.get(old).status_code == 404
    new = path_in(mails()[0])
    assert client.get(new).status_code == 200
    taken = inviter.submit(again.replace("resend", "withdraw"), follow_redirects=True)
    assert "The invitation of new@acme.example is withdrawn." in taken.text
    assert "/invitations/" not in taken.text
    assert client.get(new).status_code == 404
    assert "was accepted or withdrawn" in inviter.submit(again, follow_redirects=True).text


def test_what_is_wrong_with_an_invitation_is_said_at_its_field(make, login, mails):
    acme = make.tenant("Acme")
    admin = login(make.user(acme, "uma@acme.example"))
    for email, role, field in (
        ("no address", "member", "email"),
        ("uma@acme.example", "member", "email"),
        ("", "member", "email"),
        ("new@acme.example", "owner", "role"),
        ("new@acme.example", "", "role"),
    ):
        page = admin.submit("/portal/people/invite", {"email": email, "role": role})
        assert page.status_code == 422
        assert f'id="{field}-error"' in page.text
    assert mails() == []


def test_an_invitation_cannot_name_another_tenant_or_another_inviter(make, login, session):
    acme, globex = make.tenant("Acme"), make.tenant("Globex")
    admin = login(make.user(acme, "uma@acme.example"))
    more = {"tenant_id": globex.id, "asked_by": "x", "expires_at": "2099-01-01", "token_hash": "0" * 64}
    admin.submit("/portal/people/invite", {"email": "new@acme.example", "role": "member", **more})
    [made] = session.scalars(select(MailedLink))
    assert (made.tenant_id, made.asked_by, made.token_hash) == (acme.id, "uma@acme.example", None)
    assert made.expires_at - made.created_at == timedelta(hours=72)


def test_the_log_of_a_failure_does_not_hold_the_link(make, client, mails, app, monkeypatch, caplog):
    path = reset_link(client, mails, make.staff().email)

    def fail(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(links, "find", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert client.get(path).status_code == 500
    assert "/reset/<token>" in caplog.text
    assert path.rpartition("/")[2] not in caplog.text


def test_waiting_mails_of_accounts_are_named_on_the_page_of_jobs_without_whom_they_are_for(make, login, client):
    staff = login(make.staff())
    ask(client, "somebody@elsewhere.example")
    with unit_of_work() as unit:
        links.tell(unit, "somebody@elsewhere.example", "password", now=make.now)
    page = staff.get("/provider/jobs?state=waiting").text
    assert "A new password was asked for" in page
    assert "Notice about an account" in page
    assert "somebody@elsewhere.example" not in page

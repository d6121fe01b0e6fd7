"""Mail, as a real SMTP server on loopback receives it from the worker."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import func, select, update

from app import mail
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.billing import credit_notes, payments, profiles, service as billing
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Terms
from app.domain.catalog.specs import LimitSpec
from app.domain.jobs import service as jobs
from app.domain.jobs.models import Job
from app.domain.metering import low_balance
from app.domain.metering.models import Prepaid, ThresholdCrossing
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from tests.faults.reporters import sized
from tests.server import ROOT, free_port

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Inbox:
    """What arrived; `refuse` answers every mail with it."""

    def __init__(self):
        self.mails, self.refuse = [], ""

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  aiosmtpd's name
        if self.refuse:
            return self.refuse
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 OK"


@pytest.fixture
def inbox():
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    inbox.port = controller.port
    yield inbox
    controller.stop()


@pytest.fixture
def settings(settings, inbox):
    return replace(
        settings, MAIL_SERVER="127.0.0.1", MAIL_PORT=inbox.port, MAIL_USE_TLS=False,
        PUBLIC_URL="https://portal.northline.example/", MAIL_FROM="no-reply@northline.example",
    )  # fmt: skip


@pytest.fixture
def work(app):
    """Everything that is due, as `flask worker --once` does it; returns what it printed."""

    def run():
        done = app.test_cli_runner().invoke(args=["worker", "--once"])
        assert done.exit_code == 0, done.output
        return done.output

    return run


@pytest.fixture
def acme(make, now):
    tenant = make.tenant("Acme", timezone="America/New_York")
    limits = [LimitSpec("voice_minutes", 60_000, "charge", 20_000)]
    make.subscribe(tenant, make.package("gold", limits), started_at=now - timedelta(days=3))
    return tenant


def choose(account, now):
    with unit_of_work() as session:
        accounts.set_threshold_mail(session, account.id, True, actor="test", now=now)


def waiting():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(Job).where(Job.done_at.is_(None)))


def test_a_threshold_reaches_those_who_chose_it(make, acme, now, work, inbox):
    choose(make.user(acme, "uma@acme.example"), now)
    make.user(acme, "quiet@acme.example")
    choose(make.staff("nora@northline.example"), now)
    make.usage(acme, 46_000, source=make.source())
    work()
    work()
    found = {to[0]: text for to, text in inbox.mails}
    assert sorted(found) == ["nora@northline.example", "uma@acme.example"] and len(inbox.mails) == 2
    uma, nora = found["uma@acme.example"], found["nora@northline.example"]
    assert (uma["Subject"], uma["From"]) == (
        "75 % of your voice minutes used",
        "Northline Telecom <no-reply@northline.example>",
    )
    body = uma.get_content()
    assert "Acme has used 766:40 of 1,000 minutes" in body
    assert "22 Nov 2026, 16:00 (America/New York)" in body
    assert "then €0.02 a minute" in body
    assert "https://portal.northline.example/portal/notifications" in body
    assert nora["Subject"] == "Acme: 75 % of voice minutes used"
    assert "https://portal.northline.example/provider/tenants/acme" in nora.get_content()
    assert uma["Auto-Submitted"] == "auto-generated"


def test_last_months_calls_are_no_news(make, acme, now, work, inbox):
    with unit_of_work() as session:
        subscription, since = subscriptions.live(session, acme.id), (now - timedelta(days=60)).date()
        subscription.starts_on = subscription.anchor_on = subscription.open_from = since
    choose(make.user(acme), now)
    make.usage(acme, 46_000, source=make.source(), occurred_at=now - timedelta(days=45))
    work()
    assert (waiting(), inbox.mails) == (0, [])
    assert db.session.scalar(select(func.count()).select_from(ThresholdCrossing)) == 2


def test_a_mail_that_is_sent_twice_says_so(app, inbox):
    payload = {"to": "uma@acme.example", "subject": "s", "body": "b\n"}
    for key in ("one", "one", "two"):
        mail.send(key, payload)
    marks = [text["Message-ID"] for _, text in inbox.mails]
    assert marks[0] == marks[1] != marks[2]
    assert all(mark.endswith("@northline.example>") for mark in marks)


def test_a_name_cannot_add_a_header(make, acme, now, work, inbox):
    with unit_of_work() as session:
        session.merge(acme).name = "Acme\nBcc: all@example.org"
    choose(make.staff(), now)
    make.usage(acme, 46_000, source=make.source())
    work()
    ((to, text),) = inbox.mails
    assert len(to) == 1 and text["Bcc"] is None
    assert text["Subject"] == "Acme Bcc: all@example.org: 75 % of voice minutes used"


def test_what_the_server_refuses_is_kept_with_its_error_and_tried_again(make, acme, now, work, inbox, clock):
    choose(make.user(acme), now)
    make.usage(acme, 46_000, source=make.source())
    inbox.refuse = "451 not now"
    assert '"attempt":1' in (said := work()) and '"problem":"SMTPDataError"' in said
    assert (waiting(), inbox.mails) == (1, [])
    inbox.refuse = ""
    clock.shift(timedelta(minutes=1))
    work()
    assert (waiting(), len(inbox.mails)) == (0, 1)


def test_a_server_that_is_away_loses_nothing(make, acme, now, app, work, inbox):
    choose(make.user(acme), now)
    make.usage(acme, 46_000, source=make.source())
    app.extensions["mailman"].port = free_port()
    assert "ConnectionRefusedError" in work()
    assert waiting() == 1


def test_killed_at_any_moment_every_mail_arrives_and_a_repeat_is_recognised(settings, app, inbox, tmp_path):
    mails = sized(4, 2)
    with unit_of_work() as session:
        for number in range(mails):
            payload = {"to": f"user{number}@acme.example", "subject": "s", "body": "b\n"}
            jobs.enqueue(session, mail.KIND, f"mail {number}", payload, now=LONG_AGO)
    environment = {
        **os.environ, "RINGPLAN_INSTANCE": str(tmp_path), "DATABASE_URL": settings.DATABASE_URL,
        "MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(inbox.port), "MAIL_USE_TLS": "0", "JOB_LEASE_SECONDS": "1",
        "JOB_POLL_SECONDS": "0.1",
    }  # fmt: skip
    chance = random.Random(3)
    while waiting():
        command = [sys.executable, "-m", "flask", "--app", "app", "worker"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
        before, deadline = len(inbox.mails), time.monotonic() + 60
        while len(inbox.mails) == before and waiting() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.04))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    by_reader = {}
    for to, text in inbox.mails:
        by_reader.setdefault(to[0], set()).add(text["Message-ID"])
    assert len(by_reader) == mails
    assert all(len(marks) == 1 for marks in by_reader.values())


@pytest.mark.databases("sqlite")
def test_without_a_server_mails_are_kept_as_files(make, acme, now, app, work, tmp_path):
    app.extensions["mailman"].backend = "file"
    choose(make.user(acme), now)
    make.usage(acme, 46_000, source=make.source())
    assert "failed" not in work()
    (file,) = (tmp_path / "mail").iterdir()
    assert "75 % of your voice minutes used" in file.read_text()
    assert waiting() == 0


BILLED = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def issue(app, make, clock):
    """`issue(tenant)`: the id of its first invoice, which is not due yet."""

    def act(tenant, now=BILLED):
        def in_unit(unit):
            found = subscriptions.require_live(unit, unit.get_one(Tenant, tenant.id))
            period = subscriptions.period_on_day(found, found.anchor_on)
            terms = Terms.of(app.config["RINGPLAN"])
            draft = billing.draft(unit, found, period, terms, now=now, reason="start")
            return billing.finalise(unit, draft, terms, actor="nora", now=now).id

        return run_in_transaction(in_unit)

    return act


@pytest.fixture
def payer(make, now):
    tenant = make.tenant("Payer", contact_email="office@payer.example", country="AT")
    package = make.package("silver", price_micros=29_000_000)
    make.subscribe(tenant, package, started_at=now - timedelta(days=3))
    make.user(tenant, "uma@payer.example")
    return tenant


def test_an_issued_invoice_is_mailed_with_its_document_to_those_who_pay(app, payer, issue, work, inbox):
    invoice_id = issue(payer)
    work()
    work()
    ((to, text),) = inbox.mails
    assert (to, text["Subject"]) == (["office@payer.example"], "Invoice 2026-00001 of Northline Telecom")
    body = text.get_body().get_content()
    assert "your invoice of 20 Nov 2026 is attached. It comes to €29.00." in body
    assert "To be paid by: 4 Dec 2026" in body and "\n\n\n" not in body
    assert "https://portal.northline.example/portal/invoices/2026-00001" in body
    (document,) = text.iter_attachments()
    assert (document.get_filename(), document.get_content_type()) == ("invoice-2026-00001.pdf", "application/pdf")
    with app.test_request_context():
        invoice = billing.get(db.session(), payer.id, invoice_id)
        again = app.extensions["invoice_files"].pdf(invoice, billing.lines_of(db.session(), invoice))
    assert document.get_content() == again
    assert text["Message-ID"].endswith("@northline.example>")


def test_who_pays_in_advance_is_told_when_the_money_runs_low_and_when_it_is_spent(make, payer, work, inbox, now):
    profile = Profile("none", 14, prepaid=True, low_micros=5_000_000)
    receipt = Receipt("p1", 4_500_000, "EUR", "bank", "p1", now.date())

    def pay_in(unit):
        tenant = unit.get_one(Tenant, payer.id)
        profiles.save_profile(unit, tenant, profile, actor="nora", now=now)
        payments.receive(unit, tenant, receipt, actor="nora", now=now)

    def look():
        run_in_transaction(lambda unit: low_balance.tell(unit, now=now))
        work()

    run_in_transaction(pay_in)
    look()
    look()
    ((to, text),) = inbox.mails
    assert (to, text["Subject"]) == (["office@payer.example"], "Payer: €4.50 of your prepaid balance left")
    body = text.get_body().get_content()
    assert "Can be spent: €4.50" in body and "end with the money" in body and "\n\n\n" not in body
    assert "https://portal.northline.example/portal/balance" in body
    with unit_of_work() as session:
        session.execute(update(Prepaid).values(credit_micros=0))
        low_balance.tell(session, now=now + timedelta(minutes=1))
        session.execute(update(Prepaid).values(credit_micros=4_500_000))
    work()
    assert len(inbox.mails) == 1  # money came in before the mail was written
    with unit_of_work() as session:
        session.execute(update(Prepaid).values(credit_micros=0, told="low"))
    look()
    assert inbox.mails[1][1]["Subject"] == "Payer: your prepaid balance is spent"
    assert "refused until money comes in" in inbox.mails[1][1].get_body().get_content()


def test_an_invoice_that_is_mailed_again_is_recognised(payer, issue, work, inbox):
    issue(payer)
    inbox.refuse = "451 not now"
    work()
    inbox.refuse = ""
    with unit_of_work() as session:
        session.execute(update(Job).values(run_at=LONG_AGO))
    work()
    with unit_of_work() as session:  # a worker that was killed between the mail and its mark
        session.execute(update(Job).values(done_at=None, run_at=LONG_AGO))
    work()
    marks = {text["Message-ID"] for _, text in inbox.mails}
    assert (len(inbox.mails), len(marks)) == (2, 1)


def test_a_credit_note_is_mailed_too(app, payer, issue, work, inbox):
    invoice_id = issue(payer)

    def act(unit):
        found = billing.get(unit, payer.id, invoice_id)
        credit_notes.credit(unit, found, Terms.of(app.config["RINGPLAN"]), actor="nora", now=BILLED)

    run_in_transaction(act)
    work()
    (text,) = [text for _, text in inbox.mails if text["Subject"].startswith("Credit note 2026-00002")]
    assert "we credit €29.00 of invoice 2026-00001" in text.get_body().get_content()
    assert [file.get_filename() for file in text.iter_attachments()] == ["credit-note-2026-00002.pdf"]


def test_without_an_address_for_invoices_every_user_gets_it(make, payer, issue, work, inbox, now):
    with unit_of_work() as session:
        session.merge(payer).contact_email = ""
    gone = make.user(payer, "gone@payer.example")
    make.user(make.tenant("Globex"), "olga@globex.example")
    with unit_of_work() as session:
        accounts.disable_account(session, session.merge(gone), actor="nora", now=now)
    issue(payer)
    work()
    assert [to for to, _ in inbox.mails] == [["uma@payer.example"]]


@pytest.mark.databases("sqlite")
def test_invoices_are_not_mailed_where_that_is_not_wanted(app, payer, issue, work, inbox):
    app.config["RINGPLAN"] = replace(app.config["RINGPLAN"], MAIL_INVOICES=False)
    issue(payer)
    work()
    assert (waiting(), inbox.mails) == (0, [])

"""docs/webhooks.md: what it shows is what is sent, and its lines of Python and JavaScript check a signature."""

import json
import re
import shutil
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from app.core.usage import UsageEvent
from app.db import db, run_in_transaction
from app.domain.billing import payments, service as billing
from app.domain.billing.payments import Receipt
from app.domain.billing.terms import Terms
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants.models import Tenant
from app.domain.webhooks import delivery, endpoints, events, signing
from app.domain.webhooks.endpoints import Wanted
from app.domain.webhooks.models import WebhookMessage

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text()
EURO = 1_000_000


@pytest.fixture
def sent(app, make, now):
    """The body of one message of each type, of real acts."""
    wanted = Wanted("https://hooks.example/", events.TYPES)
    endpoint = run_in_transaction(lambda s: endpoints.add(s, None, wanted, actor="test", now=now))
    acme, source = make.tenant(timezone="Europe/Berlin"), make.source()
    gold = make.package("gold", {"voice_minutes": 60_000, "fax_pages": 5}, price_micros=49 * EURO)
    make.subscribe(acme, gold, now - timedelta(days=40))
    make.usage(acme, 45_600, source=source)
    make.usage(acme, 5, "fax_pages", source=source)

    def bill(session):
        tenant = session.get_one(Tenant, acme.id)
        terms = Terms.of(app.config["RINGPLAN"])
        live = subscriptions.require_live(session, tenant)
        period = subscriptions.periods_of(live, now)[-1]
        invoice = billing.draft(session, live, period, terms, now=now)
        billing.finalise(session, invoice, terms, actor="test", now=now)
        receipt = Receipt("RF18 2026", 49 * EURO, "EUR", "bank", "RF18 2026", date(2026, 11, 22))
        payments.receive(session, tenant, receipt, actor="test", now=now)

    run_in_transaction(bill)
    lost = UsageEvent("evt-1", "nobody", "fax_pages", 1, now)
    run_in_transaction(lambda s: ingest(s, source.id, [Report(lost, "{}")], now=now))
    run_in_transaction(lambda s: endpoints.ping(s, endpoint, "", now=now))
    db.session.rollback()
    return {
        each.type: json.loads(delivery.body_of(each))
        for each in db.session.scalars(select(WebhookMessage).order_by(WebhookMessage.type, WebhookMessage.id.desc()))
    }


def shown():
    bodies = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
    return {body["type"]: body for body in bodies}


def test_the_page_shows_each_event_as_it_is_sent(sent):
    assert set(sent) == {*events.TYPES, events.PING}
    for body in sent.values():
        print(json.dumps(body))
    assert shown() == sent


def verified_by(command, code, secret, message_id, timestamp, body, given):
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": given}
    arguments = [secret, json.dumps(headers), body]
    done = subprocess.run([*command, code, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode == 0


def code_of(language):
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[1]


PYTHON_READS = """
import json, sys
secret, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode()
"""
NODE_READS = """
const [secret, given, text] = process.argv.slice(1);
const headers = JSON.parse(given), body = Buffer.from(text);
"""


@pytest.mark.parametrize("language", ["python", "js"])
def test_the_lines_of_the_page_take_what_is_ours_and_nothing_else(language):
    if language == "js" and shutil.which("node") is None:
        pytest.skip("no node here")
    command = [sys.executable, "-c"] if language == "python" else ["node", "-e"]
    code = (PYTHON_READS if language == "python" else NODE_READS) + code_of(language)
    secret, body, now = signing.secret_of("key", 1, "salt"), '{"type":"ping"}', int(time.time())
    right = signing.signature(secret, "msg_1", now, body.encode())
    old = signing.signature(secret, "msg_1", now - 600, body.encode())
    assert verified_by(command, code, secret, "msg_1", now, body, right)
    assert verified_by(command, code, secret, "msg_1", now, body, f"v1,AAAA {right}")
    assert not verified_by(command, code, secret, "msg_2", now, body, right)
    assert not verified_by(command, code, secret, "msg_1", now, body + " ", right)
    assert not verified_by(command, code, secret, "msg_1", now - 600, body, old)
    assert not verified_by(command, code, secret, "msg_1", now, body, "v1,AAAA")

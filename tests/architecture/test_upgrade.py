"""An installation of an early version, with rows of every kind, is brought to this one: nothing is lost or differs."""

from datetime import UTC, date, datetime, timedelta

import flask_migrate
import pytest
import time_machine
from sqlalchemy import JSON, Boolean, MetaData, String, select

from app import create_app
from app.config import Settings
from app.db import db, snapshot
from app.domain.accounts import passwords
from app.domain.billing.models import InvoiceLine
from app.domain.insight.verify import differences
from app.domain.metering.models import NO_PERIOD, MeterBeyond
from tests.browser_client import Browser
from tests.conftest import DATABASES, NOW
from tests.factories import PASSWORD

ACME, GLOBEX, INITECH = 11, 12, 13
GOLD, SILVER = 21, 22
SEPTEMBER, OCTOBER, NOVEMBER = (datetime(2026, month, 13, tzinfo=UTC) for month in (9, 10, 11))
PRINTED = {
    "provider": {"name": "Northline", "address": ["Hafen 1", "20457 Hamburg"], "tax_id": "DE123456789",
                 "email": "", "iban": "", "bic": ""},
    "customer": {"name": "Acme GmbH", "address": ["Ring 1"], "country": "DE", "tax_id": "", "email": "",
                 "timezone": "UTC"},
    "taxes": [{"code": "vat", "name": "VAT", "ppm": 190_000, "inclusive": False, "category": "S", "note": "",
               "net_micros": 49_000_000, "tax_micros": 9_310_000}],
}  # fmt: skip


@pytest.fixture
def app(empty_database_url, tmp_path):
    """The portal on a database without tables, at NOW."""
    settings = Settings(
        RINGPLAN_INSTANCE=str(tmp_path), DATABASE_URL=empty_database_url, SECRET_KEY="of a test", MAX_STREAMS=0
    )
    app = create_app(settings, TESTING=True)
    app.test_client_class = Browser
    with app.app_context(), time_machine.travel(NOW):
        yield app
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.mark.parametrize("empty_database_url", DATABASES, indirect=True)
def test_rows_of_an_early_version_are_kept_and_agree(app):
    flask_migrate.upgrade(revision="0004")
    before = put(early_rows())
    flask_migrate.upgrade(revision="0007")
    before |= put(billing_rows())
    flask_migrate.upgrade()

    assert before.items() <= counts(before).items()
    with snapshot() as session:
        assert [str(each) for each in differences(session, now=NOW)] == []
        beyond = session.execute(select(MeterBeyond.price_micros, MeterBeyond.quantity).order_by(MeterBeyond.quantity))
        assert [tuple(row) for row in beyond] == [(20_000, 50), (10_000, 200)]
        costs = select(InvoiceLine.package_id, InvoiceLine.net_micros, InvoiceLine.cost_micros)
        lines = session.execute(costs.order_by(InvoiceLine.id)).all()
        assert [tuple(row) for row in lines] == [
            (GOLD, 49_000_000, 20_000_000), (GOLD, 49_000_000, 25_000_000), (None, 33_333, 0),
            (GOLD, -49_000_000, -25_000_000), (None, -33_333, 0),
        ]  # fmt: skip
    assert app.test_cli_runner().invoke(args=["verify"]).exit_code == 0
    assert open_pages(app, "nora@northline.example", "provider.") > 40
    assert open_pages(app, "uma@acme.example", "tenant.") > 20


def open_pages(app, email, side):
    """How many pages of that side open, signed in with the password of then; one that fails raises its error."""
    client, opened = app.test_client(), 0
    assert client.sign_in(email).status_code == 303
    meant = {"slug": "acme", "code": "gold", "resource": "voice_minutes", "invoice_id": 101, "record_id": 1_002}
    address = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith(side) and rule.arguments <= meant.keys() and "GET" in (rule.methods or ()):
            answer = client.get(address.build(rule.endpoint, {name: meant[name] for name in rule.arguments}))
            assert answer.status_code in (200, 204, 303, 404), (
                rule
            )  # 204: no stream is left; 404: what is meant is not of that kind
            opened += answer.status_code == 200
            answer.close()
    return opened


def put(rows):
    """Insert rows into the tables as they are at this revision; returns how many each table has then."""
    with db.engine.begin() as connection:
        metadata = MetaData()
        metadata.reflect(connection)
        for name, of_table in rows.items():
            neutral = {column.name: nothing_in(column) for column in metadata.tables[name].columns}
            assert all(row.keys() <= neutral.keys() for row in of_table), name
            connection.execute(metadata.tables[name].insert(), [neutral | row for row in of_table])
    return counts(rows)


def nothing_in(column):
    """What stands in a column that a row does not name."""
    if column.nullable:
        return None
    of_kind = ((JSON, {}), (String, ""), (Boolean, False))
    return next((value for kind, value in of_kind if isinstance(column.type, kind)), 0)


def counts(tables):
    with db.engine.connect() as connection:
        return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in tables}


def record(number, quantity, at, resource="voice_minutes", **more):
    """What 0004 kept of usage; within the limit unless `more` says otherwise."""
    period = (NOVEMBER if at >= NOVEMBER else OCTOBER).date()
    return {
        "tenant_id": ACME, "id": 1_000 + number, "source_id": 1, "external_id": f"call-{number}", "resource_code": resource,
        "measured": quantity, "quantity": quantity, "from_allowance": quantity, "beyond": 0, "beyond_as": "",
        "beyond_price_micros": 0, "occurred_at": at, "received_at": at, "period_on": period, "direction": "outbound",
        "caller": "101", "callee": "442079460958", "call_id": f"uuid-{number}", "late": False, "reverses_id": None,
        "reversal_reason": "", **more,
    }  # fmt: skip


def records():
    in_october, in_november = OCTOBER + timedelta(days=3), NOVEMBER + timedelta(days=3)
    return [
        record(1, 900, in_october),
        record(2, 300, in_october, from_allowance=100, beyond=200, beyond_as="charge", beyond_price_micros=10_000),
        record(3, 1_000, in_november),
        record(4, 50, in_november, from_allowance=0, beyond=50, beyond_as="charge", beyond_price_micros=20_000),
        record(5, 40, in_november, "fax_pages"),
        record(6, -40, in_november, "fax_pages", from_allowance=-40, reverses_id=1_005, reversal_reason="a test",
               external_id="reversal:1005"),
        record(7, 30, in_october, "sms_messages"),
        record(8, 20, in_november, "sms_messages", from_allowance=0, from_carried=20),
    ]  # fmt: skip


def meter(resource, period, used, **more):
    return {"tenant_id": ACME, "resource_code": resource, "period_on": period, "used": used, "carried_in": 0, "beyond": 0,
            "on_hold": 0, "version": 3, **more}  # fmt: skip


def hold(number, **more):
    return {"tenant_id": ACME, "id": number, "source_id": 1, "call_id": f"uuid-hold-{number}", "granted": 60,
            "resource_code": "voice_minutes", "period_on": NOVEMBER.date(), "direction": "outbound", "caller": "101",
            "callee": "442079460958", "created_at": NOW, "expires_at": NOW + timedelta(minutes=3), "over_at": None,
            "ended_at": None, "ended_as": "", "reported_at": None, **more}  # fmt: skip


def revision(number, package, name, price, cost, at):
    return {"id": number, "package_id": package, "number": number % 10, "name": name, "public": True,
            "price_micros": price, "cost_micros": cost, "interval": "month", "currency": "EUR", "published_at": at,
            "published_by": "nora@northline.example"}  # fmt: skip


def limit(revision_id, resource, included, at_limit="block", price=0, rollover=0):
    return {"revision_id": revision_id, "resource_code": resource, "included": included, "at_limit": at_limit,
            "overage_price_micros": price, "rollover_periods": rollover}  # fmt: skip


def tenant(number, slug, status="active"):
    return {"id": number, "slug": slug, "name": slug.title(), "domain": f"{slug}.example", "account_code": None,
            "timezone": "UTC", "currency": "EUR", "country": "DE", "contact_email": f"it@{slug}.example",
            "status": status, "created_at": SEPTEMBER, "thresholds": [80, 100],
            "suspended_at": NOVEMBER if status == "suspended" else None}  # fmt: skip


def life(number, tenant_id, package, started_at, ended_at=None, table="subscription"):
    of_table = (
        {"anchor_on": started_at.date(), "open_from": started_at.date()}
        if table == "subscription"
        else {"subscription_id": number}
    )
    return {"tenant_id": tenant_id, "id": number, "package_id": package, "started_at": started_at, "ended_at": ended_at,
            **of_table}  # fmt: skip


def account(number, email, tenant_id):
    return {"id": number, "email": email, "name": email.partition("@")[0].title(), "tenant_id": tenant_id,
            "password_hash": passwords.make_hash(PASSWORD), "created_at": SEPTEMBER,
            "wants_threshold_mail": True}  # fmt: skip


def early_rows():
    """Of version 0004: packages, tenants, usage with its splits, calls, numbers, people and what is noted of them."""
    lives = [(31, ACME, GOLD, OCTOBER), (32, GLOBEX, SILVER, SEPTEMBER), (33, INITECH, SILVER, SEPTEMBER, OCTOBER)]
    named = [("extensions", "101"), ("extensions", "102"), ("dids", "+4930123"), ("devices", "aa:bb")]
    day = timedelta(days=3)
    return {
        "source": [{"id": 1, "code": "pbx1", "name": "Berlin", "created_at": SEPTEMBER}],
        "api_key": [{"id": 1, "source_id": 1, "prefix": "rp_old", "secret_hash": "0" * 64, "scopes": ["usage:write"],
                     "created_at": SEPTEMBER}],
        "package": [
            {"id": GOLD, "code": "gold", "name": "Gold", "status": "published", "public": True, "revision_id": 212,
             "created_at": SEPTEMBER},
            {"id": SILVER, "code": "silver", "name": "Silver", "status": "published", "public": True,
             "revision_id": 221, "created_at": SEPTEMBER},
        ],
        "package_revision": [
            revision(211, GOLD, "Gold", 49_000_000, 20_000_000, SEPTEMBER),
            revision(212, GOLD, "Gold", 49_000_000, 25_000_000, NOVEMBER - day),
            revision(221, SILVER, "Silver", 10_000_000, 15_000_000, SEPTEMBER),
        ],
        "package_limit": [
            *(limit(number, "voice_minutes", 1_000, "charge", price) for number, price in ((211, 10_000), (212, 20_000))),
            *(limit(number, "sms_messages", 50, rollover=1) for number in (211, 212)),
            *(limit(number, "fax_pages", 100, "notify") for number in (211, 212)),
            limit(212, "extensions", 10), limit(212, "concurrent_calls", 5), limit(221, "voice_minutes", None),
        ],
        "tenant": [tenant(ACME, "acme"), tenant(GLOBEX, "globex", "suspended"), tenant(INITECH, "initech")],
        "tenant_name": [
            {"name": name, "kind": kind, "tenant_id": number}
            for number, slug in ((ACME, "acme"), (GLOBEX, "globex"), (INITECH, "initech"))
            for name, kind in ((slug, "slug"), (f"{slug}.example", "domain"))
        ],
        "account": [account(1, "nora@northline.example", None), account(2, "uma@acme.example", ACME)],
        "sign_in": [{"token_hash": "1" * 64, "account_id": 2, "address": "192.0.2.7", "created_at": NOVEMBER,
                     "seen_at": NOVEMBER}],
        "subscription": [life(*each) for each in lives],
        "subscription_segment": [life(*each, table="segment") for each in lives],
        "usage_record": records(),
        "usage_day": [
            {"tenant_id": ACME, "day": (at + day).date(), "resource_code": resource, "quantity": quantity, "records": count}
            for at, resource, quantity, count in (
                (OCTOBER, "voice_minutes", 1_200, 2), (NOVEMBER, "voice_minutes", 1_050, 2), (NOVEMBER, "fax_pages", 0, 2),
                (OCTOBER, "sms_messages", 30, 1), (NOVEMBER, "sms_messages", 20, 1),
            )
        ],
        "meter": [
            meter("voice_minutes", OCTOBER.date(), 1_200, beyond=200),
            meter("voice_minutes", NOVEMBER.date(), 1_050, beyond=50, on_hold=60),
            meter("fax_pages", NOVEMBER.date(), 0),
            meter("sms_messages", OCTOBER.date(), 30), meter("sms_messages", NOVEMBER.date(), 20, carried_in=20),
            meter("extensions", NO_PERIOD, 2), meter("dids", NO_PERIOD, 1), meter("concurrent_calls", NO_PERIOD, 1),
        ],
        "hold": [hold(41), hold(42, ended_at=NOW, ended_as="settled", reported_at=NOW, granted=0),
                 hold(43, ended_at=NOVEMBER, ended_as="expired")],
        "refusal": [{"tenant_id": ACME, "id": 51, "refused_at": NOVEMBER, "reason": "limit_reached",
                     "resource_code": "extensions", "included": 10, "used": 10, "source_id": 1, "call_id": "uuid-9"}],
        "allocation": [
            {"tenant_id": ACME, "id": 60 + number, "resource_code": resource, "name": name, "created_at": SEPTEMBER,
             "created_by": "uma@acme.example", "released_at": NOVEMBER if resource == "devices" else None}
            for number, (resource, name) in enumerate(named)
        ],
        "did": [{"number": "+4930123", "tenant_id": ACME, "allocation_id": 62}],
        "quarantined": [
            {"id": 71, "source_id": 1, "external_id": "lost-1", "tenant_ref": "nobody", "reason": "unknown_tenant",
             "format": "event", "body": "{}", "received_at": NOVEMBER, "resolved_at": None, "resolution": ""},
            {"id": 72, "source_id": 1, "external_id": "call-1", "tenant_ref": "acme", "reason": "no_subscription",
             "format": "event", "body": "{}", "received_at": OCTOBER, "resolved_at": NOVEMBER, "resolution": "replayed"},
        ],
        "threshold_crossing": [
            {"tenant_id": ACME, "resource_code": "voice_minutes", "period_on": NOVEMBER.date(), "percent": percent,
             "crossed_at": NOVEMBER, "used": percent * 10, "total": 1_000} for percent in (80, 100)
        ],
        "job": [
            {"id": 81, "kind": "mail", "key": "threshold:1", "created_at": NOVEMBER, "run_at": NOVEMBER, "done_at": NOVEMBER},
            {"id": 82, "kind": "mail", "key": "threshold:2", "created_at": NOVEMBER, "run_at": NOVEMBER, "done_at": None},
        ],
        "audit_entry": [
            {"id": 90 + number, "at": at, "actor": "nora@northline.example", "act": act, "subject": subject,
             "tenant_id": tenant_id, "details": details}
            for number, (at, act, subject, tenant_id, details) in enumerate((
                (SEPTEMBER, "package.create", "package:gold", None, {"price": "49,00 €", "limits": [1, None]}),
                (SEPTEMBER, "tenant.create", "tenant:acme", ACME, {}),
                (OCTOBER, "tenant.suspend", "tenant:globex", GLOBEX, {"changed": {"status": ["active", "suspended"]}}),
            ))
        ],
        "idempotency_key": [{"source_id": 1, "key": "k1", "request_hash": "h", "claim_id": 1, "claimed_at": NOVEMBER,
                             "status": 200, "content_type": "application/json", "body": "{}"}],
    }  # fmt: skip


def invoice(number, reason, total, *, kind="invoice", **more):
    return {"tenant_id": ACME, "id": 100 + number, "kind": kind, "subscription_id": 31, "period_on": OCTOBER.date(),
            "period_end_on": NOVEMBER.date(), "reason": reason, "number": f"2026-0000{number}", "currency": "EUR",
            "created_at": NOVEMBER, "issued_at": NOVEMBER, "issued_on": NOVEMBER.date(), "due_on": date(2026, 11, 27),
            "total_micros": total, "printed": PRINTED, "bill_run_id": 1, **more}  # fmt: skip


def line(number, invoice_id, position, amount, **more):
    return {"tenant_id": ACME, "id": 200 + number, "invoice_id": invoice_id, "position": position, "kind": "recurring",
            "name": "Gold", "amount_micros": amount, "tax_code": "vat", "price_micros": 49_000_000, "quantity": 1,
            "factor": 1, "first_on": OCTOBER.date(), "end_on": NOVEMBER.date(), "usage_on": None, "late": False,
            "resource_code": "", "credits_line_id": None, **more}  # fmt: skip


def billing_rows():
    """Of version 0007: an invoice that is paid with something over, one that was credited in full, and their ledger."""
    first, second = 58_310_000, 58_350_000
    usage = {"kind": "usage", "name": "Voice minutes", "price_micros": 10_000, "quantity": 200, "factor": 60,
             "resource_code": "voice_minutes", "usage_on": OCTOBER.date(), "first_on": None, "end_on": None}  # fmt: skip
    entries = (("invoice", "invoice:101", first), ("payment", "payment:301", -60_000_000),
               ("invoice", "invoice:102", second), ("credit_note", "invoice:103", -second))  # fmt: skip
    return {
        "tax_rate": [{"code": "vat", "name": "VAT", "ppm": 190_000, "inclusive": False, "category": "S", "note": ""}],
        "billing_profile": [{"tenant_id": ACME, "legal_name": "Acme GmbH", "address": "Ring 1", "tax_code": "vat",
                             "payment_days": 14, "email": "books@acme.example"}],
        "number_series": [{"prefix": "2026-", "last": 3}],
        "bill_run": [{"id": 1, "as_of": NOVEMBER, "phase": "done", "started_by": "nora@northline.example",
                      "started_at": NOVEMBER, "ended_at": NOVEMBER, "steps": 3, "to_do": 2, "looked_at": 2,
                      "drafted": 2, "finalised": 2, "problems": []}],
        "invoice": [
            invoice(1, "start", first, status="paid", created_at=OCTOBER, issued_at=OCTOBER, issued_on=OCTOBER.date(), net_micros=49_000_000, tax_micros=9_310_000, credits_id=None),
            invoice(2, "upgrade", second, status="void", net_micros=49_033_333, tax_micros=9_316_667, credits_id=None),
            invoice(3, "credit-upgrade-1", -second, kind="credit_note", status="paid", bill_run_id=None, net_micros=-49_033_333,
                    tax_micros=-9_316_667, credits_id=102),
        ],
        "invoice_line": [
            line(1, 101, 1, 49_000_000), line(2, 102, 1, 49_000_000), line(3, 102, 2, 33_333, **usage),
            line(4, 103, 1, -49_000_000, credits_line_id=202), line(5, 103, 2, -33_333, **usage, credits_line_id=203),
        ],
        "payment": [{"tenant_id": ACME, "id": 301, "key": "bank:1", "method": "bank", "reference": "2026-00001",
                     "received_on": NOVEMBER.date(), "amount_micros": 60_000_000, "unmatched_micros": 1_690_000,
                     "currency": "EUR", "made_at": NOVEMBER, "made_by": "nora@northline.example"}],
        "payment_match": [{"tenant_id": ACME, "id": 401, "payment_id": 301, "invoice_id": 101, "amount_micros": first,
                           "matched_at": NOVEMBER}],
        "ledger_entry": [
            {"tenant_id": ACME, "id": 500 + number, "at": NOVEMBER, "kind": kind, "source": source, "reference": "",
             "amount_micros": amount, "currency": "EUR",
             "balance_micros": sum(each[2] for each in entries[: number + 1])}
            for number, (kind, source, amount) in enumerate(entries)
        ],
        "ledger_balance": [{"tenant_id": ACME, "currency": "EUR", "balance_micros": -1_690_000, "entries": 4}],
    }  # fmt: skip

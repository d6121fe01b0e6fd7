"""All data of one tenant: every column of every table that leads to a tenant, or a reason why not; nothing of others."""

import csv
import io
import json
import re
import zipfile

import pytest
from sqlalchemy import select, update

from app.core.ids import new_ids
from app.db import Base, unit_of_work
from app.domain.accounts.models import Account, ApiKey, SignIn
from app.domain.accounts.roles import Role
from app.domain.audit.models import AuditEntry
from app.domain.metering.models import UsageRecord
from app.domain.privacy import export
from app.domain.webhooks.models import WebhookEndpoint
from app.web.export import _zip
from tests import world

SECRET = re.compile(r"hash|secret|token|salt|password|sealed|fingerprint|cost|public_key|credential")
HARMLESS = {"audit_entry.hash"}  # it chains what stands there to read


def exported(browser, path):
    answer = browser.submit(path, {})
    assert (answer.status_code, answer.mimetype) == (200, "application/zip"), answer.status_code
    return zipfile.ZipFile(io.BytesIO(answer.data))


def table(archive, name):
    return list(csv.DictReader(io.StringIO(archive.read(f"{name}.csv").decode())))


def text(archive):
    return "\n".join(archive.read(name).decode() for name in archive.namelist() if not name.endswith(".pdf"))


def test_whatever_is_left_out_is_there_and_is_left_out_for_a_reason():
    leading = {each.name for each in export.leading_to_a_tenant()}
    assert {"account", "sign_in", "webhook_attempt", "usage_record", "totp"} <= leading
    assert set(export.LEFT_OUT_TABLES) <= leading
    assert leading - set(export.LEFT_OUT_TABLES) <= {each.name for each in export.tables()}
    for name, why in export.LEFT_OUT.items():
        of, _, column = name.partition(".")
        assert column in Base.metadata.tables[of].columns and why, name


def test_no_column_goes_along_whose_name_sounds_like_a_secret():
    names = {f"{each.name}.{column}" for each in export.tables() for column in export.columns(each)}
    assert {name for name in names if SECRET.search(name.partition(".")[2])} == HARMLESS


@pytest.fixture
def w(app, make, now):
    return world.build(app, make, now)


def test_everything_of_the_tenant_and_nothing_else(w, session, login, now):
    admin = w.people["tenant:admin"]
    archive = exported(login(admin), "/portal/export")
    assert archive.testzip() is None
    rows = json.loads(archive.read("about.json"))["rows"]
    for each in export.tables():
        found = table(archive, each.name)
        assert rows[f"{each.name}.csv"] == len(found), each.name
        if "tenant_id" in export.columns(each):
            assert {row["tenant_id"] for row in found} <= {str(w.acme.tenant.id)}, each.name
    filled = {name.removesuffix(".csv") for name, count in rows.items() if count}
    assert filled >= {
        "tenant", "tenant_name", "account", "sign_in", "passkey", "package", "subscription", "subscription_segment",
        "usage_record", "meter", "hold", "allocation", "invoice", "invoice_line", "ledger_entry", "billing_profile",
        "audit_entry", "webhook_endpoint", "webhook_message", "change_request", "prepaid", "api_key", "mailed_link",
    }  # fmt: skip
    assert {row["status"] for row in table(archive, "invoice")} == {"final"}  # a draft is the provider's
    assert [row["name"] for row in table(archive, "package")] == ["Small"]
    (pdf,) = [name for name in archive.namelist() if name.endswith(".pdf")]
    assert archive.read(pdf).startswith(b"%PDF")
    for secret in secrets(session):
        assert secret not in text(archive)
    assert "globex" not in text(archive).lower()
    staff = session.scalars(select(Account.email).where(Account.tenant_id.is_(None)))
    assert not [email for email in staff if email in text(archive)]
    (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.act == "privacy.export"))
    assert (entry.actor, entry.tenant_id) == (admin.email, w.acme.tenant.id)


def secrets(session):
    yield from session.scalars(select(Account.password_hash))
    yield from session.scalars(select(ApiKey.secret_hash))
    yield from session.scalars(select(SignIn.token_hash))
    yield from session.scalars(select(WebhookEndpoint.salt))


@pytest.mark.databases("sqlite")
def test_staff_get_the_same_and_the_tenants_log_says_so(w, login):
    archive = exported(login(w.people["staff:owner"]), "/provider/tenants/acme/export")
    (entry,) = [row for row in table(archive, "audit_entry") if row["act"] == "privacy.export"]
    assert (entry["actor"], entry["address"], entry["subject"]) == ("provider", "", "tenant:acme")


@pytest.mark.databases("sqlite")
def test_cells_are_harmless_and_a_long_table_comes_in_pieces(app, w, now, login, monkeypatch):
    monkeypatch.setattr(export, "CHUNK", 3)
    monkeypatch.setattr("app.web.export.PIECE", 50)
    with unit_of_work() as act:
        act.execute(update(UsageRecord).values(caller="=1+1"))
        record = act.scalars(select(UsageRecord).where(UsageRecord.tenant_id == w.acme.tenant.id)).one()
        kept = {column.name: getattr(record, column.name) for column in UsageRecord.__table__.columns}
        for number in new_ids(7):
            act.add(UsageRecord(**{**kept, "id": number, "external_id": str(number)}))
    browser = login(w.people["tenant:admin"])
    found = table(exported(browser, "/portal/export"), "usage_record")
    assert len(found) == len({row["id"] for row in found}) == 8
    assert {row["caller"] for row in found} == {"'=1+1"}
    with app.test_request_context():
        assert len(list(_zip(w.acme.tenant.id, "acme", now))) > 5


@pytest.mark.databases("sqlite")
def test_the_page_names_the_files_and_others_do_not_get_it(login, make):
    acme = make.tenant("Acme")
    assert "usage_record.csv" in login(make.user(acme)).get("/portal/export").text
    assert login(make.user(acme, role=Role.BILLING)).get("/portal/export").status_code == 403
    assert login(make.staff(role=Role.SUPPORT)).get("/provider/tenants/acme/export").status_code == 403

"""Whatever a form changes leaves an entry in the audit trail, in the same transaction: every form, in a story.

A new form needs a step below, or a reason why it changes nothing that is told.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import unescape
from types import MappingProxyType
from typing import Any, NamedTuple

import pyotp
import pytest
from sqlalchemy import update

from app.core.clock import utc_now
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.links import Purpose
from app.domain.accounts.models import MailedLink
from app.domain.billing.models import BillRun
from app.domain.catalog.models import Package
from app.domain.changes import offers
from app.domain.factors.models import Passkey
from app.domain.jobs.models import Job
from app.domain.metering.models import UsageRecord
from app.domain.telephony.models import Allocation
from app.domain.tenants.models import Tenant
from tests import world
from tests.authenticator import Authenticator
from tests.browser_client import Browser
from tests.factories import PASSWORD, Make
from tests.watch import UNTOLD, Written, watching, wrong_with
from tests.web import test_rights as rights

CHANGES_NOTHING = {
    "auth.logout": "tests/web/test_audit_trail.py",
    "account.confirm": "a refusal is told: tests/web/test_second_factor.py",
    "provider.billing_bank": "looks at the file",
    "provider.quarantine_replay": "tests/domain/test_replay.py: here the reason lasts",
    "provider.ready_offer": "tests/web/test_ready.py: here nobody is ready",
    "provider.webhook_ping": UNTOLD["webhook_message"],
    "tenant.webhook_ping": UNTOLD["webhook_message"],
    "account.security_app_new": UNTOLD["totp"],
    "tenant.balance_top_up": "on to the gateway",
    "tenant.invoice_pay": "on to the gateway",
}
Fields = Mapping[str, Any] | Callable[["Story", str], dict[str, Any]]


@dataclass
class Story:
    """The world, who acts in it, and what their last request wrote."""

    make: Make
    world: world.World
    browsers: dict[str, Browser]
    written: list[Written] = field(default_factory=list)

    def browser(self, endpoint: str) -> Browser:
        return self.browsers["tenant" if endpoint.startswith("tenant.") else "staff"]


def quote(story: Story, url: str) -> dict[str, Any]:
    """The offer on the page of plans, for the end of the period."""
    browser = story.browsers["tenant" if url.startswith("/portal") else "staff"]
    page = browser.get(f"{url}?package=mini&when=period_end").text
    return {"package": "mini", "when": "period_end", "quote": re.search(r'name="quote" value="([^"]*)"', page)[1]}


def as_it_stands(**changes: Any) -> Callable[["Story", str], dict[str, Any]]:
    """The form as its page shows it, with other values here and there."""

    def fields(story: Story, url: str) -> dict[str, Any]:
        page = story.browsers["staff"].get(url).text
        page = page[page.index(f'action="{url}"') :]
        page = page[: page.index("</form>")]
        found: dict[str, Any] = {}
        for tag in re.findall(r"<input[^>]*>", page):
            given = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
            is_set = given.get("type") not in ("checkbox", "radio") or " checked" in tag
            if "name" in given and given["name"] != "csrf_token" and is_set:
                found.setdefault(given["name"], []).append(unescape(given.get("value", "")))
        for name, inner in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
            chosen = re.search(r'<option selected value="([^"]*)"', inner)
            found[name] = unescape(chosen[1]) if chosen else ""
        for name, inner in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', page, re.DOTALL):
            found[name] = unescape(inner)
        return {**found, **changes}

    return fields


def edited(story: Story, url: str) -> dict[str, Any]:
    """Another price, after a look at what it does."""
    fields = {**as_it_stands()(story, url), "price": "55.00", "act": "preview"}
    page = story.browsers["staff"].submit(url, fields).text
    return {**fields, "act": "save", "preview": re.search(r'name="preview" value="(\w+)"', page)[1]}


def app_code(story: Story, url: str) -> dict[str, Any]:
    page = story.browsers["staff"].get("/account/security/app").text
    return {"code": pyotp.TOTP(re.search(r'id="key">(\w+)<', page)[1]).now()}


def passkey(story: Story, url: str) -> dict[str, Any]:
    page = story.browsers["staff"].get(url).text
    wanted = unescape(re.search(r'data-passkey="([^"]*)"', page)[1])
    return {"name": "Laptop", "credential": Authenticator().create(wanted)}


KEY = {"source": "pbx1", "scopes": "usage"}
HOOK = {"url": "https://1.1.1.1/hook", "types": ["invoice.final"]}
SINCE = {"since": "2026-11-01T00:00"}
PAYMENT = {"amount": "1.00", "method": "bank", "reference": "R-1", "received_on": "2026-11-20"}
RESOURCE = {
    "name": "SMS", "code": "sms2", "kind": "metered", "base_unit": "message", "unit_one": "message",
    "unit_many": "messages", "factor": "1", "first_step": "1", "next_step": "1",
}  # fmt: skip
PACKAGE = {"name": "Mini", "code": "mini", "price": "10.00", "act": "draft"}
BANK_FILE = "Buchungstag;Auftraggeber;Verwendungszweck;Betrag\r\n20.11.2026;Globex;2026-00002;1,00\r\n"


def bank_file(story: Story, url: str) -> dict[str, Any]:
    page = story.browsers["staff"].submit("/provider/billing/bank", {"text": BANK_FILE, "currency": "EUR"}).text
    return {"content": BANK_FILE, "currency": "EUR", "mark": re.search(r'name="mark" value="(\w+)"', page)[1]}


class Step(NamedTuple):
    """A form sent; `values` are the parts of its address that differ from those of test_rights."""

    endpoint: str
    fields: Fields = MappingProxyType({})
    values: Mapping[str, Any] = MappingProxyType({})


def offered(story: Story) -> None:
    with unit_of_work() as session:
        tenant = session.get_one(Tenant, story.world.acme.tenant.id)
        package = session.query(Package).filter_by(code="large").one()
        offers.make(session, tenant, package, actor="test", now=utc_now())


def dead_job(story: Story) -> None:
    with unit_of_work() as session:
        session.execute(update(Job).where(Job.id == story.world.shared["job_id"]).values(dead_at=utc_now()))


def signed_in_elsewhere(story: Story) -> None:
    story.browsers["elsewhere"].sign_in(story.world.people["staff:owner"].email)


def mark_elsewhere(story: Story) -> str:
    with story.browsers["elsewhere"].session_transaction() as cookie:
        return accounts.mark_of(cookie["_user_id"])


def line_105(story: Story) -> int:
    db.session.rollback()
    return db.session.query(Allocation.id).filter_by(tenant_id=story.world.acme.tenant.id, name="105").scalar()


another_member = {"account_id": lambda story: story.world.people["tenant:member"].id}


def invitation(story: Story) -> int:
    """The one that waits at Acme."""
    db.session.rollback()
    found = db.session.query(MailedLink).filter_by(tenant_id=story.world.acme.tenant.id, purpose=Purpose.INVITATION)
    return found.filter(MailedLink.withdrawn_at.is_(None)).one().id


def draft_of_globex(story: Story) -> int:
    return int(story.world.globex.ids["draft_id"])


def used_today(story: Story) -> int:
    acme = story.world.acme.tenant
    story.make.usage(acme, 60, source=story.make.source("pbx3"))
    return db.session.query(UsageRecord).filter_by(tenant_id=acme.id).order_by(UsageRecord.id.desc()).first().id


def reviewed(story: Story) -> None:
    with unit_of_work() as session:
        session.execute(update(BillRun).values(phase="review"))


def own_passkey(story: Story) -> int:
    db.session.rollback()
    of = story.world.people["staff:owner"].id
    return db.session.query(Passkey.id).filter_by(account_id=of).scalar()


STEPS = [
    Step("provider.reverse", {"reason": "Twice"}, {"record_id": used_today}),
    Step("provider.portal_settings", as_it_stands(product_name="Northline")),
    Step("provider.source_new", {"name": "PBX 2", "code": "pbx2", "time_zone": "UTC"}),
    Step("provider.source_edit", as_it_stands(name="PBX one")),
    Step("provider.key_new", KEY),
    Step("provider.key_end", {"ends_on": "2027-01-31"}),
    Step("provider.key_rotate", {"overlap": "24"}),
    Step("provider.key_revoke"),
    Step("tenant.key_new", {"label": "Books"}),
    Step("tenant.key_end", {"ends_on": "2027-01-31"}),
    Step("tenant.key_rotate", {"overlap": "24"}),
    Step("tenant.key_revoke"),
    Step("provider.resource_new", RESOURCE),
    Step("provider.package_new", as_it_stands(**PACKAGE)),
    Step("provider.package_publish", {}, {"code": "mini"}),
    Step("provider.package_edit", edited),
    Step("provider.package_undo", {}, {"number": 2}),
    Step("provider.tenant_new", as_it_stands(name="Zeta", slug="zeta")),
    Step("provider.tenant_edit", as_it_stands(name="Zeta GmbH"), {"slug": "zeta"}),
    Step("provider.tenant_trial", {"package": "large", "days": "14"}, {"slug": "zeta"}),
    Step("provider.tenant_suspend", {}, {"slug": "zeta"}),
    Step("provider.tenant_resume", {}, {"slug": "zeta"}),
    Step("provider.tenants_ticked", {"act": "suspend", "tenant": "zeta"}),
    Step("provider.tenant_thresholds", {"thresholds": "70"}),
    Step("provider.notifications", {"wanted": "y"}),
    Step("tenant.notifications", {"thresholds": "60"}),
    Step("provider.tenant_billing", as_it_stands(legal_name="Acme AG")),
    Step("provider.billing_tax", {"code": "low", "name": "VAT", "percent": "7", "category": "S"}),
    Step("provider.tenant_payment", as_it_stands(**PAYMENT)),
    Step("provider.invoice_act"),
    Step("provider.invoice_act", {}, {"act": "discard", "slug": "globex", "invoice_id": draft_of_globex}),
    Step("provider.invoice_line_remove"),
    Step("provider.invoice_line_new", {"name": "Trip", "quantity": "1", "price": "5.00", "tax_code": "vat"}),
    Step("provider.invoice_finalise"),
    Step("provider.invoice_credit", lambda story, url: {"line": re.findall(r'name="line" value="(\d+)"',
        story.browsers["staff"].get(url).text)}),
    Step("provider.billing_act"),
    Step("provider.billing_start"),
    Step("provider.billing_bank_enter", bank_file),
    Step("provider.bank_line_ignore", {"reason": "Rent"}),
    Step("provider.bank_line_reopen"),
    Step("provider.bank_line", {"target": "acme"}),
    Step("provider.call_release"),
    Step("provider.job_retry"),
    Step("provider.jobs_retry"),
    Step("provider.quarantine_discard", {"why": "A test"}),
    Step("provider.tenant_line", {"name": "105"}),
    Step("tenant.line", {"name": "106"}),
    Step("provider.tenant_line_import", {"text": "201\n202"}),
    Step("tenant.line_import", {"text": "203\n204"}),
    Step("provider.tenant_line_release"),
    Step("provider.tenant_line_again"),
    Step("tenant.line_release", {}, {"allocation_id": line_105}),
    Step("tenant.line_again", {}, {"allocation_id": "allocation_id"}),
    Step("provider.tenant_export"),
    Step("tenant.export"),
    Step("provider.change_request_decline", {"answer": "No"}),
    Step("tenant.plans_ask", {"package": "large"}),
    Step("tenant.plans_withdraw"),
    Step("provider.ready_withdraw"),
    Step("tenant.plans_decline"),
    Step("tenant.plans_accept", quote),
    Step("tenant.plans_cancel"),
    Step("provider.tenant_plan_accept", quote),
    Step("provider.tenant_plan_cancel"),
    Step("provider.package_archive", {}, {"code": "mini"}),
    Step("provider.tenant_plan_end", {"when": "period_end"}),
    Step("tenant.plans_end", {"when": "period_end"}),
    Step("provider.second_factor", {"staff": ["support"]}),
    Step("provider.second_factor_reset"),
    Step("viewing.start", {"reason": "A question", "role": "admin"}),
    Step("viewing.end"),
]  # fmt: skip
for _name, _fields in (
    ("webhook_new", HOOK), ("webhook_edit", {**HOOK, "url": "https://1.1.1.1/other"}), ("webhook_rotate", {}),
    ("webhook_replay", {}), ("webhook_off", {}), ("webhook_on", {}), ("webhook_replay_failed", SINCE),
    ("webhook_remove", {}),
):  # fmt: skip
    STEPS += [Step(f"{side}.{_name}", _fields) for side in ("provider", "tenant")]
for _side, _role in (
    ("provider.people", "billing"),
    ("provider.tenant_people", "billing"),
    ("tenant.people", "member"),
):
    _invited = {} if _side == "provider.people" else {"invitation_id": invitation}
    STEPS += [
        Step(f"{_side}_role", {"role": _role}),
        Step(f"{_side}_close"),
        Step(f"{_side}_open"),
        Step(f"{_side}_delete", values=another_member if _side == "provider.tenant_people" else {}),
        Step(f"{_side}_resend", values=_invited),
        Step(f"{_side}_withdraw", values=_invited),
        Step(f"{_side}_invite", {"email": f"{_side}@new.example", "role": _role}),
    ]
STEPS += [
    Step("account.profile", {"name": "Ann Other"}),
    Step("account.display", as_it_stands(zone="Europe/Berlin")),
    Step("account.email", {"email": "other@northline.example", "current": PASSWORD}),
    Step("account.session_end", values={"mark": mark_elsewhere}),
    Step("account.sessions_end_others"),
    Step("account.security_passkey_new", passkey),
    Step("account.security_passkey_remove", values={"passkey_id": own_passkey}),
    Step("account.security_app", app_code),
    Step("account.security_codes"),
    Step("account.security_app_remove"),
    Step("account.password", {"current": PASSWORD, "new": "another long password", "repeat": "another long password"}),
]


BEFORE: dict[str, Callable[[Story], None]] = {
    "provider.billing_act": reviewed,
    "provider.ready_withdraw": offered,
    "tenant.plans_decline": offered,
    "provider.jobs_retry": dead_job,
    "account.session_end": signed_in_elsewhere,
    "account.sessions_end_others": signed_in_elsewhere,
    "account.security_app": lambda story: story.browsers["staff"].submit("/account/security/app/new"),
}


@pytest.fixture
def story(app, make, now, login):
    told = world.build(app, make, now)
    browsers = {"staff": login(told.people["staff:owner"]), "tenant": login(told.people["tenant:admin"])}
    story = Story(make, told, {**browsers, "elsewhere": app.test_client()})
    with watching(story.written):
        yield story


def url_of(app, story: Story, endpoint: str, values: Mapping[str, Any]) -> str:
    [rule] = [each for each in app.url_map.iter_rules(endpoint) if "POST" in each.methods]
    ids, found = story.world.acme.ids, {}
    for name in rule.arguments:
        value = values.get(name)
        if callable(value):
            found[name] = value(story)
        elif value is not None:
            found[name] = ids.get(value, value)
        else:
            found[name] = rights.values(story.world, rule, name)[0]
    return app.url_map.bind("localhost").build(endpoint, found)


@pytest.mark.databases("sqlite")
def test_whatever_a_form_changes_is_told_in_the_same_transaction(app, story):
    wrong = []
    for step in STEPS:
        BEFORE.get(step.endpoint, lambda _: None)(story)
        url, browser = url_of(app, story, step.endpoint, step.values), story.browser(step.endpoint)
        fields = step.fields(story, url) if callable(step.fields) else step.fields
        story.written.clear()
        wrong += wrong_with(step.endpoint, browser.submit(url, fields), story.written)
    assert not wrong, "\n".join(wrong)


@pytest.mark.databases("sqlite")
def test_every_form_has_its_step(app):
    forms = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rights.is_for_people(rule) and rule.methods - {"GET", "HEAD", "OPTIONS"}
    }
    steps = {step.endpoint for step in STEPS}
    assert forms - steps - set(CHANGES_NOTHING) == set()
    assert steps & set(CHANGES_NOTHING) == set()

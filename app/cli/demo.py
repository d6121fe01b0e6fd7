"""A provider to play with: packages, tenants, two months of usage, invoices, sign-ins. All names are invented."""

import random
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import branding
from app.cli.kit import Commands
from app.core.clock import utc_now
from app.core.errors import Conflict
from app.core.money import MICROS, parse_micros
from app.core.periods import anchored_day
from app.core.usage import UsageEvent
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.billing import payments, profiles, service as billing
from app.domain.billing.due import PERIOD, START
from app.domain.billing.lines import Rate
from app.domain.billing.payments import Receipt
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering.calls import authorize, end
from app.domain.metering.decision import Call, Terms as CallTerms
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony import service as telephony
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.tenants.service import TenantProfile

ACTOR = "demo"
NOTES = ("Front desk", "Office", "Accounts", "Warehouse", "Meeting room", "Workshop", "Sales", "Sales", "Door")
TRUNKS = ("Main trunk", "Fallback trunk")
# Beginnings of numbers that are kept for films, or that nobody was given.
INVENTED_NUMBERS = {
    "DE": "+49302312570", "GB": "+44207946096", "FR": "+3319900123", "US": "+1415555013", "AT": "+431992857",
}  # fmt: skip
DAYS_INTO_PERIOD = 21  # the running period is this old whenever the demo is loaded, so that there is usage to see
CHUNK = 1_000
NUMBERS = ("+442079460958", "+4930901820", "+14155550134", "+33142685300", "+493022334455", "+442071838750")


@dataclass(frozen=True, slots=True)
class DemoTenant:
    """Who it is, how much of its minutes and pages it uses in a period (1.0 = all of them), and what it holds."""

    slug: str
    name: str
    person: str
    timezone: str
    country: str
    package: str
    minutes: float
    pages: float
    held: tuple[int, int, int]  # extensions, trunks, DIDs


@dataclass(frozen=True, slots=True)
class DemoPayer:
    """How it is billed, and how much of last month's invoice it has paid, in percent."""

    address: str
    tax: str = "none"
    paid: int = 100
    tax_id: str = ""


PACKAGES = {
    "office-500": ("Office 500", "29.00", "13.00", 500, "block", "0", 50, (5, 1, 2, 3)),
    "office-1000": ("Office 1000", "49.00", "21.50", 1_000, "charge", "0.02", 100, (10, 2, 5, 6)),
    "office-2000": ("Office 2000", "69.00", "33.00", 2_000, "charge", "0.015", 250, (20, 4, 10, 12)),
}
TENANTS = (
    DemoTenant("acme", "Acme GmbH", "Anna Ackermann", "Europe/Berlin", "DE", "office-1000", 0.58, 0.14, (7, 1, 3)),
    DemoTenant("globex", "Globex Ltd", "George Gray", "Europe/London", "GB", "office-1000", 1.12, 0.55, (6, 2, 2)),
    DemoTenant("initech", "Initech SARL", "Inès Imbert", "Europe/Paris", "FR", "office-500", 0.93, 0.30, (5, 1, 1)),
    DemoTenant("umbra", "Umbra Logistics", "Una Upton", "America/New_York", "US", "office-2000", 0.34, 0.86, (9, 2, 4)),
    DemoTenant("wayne", "Wayne & Söhne", "Walter Wagner", "Europe/Vienna", "AT", "office-500", 0.21, 0.02, (3, 0, 1)),
)
PAYERS = {
    "acme": DemoPayer("Gartenstraße 4\n10115 Berlin", "vat-19"),
    "globex": DemoPayer("12 Quay Street\nLondon E1 6AN"),
    "initech": DemoPayer("8 rue du Port\n69002 Lyon", "reverse-charge", 0, "FR40303265045"),
    "umbra": DemoPayer("500 Harbor Way\nBoston, MA 02110"),
    "wayne": DemoPayer("Kai 7\n1020 Wien", "reverse-charge", 50, "ATU12345675"),
}
ISSUER = Issuer(  # of its invoices, unless the settings say who that is
    "", ("Hafenstraße 12", "20457 Hamburg"), "billing@northline.example", "DE123456788", "DE02 1203 0000 0000 2020 51",
    "BYLADEM1001", "DE",
)  # fmt: skip

group = Commands("demo", help="Invented data to play with.")


@group.command("load")
def load_command() -> None:
    """Load the demo into an empty database and print its sign-ins."""
    for line in load_demo():
        click.echo(line)


def is_empty(session: Session) -> bool:
    """True while there is no tenant, no package, no account and no source."""
    tables = (Tenant.id, Package.id, accounts.Account.id, accounts.Source.id)
    return not any(session.scalar(select(table).limit(1)) for table in tables)


def load_demo() -> list[str]:
    """Fill an empty database and return lines with the sign-ins and a source's key. Raises Conflict otherwise."""
    now = utc_now()
    if not is_empty(db.session()):
        raise Conflict("not_empty", "The demo goes into an empty database only.")
    password = "-".join(secrets.choice(("amber", "birch", "coral", "delta", "ember", "fjord")) for _ in range(2))
    password += f"-{secrets.randbelow(9000) + 1000}"
    with unit_of_work() as session:
        for code, spec in _package_specs().items():
            catalog.create(session, code, spec, actor=ACTOR, now=now, status="published")
        accounts.create_staff(session, "demo@northline.example", "Nora North", password, actor=ACTOR, now=now)
        source = accounts.create_source(session, "pbx1", "Demo PBX", actor=ACTOR, now=now)
        source_id = source.id
        key = accounts.issue_key(session, source, scopes=accounts.SCOPES, actor=ACTOR, now=now)
        for demo in TENANTS:
            _add_tenant(session, demo, password, now)
    for demo in TENANTS:
        _add_usage(source_id, demo, now)
    _add_refusals(source_id, "initech", now)
    add_invoices(now)
    told = [
        ("password", password),
        ("provider staff", "demo@northline.example"),
        *((f"tenant {demo.name}", f"office@{demo.slug}.example") for demo in TENANTS),
        ("API key of the source pbx1", key),
    ]
    return ["Demo loaded. Sign in at /login with this password:", *(f"  {what:<28} {which}" for what, which in told)]


def _package_specs() -> dict[str, PackageSpec]:
    specs = {}
    for code, (name, price, cost, minutes, at_limit, overage, pages, held) in PACKAGES.items():
        extensions, trunks, dids, calls = held
        specs[code] = PackageSpec(
            name,
            price_micros=parse_micros(price),
            cost_micros=parse_micros(cost),
            limits=(
                LimitSpec("voice_minutes", minutes * 60, at_limit, parse_micros(overage)),
                LimitSpec("fax_pages", pages),
                LimitSpec("extensions", extensions),
                LimitSpec("sip_trunks", trunks),
                LimitSpec("dids", dids),
                LimitSpec("concurrent_calls", calls),
            ),
        )
    return specs


def _add_tenant(session: Session, demo: DemoTenant, password: str, now: datetime) -> None:
    profile = TenantProfile(
        slug=demo.slug,
        name=demo.name,
        domain=f"{demo.slug}.example",
        account_code=demo.slug,
        timezone=demo.timezone,
        country=demo.country,
        contact_name=demo.person,
        contact_email=f"office@{demo.slug}.example",
    )
    tenant = tenants.create(session, profile, actor=ACTOR, now=now)
    zone = ZoneInfo(demo.timezone)
    this_period = now.astimezone(zone).date() - timedelta(days=DAYS_INTO_PERIOD)
    started_on = anchored_day(this_period, -1)
    started_at = datetime.combine(started_on, time(9), zone)
    package = catalog.by_code(session, demo.package)
    subscriptions.subscribe(session, tenant, package, actor=ACTOR, now=now, started_at=started_at)
    accounts.create_user(session, tenant, profile.contact_email, demo.person, password, actor=ACTOR, now=now)
    extensions, trunks, dids = demo.held
    for resource, wanted in (
        ("extensions", [Wanted(str(101 + index), note) for index, note in enumerate(NOTES[:extensions])]),
        ("sip_trunks", [Wanted(name) for name in TRUNKS[:trunks]]),
        ("dids", [Wanted(f"{INVENTED_NUMBERS[demo.country]}{index}") for index in range(dids)]),
    ):
        if wanted:
            telephony.add(session, tenant, resource, wanted, actor=ACTOR, now=now)


def _add_usage(source_id: int, demo: DemoTenant, now: datetime) -> None:
    """Calls and faxes of both periods, through the same door as a PBX's."""
    session = db.session()
    tenant = tenants.by_slug(session, demo.slug)
    subscription = subscriptions.require_live(session, tenant)
    included = {limit.resource_code: limit.included or 0 for limit in subscription.package.revision.limits}
    running, before = subscriptions.periods_of(subscription, now)[:2]
    dice = random.Random(demo.slug)  # noqa: S311  the same demo every time
    events: list[UsageEvent] = []
    for period, share in ((before, dice.uniform(0.7, 1.1)), (running, 1.0)):
        minutes, pages = included["voice_minutes"] * demo.minutes * share, included["fax_pages"] * demo.pages * share
        moments = _office_hours(dice, period.first_on, min(period.end, now), ZoneInfo(demo.timezone))
        events += _calls(dice, demo, moments, int(minutes)) + _faxes(dice, demo, moments, int(pages))
    events.sort(key=lambda event: event.occurred_at)
    for start in range(0, len(events), CHUNK):
        reports = [Report(event, "") for event in events[start : start + CHUNK]]
        run_in_transaction(lambda act, reports=reports: ingest(act, source_id, reports, now=now))  # type: ignore[misc]


def _add_refusals(source_id: int, slug: str, now: datetime) -> None:
    """Calls that met a limit, through the same door as a PBX's, and an extension too many."""
    for hours, seconds, attempts in ((26, 60, 4), (3, 3_600_000, 2)):  # too many at once; one that holds all there is
        at, terms = now - timedelta(hours=hours), CallTerms(seconds, 120, ("outbound",))
        calls = [
            Call(slug, f"demo-{hours}-{each}", caller=str(101 + each), callee=NUMBERS[0]) for each in range(attempts)
        ]
        with unit_of_work() as session:
            decisions = [authorize(session, source_id, call, terms, now=at) for call in calls]
            for decision in decisions:
                if decision.hold:
                    end(session, source_id, str(decision.hold), 0, grace=120, now=at)
    tenant, wanted = tenants.by_slug(db.session(), slug), [Wanted("106")]
    with suppress(Conflict), telephony.refusals_kept(tenant.id, wanted, now=now), unit_of_work() as session:
        telephony.add(session, tenant, "extensions", wanted, actor=ACTOR, now=now)


def _office_hours(dice: random.Random, first: date, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """Moments at which someone calls: many on working days, few at the week-end."""
    moments = []
    day = first
    while (opening := datetime.combine(day, time(8), zone)) < end:
        for _ in range(dice.randint(9, 16) if day.weekday() < 5 else dice.randint(0, 2)):
            moments.append((opening + timedelta(seconds=dice.randint(0, 10 * 3600))).astimezone(UTC))
        day += timedelta(days=1)
    return [moment for moment in moments if moment < end - timedelta(minutes=5)] or [end - timedelta(hours=1)]


def _calls(dice: random.Random, demo: DemoTenant, moments: list[datetime], seconds: int) -> list[UsageEvent]:
    """One call at each moment; the outbound ones add up to `seconds`."""
    weights = [dice.expovariate(1) + 0.05 for _ in moments]
    total = sum(weights)
    events = []
    for moment, weight in zip(moments, weights, strict=True):
        extension, number = f"10{dice.randint(1, 4)}", dice.choice(NUMBERS)
        call_id = f"demo-{dice.getrandbits(64):016x}"
        events.append(
            UsageEvent(
                call_id, demo.slug, "voice_minutes", max(4, int(seconds * weight / total)), moment,
                direction="outbound", caller=extension, callee=number, call_id=call_id,
            )
        )  # fmt: skip
        if dice.random() < 0.15:
            call_id = f"demo-{dice.getrandbits(64):016x}"
            events.append(
                UsageEvent(
                    call_id, demo.slug, "voice_minutes", dice.randint(20, 400), moment + timedelta(minutes=4),
                    metered=False, direction="inbound", caller=number, callee=extension, call_id=call_id,
                )
            )  # fmt: skip
    return events


def _faxes(dice: random.Random, demo: DemoTenant, moments: list[datetime], pages: int) -> list[UsageEvent]:
    events = []
    while pages > 0:
        count = min(pages, dice.randint(1, 6))
        pages -= count
        fax_id = f"demo-{dice.getrandbits(64):016x}"
        events.append(
            UsageEvent(
                fax_id, demo.slug, "fax_pages", count, dice.choice(moments) + timedelta(minutes=2),
                direction="outbound", caller="104", callee=dice.choice(NUMBERS), call_id=fax_id,
            )
        )  # fmt: skip
    return events


def add_invoices(now: datetime) -> None:
    """The first invoice of each tenant and that of last month, which closes it; most of them paid."""
    terms = replace(branding.terms(), mails=False)  # nobody is to be surprised
    if not terms.issuer.tax_id:
        terms = replace(terms, issuer=replace(ISSUER, name=terms.issuer.name))
    with unit_of_work() as session:
        profiles.save_rate(session, Rate("vat-19", "VAT 19 %", 190_000), actor=ACTOR, now=now)
        for slug, payer in PAYERS.items():
            tenant = tenants.by_slug(session, slug)
            wanted = Profile(payer.tax, 14, address=payer.address, tax_id=payer.tax_id)
            profiles.save_profile(session, tenant, wanted, actor=ACTOR, now=now)
    for reason in (START, PERIOD):
        for demo in TENANTS:
            with unit_of_work() as session:
                _bill(session, demo, reason, terms, now)


def _bill(session: Session, demo: DemoTenant, reason: str, terms: Terms, now: datetime) -> None:
    """Issued on the first day, or three days after the month; paid a week later, but for two of last month."""
    tenant = tenants.by_slug(session, demo.slug)
    subscription = subscriptions.require_live(session, tenant)
    running, first = subscriptions.periods_of(subscription, now)[:2]
    issued_at = subscription.started_at + timedelta(hours=1) if reason == START else running.start + timedelta(days=3)
    draft = billing.draft(session, subscription, first, terms, now=issued_at, reason=reason)
    invoice = billing.finalise(session, draft, terms, actor=ACTOR, now=issued_at)
    share = 100 if reason == START else PAYERS[demo.slug].paid
    if share:
        paid_at = issued_at + timedelta(days=7)
        amount = invoice.total_micros * share // 100 // MICROS * MICROS if share < 100 else invoice.total_micros
        receipt = Receipt(
            f"bank:{invoice.number}", amount, invoice.currency, "bank", invoice.number or "", paid_at.date()
        )
        payments.receive(session, tenant, receipt, actor=ACTOR, now=paid_at)

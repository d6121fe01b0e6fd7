"""The audit trail as a page: all of it on the provider's side, its own on a tenant's."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, request
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.db import db
from app.domain.audit import origin, reading
from app.domain.audit.models import AuditEntry
from app.domain.audit.reading import NOT_FOR_TENANTS, AuditQuery
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.keyset import read_page
from app.web.audit_words import Change, in_words
from app.web.kit.csv import csv_response
from app.web.kit.display import own_zone
from app.web.kit.i18n import gettext
from app.web.kit.paging import newest_first_key
from app.web.kit.render import render

PAGE = 50
MAX_TEXT = 255
FIELDS = ("actor", "act", "subject", "tenant", "from", "to")
CSV_HEADER = ("number", "time", "actor", "kind", "address", "act", "subject", "what", "hash")
YEARS = range(2000, 2201)
NAMELESS = (origin.STAFF, "")  # kinds of actors whose names a tenant does not learn
GROUPS = {  # of acts, by what their names begin with
    "": _("anything"),
    "account.": _("People and sign-ins"),
    "invitation.": _("Invitations"),
    "permission.": _("Refused"),
    "tenant.": _("Tenants"),
    "subscription.": _("Subscriptions"),
    "quote.": _("Quotes"),
    "request.": _("Requests"),
    "offer.": _("Offers"),
    "allocation.": _("Lines & numbers"),
    "hold.": _("Calls"),
    "usage.": _("Usage"),
    "invoice.": _("Invoices"),
    "payment.": _("Payments"),
    "dunning.": _("Reminders"),
    "billing.": _("Billing"),
    "key.": _("Keys"),
    "privacy.": _("Privacy"),
    "webhook.": _("Webhooks"),
}
PROVIDERS_GROUPS = {  # which no tenant's log can hold
    "package.": _("Packages"),
    "resource.": _("Resources"),
    "source.": _("Sources"),
    "quarantine.": _("Quarantine"),
    "bill_run.": _("Bill runs"),
    "bank_file.": _("Bank files"),
    "bank_line.": _("Bank lines"),
    "tax_rate.": _("Tax rates"),
    "second_factor.": _("Second factor demanded"),
    "settings.": _("Settings"),
    "job.": _("Jobs"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """An entry in words."""

    entry: AuditEntry
    change: Change
    actor: str
    address: str


def audit_page(template: str, tenant: Tenant | None) -> Response:
    """The list, newest first; a filter swaps only its rows. `tenant`: the one whose log it is, in its time zone."""
    query, problems = _query(tenant)
    session = db.session()
    page = read_page(
        session, reading.matching(query), AuditEntry.at, AuditEntry.id,
        after=newest_first_key("after"), before=newest_first_key("before"), most=PAGE,
    )  # fmt: skip
    return render(
        template,
        block="audit_rows",
        status=422 if problems else 200,
        tenant=tenant,
        rows=[] if problems else [_row(entry, tenant) for (entry,) in page.rows],
        page=page,
        given=_given(),
        filters={name: value for name, value in _given().items() if value},
        problems=problems,
        groups=group_choices(tenant),
        zone=_zone(tenant),
    )


def audit_csv(name: str, tenant: Tenant | None) -> Response | None:
    """Every entry that fits, written while it is read; None where the filters cannot be read."""
    query, problems = _query(tenant)
    return None if problems else csv_response(f"{name}.csv", CSV_HEADER, _csv_rows(query, tenant))


def group_choices(tenant: Tenant | None = None) -> list[tuple[str, str]]:
    """What the acts are about, as the filter calls it; to a tenant only what its log can hold."""
    if tenant is None:
        return [*GROUPS.items(), *PROVIDERS_GROUPS.items()]
    return list((GROUPS | {"tenant.": _("Details and views")}).items())


def _csv_rows(query: AuditQuery, tenant: Tenant | None) -> Iterator[tuple[Any, ...]]:
    zone = ZoneInfo(_zone(tenant))
    for entry in reading.every(db.session(), query):
        row = _row(entry, tenant)
        yield (
            entry.number,
            entry.at.astimezone(zone).isoformat(timespec="seconds"),
            row.actor,
            entry.kind,
            row.address,
            entry.act,
            entry.subject,
            "; ".join(map(str, row.change.details)),
            entry.hash,
        )


def _zone(tenant: Tenant | None) -> str:
    return own_zone(tenant.timezone if tenant else "UTC")


def _row(entry: AuditEntry, tenant: Tenant | None) -> Row:
    """A tenant learns that the provider acted, not who of its people, and from where."""
    change = in_words(entry, _zone(tenant))
    if tenant is None or entry.kind in ("user", "visitor"):
        return Row(entry, change, entry.actor, entry.address)
    return Row(entry, change, "" if entry.kind in NAMELESS else entry.actor, "")


def _given() -> dict[str, str]:
    """The filters as they were typed."""
    return {name: request.args.get(name, "").replace("\0", "")[:MAX_TEXT].strip() for name in FIELDS}


def _query(tenant: Tenant | None) -> tuple[AuditQuery, dict[str, str]]:
    """The filters as a query, and a message for each one that cannot be read."""
    given, problems = _given(), {}
    zone = ZoneInfo(_zone(tenant))
    days: dict[str, datetime | None] = {}
    for name, later in (("from", 0), ("to", 1)):
        try:
            days[name] = _start_of(given[name], later, zone)
        except ValueError:
            days[name], problems[name] = None, gettext("Write the day as year-month-day, such as 2026-11-30.")
    wanted = tenant
    if tenant is None and given["tenant"]:
        wanted = tenants.find_by_name(db.session(), given["tenant"])
        if wanted is None:
            problems["tenant"] = gettext("There is no such tenant.")
    return AuditQuery(
        actor=given["actor"],
        act=given["act"],
        subject=given["subject"],
        tenant_id=wanted.id if wanted else None,
        first_at=days["from"],
        end_at=days["to"],
        without=NOT_FOR_TENANTS if tenant else (),
        nameless=NAMELESS if tenant else (),
    ), problems


def _start_of(text: str, later: int, zone: ZoneInfo) -> datetime | None:
    day = date.fromisoformat(text) if text else None
    if day and day.year not in YEARS:
        raise ValueError("a year that no entry has")
    return datetime.combine(day + timedelta(days=later), time(), zone) if day else None

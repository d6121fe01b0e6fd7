"""The audit trail in words, with the page each change is about."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import url_for

from app.domain.accounts.roles import Permission, Role
from app.domain.audit.models import AuditEntry
from app.web.kit.formats import localtime
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.role_words import permission_name, role_name

MOST_NAMES = 3
MICROS = 1_000_000
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
PAIRS = ("tenant.update", "account.role")  # whose details were pairs before `changed` was agreed on
PAGES = {
    "package": ("provider.package", "code"),
    "tenant": ("provider.tenant", "slug"),
    "source": ("provider.source", "code"),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """`price: 10 → 12`, or `reference: 4711` where there is no before."""

    name: str
    after: str
    before: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.before} → {self.after}" if self.before else f"{self.name}: {self.after}"


@dataclass(frozen=True, slots=True)
class Change:
    """`published revision 8 of` `office-1000` by whom and when; `url` is empty where there is no page."""

    words: str
    subject: str
    url: str
    actor: str
    at: datetime
    details: tuple[Detail, ...]


def in_words(entry: AuditEntry, zone: str = "UTC") -> Change:
    """One entry as a line of the list; moments among its details are told in `zone`."""
    kind, _, name = entry.subject.partition(":")
    endpoint, argument = PAGES.get(kind, ("", ""))
    url = url_for(endpoint, **{argument: name}) if endpoint else ""  # type: ignore[arg-type]
    return Change(
        _words(entry),
        "" if kind in ("quarantine", "bill_run", "bank_file", "bank_line", "second_factor") else name,
        url,
        entry.actor,
        entry.at,
        tuple(_details(entry, zone)),
    )


def _details(entry: AuditEntry, zone: str) -> list[Detail]:
    """What changed from what to what, then everything else that is known."""
    rest = dict(entry.details)
    pairs = dict(rest.pop("changed", {}))
    if {"before", "after"} <= rest.keys():
        pairs[gettext("value")] = [rest.pop("before"), rest.pop("after")]
    if entry.act in PAIRS:
        pairs |= {name: rest.pop(name) for name, value in entry.details.items() if name in rest and _is_pair(value)}
    said = {name: [_said(name, value, zone) for value in pair] for name, pair in pairs.items()}
    changed = [Detail(_plain(name), after, before) for name, (before, after) in said.items() if before != after]
    told = {name for name, (_, after) in pairs.items() if rest.get(name) == after}
    return changed + [
        Detail(_plain(name), _said(name, value, zone)) for name, value in rest.items() if name not in told
    ]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _plain(name: str) -> str:
    return name.removesuffix("_micros").removesuffix("_ppm").replace("_", " ").replace(".", " · ")


def _said(name: str, value: Any, zone: str) -> str:
    """A value as people write it: amounts and rates not in millionths, moments in `zone`."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, int) and name.endswith("_micros"):
        return format(Decimal(value) / MICROS, "f")
    if isinstance(value, int) and name.endswith("ppm"):
        return f"{Decimal(value) * 100 / MICROS:f} %"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    return "–" if value in (None, "") else _text(name, str(value), zone)


def _text(name: str, value: str, zone: str) -> str:
    if name == "role" and value in set(Role):
        return role_name(value)
    if name == "permission" and value in set(Permission):
        return permission_name(Permission(value))
    return localtime(datetime.fromisoformat(value), zone) if MOMENT.fullmatch(value) else value


def _words(entry: AuditEntry) -> str:
    words = {
        "package.create": gettext("Package made:"),
        "package.publish": gettext("Revision %(number)s of package", number=entry.details.get("revision", "–")),
        "package.published": gettext("Put on sale:"),
        "package.undo": gettext("Revision %(number)s taken back of", number=entry.details.get("undone", "–")),
        "package.archived": gettext("Archived:"),
        "usage.reverse": gettext("Record reversed (%(reason)s):", reason=entry.details.get("reason", "–")),
        "tenant.create": gettext("New tenant:"),
        "tenant.update": gettext("Details changed:"),
        "tenant.view": gettext("Portal viewed as the tenant (%(reason)s):", reason=entry.details.get("reason", "–")),
        "tenant.view_end": gettext("View as the tenant ended:"),
        "tenant.suspend": gettext("Suspended:"),
        "tenant.resume": gettext("Resumed:"),
        "subscription.start": gettext("Put on %(package)s:", package=entry.details.get("package", "–")),
        "subscription.move": gettext("Moved to %(package)s:", package=entry.details.get("package", "–")),
        "subscription.schedule": gettext(
            "To move to %(package)s at the period's end:", package=entry.details.get("package", "–")
        ),
        "subscription.cancel": gettext("Pending change cancelled:"),
        "subscription.stay": gettext("End withdrawn:"),
        "subscription.end_at": gettext("To end with the period:"),
        "subscription.active": gettext("Active:"),
        "subscription.past_due": gettext("Past due:"),
        "subscription.suspended": gettext("Package suspended:"),
        "subscription.cancelled": gettext("Package ended:"),
        "subscription.trial": gettext("On trial again:"),
        "dunning.reminder": gettext(
            "Reminder %(step)s for %(number)s:",
            step=entry.details.get("step", "–"),
            number=entry.details.get("number", "–"),
        ),
        "dunning.suspension": gettext("Suspended, %(number)s is unpaid:", number=entry.details.get("number", "–")),
        "quote.accept": gettext("Quote for %(package)s accepted:", package=entry.details.get("package", "–")),
        "request.ask": gettext("Asked for %(package)s:", package=entry.details.get("package", "–")),
        "request.approved": gettext("Request approved:"),
        "request.declined": gettext("Request declined:"),
        "request.withdrawn": gettext("Request withdrawn:"),
        "offer.make": gettext("%(package)s offered:", package=entry.details.get("package", "–")),
        "offer.taken": gettext("Offer taken:"),
        "offer.declined": gettext("Offer declined:"),
        "offer.withdrawn": gettext("Offer withdrawn:"),
        "allocation.add": gettext("%(names)s added:", names=_names(entry)),
        "allocation.release": gettext("%(names)s released:", names=_names(entry)),
        "hold.release": gettext("A stuck call released:"),
        "resource.create": gettext("New resource:"),
        "source.create": gettext("New source:"),
        "source.update": gettext("Source changed:"),
        "settings.change": gettext("Settings changed:"),
        "key.issue": gettext("Key issued:"),
        "key.revoke": gettext("Key revoked:"),
        "key.rotate": gettext("Key exchanged:"),
        "key.end": gettext("Key's end moved:"),
        "account.create": gettext("New sign-in:"),
        "account.disable": gettext("Sign-in closed:"),
        "account.erase": gettext("Person deleted:"),
        "account.enable": gettext("Sign-in opened again:"),
        "account.password": gettext("Password changed:"),
        "account.reset_asked": gettext("New password asked for:"),
        "account.email_asked": gettext("New address asked for:"),
        "account.email": gettext("New address:"),
        "invitation.send": gettext("Invited:"),
        "invitation.resend": gettext("Invited again:"),
        "invitation.withdraw": gettext("Invitation withdrawn:"),
        "account.bind": gettext("First sign-in at %(issuer)s:", issuer=entry.details.get("issuer", "–")),
        "account.name": gettext("Renamed:"),
        "account.display": gettext("Display changed:"),
        "account.role": gettext("Role changed:"),
        "account.sign_in": gettext("Signed in:"),
        "account.sign_in_refused": gettext("Sign-in refused:"),
        "account.sign_out": gettext("Signed out:"),
        "permission.refuse": gettext("Not open to them:"),
        "account.totp_add": gettext("Authenticator app set up:"),
        "account.totp_remove": gettext("Authenticator app removed:"),
        "account.passkey_add": gettext("Passkey %(name)s added:", name=entry.details.get("name", "–")),
        "account.passkey_remove": gettext("Passkey %(name)s removed:", name=entry.details.get("name", "–")),
        "account.recovery_codes": gettext("New recovery codes:"),
        "account.recovery_use": gettext("Recovery code used:"),
        "account.factor_reset": gettext("Second factor reset:"),
        "second_factor.demand": gettext("Second factor demanded of other roles"),
        "account.notifications": gettext("Notifications changed:"),
        "job.retry": gettext("Tried again:"),
        "webhook.add": gettext("Webhook added:"),
        "webhook.change": gettext("Webhook changed:"),
        "webhook.rotate": gettext("Webhook's secret exchanged:"),
        "webhook.enable": gettext("Webhook turned on:"),
        "webhook.disable": gettext("Webhook turned off:"),
        "webhook.remove": gettext("Webhook removed:"),
        "webhook.replay": gettext("Webhooks sent again:"),
        "billing.profile": gettext("Billing changed:"),
        "tax_rate.save": gettext("Tax rate:"),
        "bill_run.start": gettext("Bill run begun"),
        "bill_run.finalise": gettext("Bill run finalised"),
        "bill_run.close": gettext("Bill run closed"),
        "invoice.finalise": gettext("Invoice %(number)s issued:", number=entry.details.get("number", "–")),
        "invoice.credit": gettext("Credit note on %(number)s:", number=entry.details.get("number", "–")),
        "invoice.add_line": gettext("Line added to a draft:"),
        "invoice.remove_line": gettext("Line taken off a draft:"),
        "invoice.accept": gettext("Odd draft accepted:"),
        "invoice.discard": gettext("Draft discarded:"),
        "payment.receive": gettext("Payment entered:"),
        "bank_line.ignore": gettext("Bank line is nobody's (%(reason)s)", reason=entry.details.get("reason", "–")),
        "bank_line.reopen": gettext("Bank line waits again"),
        "bank_file.enter": ngettext(
            "Bank file entered, %(num)s payment",
            "Bank file entered, %(num)s payments",
            entry.details.get("payments", 0),
        ),
        "payment.repay": gettext("Paid back:"),
        "payment.refund": gettext("Card payment returned:"),
        "privacy.export": gettext("All data exported:"),
        "privacy.mask": gettext("Numbers of calls masked, older than"),
        "quarantine.replay": gettext("Taken out of quarantine and counted"),
        "quarantine.discard": gettext("Discarded from quarantine"),
    }
    return words.get(entry.act, entry.act.replace(".", " ").replace("_", " "))


def _names(entry: AuditEntry) -> str:
    """The first names of what was added or released, and how many more there were."""
    names: list[str] = entry.details.get("names", [])[:MOST_NAMES]
    more = entry.details.get("count", 0) - len(names)
    shown = ", ".join(names)
    return gettext("%(names)s and %(num)s more", names=shown, num=more) if more > 0 else shown

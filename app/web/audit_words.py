"""The audit trail in words, with the page each change is about."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from flask import url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.core.money import MICROS
from app.domain.accounts.roles import Permission, Role
from app.domain.audit.models import AuditEntry
from app.web.kit.formats import localtime
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.role_words import permission_name, role_name

MOST_NAMES = 3
NOTHING = "–"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
PAIRS = ("tenant.update", "account.role")  # whose details were pairs before `changed` was agreed on
WITHOUT_SUBJECT = ("quarantine", "bill_run", "bank_file", "bank_line", "second_factor")
PAGES = {
    "package": ("provider.package", "code"),
    "tenant": ("provider.tenant", "slug"),
    "source": ("provider.source", "code"),
}

WORDS = {  # with details of the entry in their places
    "package.create": _("Package made:"),
    "package.publish": _("Revision %(revision)s of package"),
    "package.published": _("Put on sale:"),
    "package.undo": _("Revision %(undone)s taken back of"),
    "package.archived": _("Archived:"),
    "usage.reverse": _("Record reversed (%(reason)s):"),
    "tenant.create": _("New tenant:"),
    "tenant.update": _("Details changed:"),
    "tenant.view": _("Portal viewed as the tenant (%(reason)s):"),
    "tenant.view_end": _("View as the tenant ended:"),
    "tenant.suspend": _("Suspended:"),
    "tenant.resume": _("Resumed:"),
    "subscription.start": _("Put on %(package)s:"),
    "subscription.move": _("Moved to %(package)s:"),
    "subscription.schedule": _("To move to %(package)s at the period's end:"),
    "subscription.cancel": _("Pending change cancelled:"),
    "subscription.stay": _("End withdrawn:"),
    "subscription.end_at": _("To end with the period:"),
    "subscription.active": _("Active:"),
    "subscription.past_due": _("Past due:"),
    "subscription.suspended": _("Package suspended:"),
    "subscription.cancelled": _("Package ended:"),
    "subscription.trial": _("On trial again:"),
    "dunning.reminder": _("Reminder %(step)s for %(number)s:"),
    "dunning.suspension": _("Suspended, %(number)s is unpaid:"),
    "quote.accept": _("Quote for %(package)s accepted:"),
    "request.ask": _("Asked for %(package)s:"),
    "request.approved": _("Request approved:"),
    "request.declined": _("Request declined:"),
    "request.withdrawn": _("Request withdrawn:"),
    "offer.make": _("%(package)s offered:"),
    "offer.taken": _("Offer taken:"),
    "offer.declined": _("Offer declined:"),
    "offer.withdrawn": _("Offer withdrawn:"),
    "allocation.add": _("%(names)s added:"),
    "allocation.release": _("%(names)s released:"),
    "hold.release": _("A stuck call released:"),
    "resource.create": _("New resource:"),
    "source.create": _("New source:"),
    "source.update": _("Source changed:"),
    "settings.change": _("Settings changed:"),
    "key.issue": _("Key issued:"),
    "key.revoke": _("Key revoked:"),
    "key.rotate": _("Key exchanged:"),
    "key.end": _("Key's end moved:"),
    "account.create": _("New sign-in:"),
    "account.disable": _("Sign-in closed:"),
    "account.erase": _("Person deleted:"),
    "account.enable": _("Sign-in opened again:"),
    "account.password": _("Password changed:"),
    "account.reset_asked": _("New password asked for:"),
    "account.email_asked": _("New address asked for:"),
    "account.email": _("New address:"),
    "invitation.send": _("Invited:"),
    "invitation.resend": _("Invited again:"),
    "invitation.withdraw": _("Invitation withdrawn:"),
    "account.bind": _("First sign-in at %(issuer)s:"),
    "account.name": _("Renamed:"),
    "account.display": _("Display changed:"),
    "account.role": _("Role changed:"),
    "account.sign_in": _("Signed in:"),
    "account.sign_in_refused": _("Sign-in refused:"),
    "account.sign_out": _("Signed out:"),
    "permission.refuse": _("Not open to them:"),
    "account.totp_add": _("Authenticator app set up:"),
    "account.totp_remove": _("Authenticator app removed:"),
    "account.passkey_add": _("Passkey %(name)s added:"),
    "account.passkey_remove": _("Passkey %(name)s removed:"),
    "account.recovery_codes": _("New recovery codes:"),
    "account.recovery_use": _("Recovery code used:"),
    "account.factor_reset": _("Second factor reset:"),
    "second_factor.demand": _("Second factor demanded of other roles"),
    "account.notifications": _("Notifications changed:"),
    "job.retry": _("Tried again:"),
    "webhook.add": _("Webhook added:"),
    "webhook.change": _("Webhook changed:"),
    "webhook.rotate": _("Webhook's secret exchanged:"),
    "webhook.enable": _("Webhook turned on:"),
    "webhook.disable": _("Webhook turned off:"),
    "webhook.remove": _("Webhook removed:"),
    "webhook.replay": _("Webhooks sent again:"),
    "billing.profile": _("Billing changed:"),
    "tax_rate.save": _("Tax rate:"),
    "bill_run.start": _("Bill run begun"),
    "bill_run.finalise": _("Bill run finalised"),
    "bill_run.close": _("Bill run closed"),
    "invoice.finalise": _("Invoice %(number)s issued:"),
    "invoice.credit": _("Credit note on %(number)s:"),
    "invoice.add_line": _("Line added to a draft:"),
    "invoice.remove_line": _("Line taken off a draft:"),
    "invoice.accept": _("Odd draft accepted:"),
    "invoice.discard": _("Draft discarded:"),
    "payment.receive": _("Payment entered:"),
    "bank_line.ignore": _("Bank line is nobody's (%(reason)s)"),
    "bank_line.reopen": _("Bank line waits again"),
    "bank_file.enter": _("Bank file entered, %(payments)s"),
    "payment.repay": _("Paid back:"),
    "payment.refund": _("Card payment returned:"),
    "privacy.export": _("All data exported:"),
    "privacy.mask": _("Numbers of calls masked, older than"),
    "quarantine.replay": _("Taken out of quarantine and counted"),
    "quarantine.discard": _("Discarded from quarantine"),
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


def in_words(entry: AuditEntry, zone: str = "UTC", names: Mapping[str, str] = MappingProxyType({})) -> Change:
    """One entry as a line of the list, its moments told in `zone`; `names` are those of tenants, by slug."""
    kind, _, name = entry.subject.partition(":")
    endpoint, argument = PAGES.get(kind, ("", ""))
    url = url_for(endpoint, **{argument: name}) if endpoint else ""  # type: ignore[arg-type]
    return Change(
        _words(entry),
        "" if kind in WITHOUT_SUBJECT else names.get(name, name) if kind == "tenant" else name,
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
    changed = [
        Detail(_plain(name), after, "" if before == NOTHING else before)
        for name, (before, after) in said.items()
        if before != after
    ]
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
        return ", ".join(map(str, value)) or NOTHING
    return NOTHING if value in (None, "") else _text(name, str(value), zone)


def _text(name: str, value: str, zone: str) -> str:
    if name == "role" and value in set(Role):
        return role_name(value)
    if name == "permission" and value in set(Permission):
        return permission_name(Permission(value))
    return localtime(datetime.fromisoformat(value), zone) if MOMENT.fullmatch(value) else value


def _words(entry: AuditEntry) -> str:
    """What was done; a dash for what the entry does not tell."""
    if entry.act not in WORDS:
        return entry.act.replace(".", " ").replace("_", " ")
    told = defaultdict(lambda: NOTHING, entry.details, names=_names(entry), payments=_payments(entry))
    return str(WORDS[entry.act]) % told


def _payments(entry: AuditEntry) -> str:
    count = entry.details.get("payments", 0)
    return ngettext("%(num)s payment", "%(num)s payments", count) if isinstance(count, int) else NOTHING


def _names(entry: AuditEntry) -> str:
    """The first names of what was added or released, and how many more there were."""
    names: list[str] = entry.details.get("names", [])[:MOST_NAMES]
    more = entry.details.get("count", 0) - len(names)
    shown = ", ".join(names)
    return gettext("%(names)s and %(num)s more", names=shown, num=more) if more > 0 else shown

"""Why a report was set aside, in words, and what would help."""

from dataclasses import dataclass

from flask import url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.domain.metering.quarantine import Entry
from app.web.kit.i18n import gettext

REASONS = {
    "unknown_tenant": _("no tenant is known by that name"),
    "unknown_resource": _("no metered resource is called like that"),
    "no_subscription": _("the tenant had no package at that time"),
    "conflict": _("the same id was reported before with other content"),
    "time_in_future": _("it is dated in the future"),
    "unreadable_time": _("its time cannot be read"),
    "unreadable_quantity": _("its quantity cannot be read"),
    "unreadable_body": _("the report cannot be read"),
    "unreadable_row": _("the row cannot be read"),
}
SHORT_REASONS = {
    "unknown_tenant": _("Unknown tenant"),
    "unknown_resource": _("Unknown resource"),
    "no_subscription": _("No package at that time"),
    "conflict": _("Same id, other content"),
    "time_in_future": _("Dated in the future"),
    "unreadable_time": _("Unreadable time"),
    "unreadable_quantity": _("Unreadable quantity"),
    "unreadable_body": _("Unreadable report"),
    "unreadable_row": _("Unreadable row"),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """A sentence, and a link where a page of ours helps (else empty)."""

    text: str
    url: str = ""
    label: str = ""
    replayable: bool = True


def reason_words(reason: str) -> str:
    """The reason code as a person says it."""
    return str(REASONS.get(reason, reason.replace("_", " ")))


def short_reason(reason: str) -> str:
    """The reason code as a filter calls it."""
    return str(SHORT_REASONS.get(reason, reason.replace("_", " ").capitalize()))


def advice_for(entry: Entry) -> Advice:
    """What would make the report count."""
    report = entry.report
    if report.reason == "unknown_tenant":
        return _unknown_tenant(report.tenant_ref)
    if report.reason == "unknown_resource":
        text = gettext("Add the resource if it is a new one, or correct what the source sends; then replay.")
        return Advice(text, url_for("provider.resource_new"), gettext("Add a resource"))
    if report.reason == "no_subscription":
        text = gettext("Put the tenant on a package; what happened before its first day can only be discarded.")
        return Advice(text, url_for("provider.tenants", text=report.tenant_ref), gettext("Find the tenant"))
    if report.reason == "conflict":
        text = gettext(
            "The first report is counted. If this one is the right one, correct it at the source; else discard."
        )
        return Advice(text, replayable=False)
    if report.reason == "time_in_future":
        return Advice(gettext("Set the clock of the source right. Once that time has come, replay."))
    text = gettext("Correct the settings of the source if they are why, then replay; else discard.")
    return Advice(text, url_for("provider.source", code=entry.source.code), gettext("Settings of the source"))


def _unknown_tenant(ref: str) -> Advice:
    """A reference with a dot is a PBX domain, another one an account code."""
    if not ref:
        text = gettext("The report names no tenant: have the dialplan set billing_tenant, or discard it.")
        return Advice(text)
    text = gettext("Create the tenant, or give an existing one “%(ref)s” as its PBX domain or account code.", ref=ref)
    given = {"domain": ref} if "." in ref else {"account_code": ref}
    name, _, _ = ref.partition(".")
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    url = url_for("provider.tenant_new", name=name.capitalize(), slug=slug, **given)  # type: ignore[arg-type]
    return Advice(text, url, gettext("Create the tenant"))

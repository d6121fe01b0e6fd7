"""What the last `flask verify` found: where what is kept differs from what the rows add up to."""

from flask import Response

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.audit import reading
from app.web.guards import needs
from app.web.kit.i18n import gettext
from app.web.kit.render import render
from app.web.provider import bp


@bp.get("/verification")
@needs(Permission.READ_OPERATIONS)
def verification() -> Response:
    """The differences of the last run, each with its place."""
    return render("provider/verification.html", last=reading.last_verification(db.session()), words=check_words())


def check_words() -> dict[str, str]:
    """What each check compares, by its code."""
    return {
        "meter_used": gettext("The meter and the sum of its records"),
        "meter_records": gettext("How many records the meter counts"),
        "meter_beyond": gettext("What lies beyond the limit, by price"),
        "carried_in": gettext("What the meter carries in and what earlier periods left"),
        "day_quantity": gettext("The days' totals and the records"),
        "day_records": gettext("How many records the days count"),
        "record_parts": gettext("A record and the sum of its parts"),
        "reversal_is_its_negative": gettext("A reversal and what it takes back"),
        "reversed_once": gettext("Each record is reversed once at most"),
        "on_hold": gettext("On hold and the sum of the open holds"),
        "calls_in_progress": gettext("Calls in progress and their holds"),
        "hold_overdue": gettext("No hold is open past its expiry"),
        "hold_ends_once": gettext("Each hold ends in one way"),
        "allocated": gettext("What is held and how many there are"),
        "numbers": gettext("Each phone number and who holds it"),
        "one_live_subscription": gettext("One package a tenant"),
        "open_segment": gettext("The package and the tenant's history"),
        "segments_overlap": gettext("The tenant's history without overlaps"),
        "status_is_the_last_event": gettext("The state of a package and what happened to it"),
        "suspended_as_the_tenant": gettext("A package is suspended when its tenant is"),
        "replay_left_its_record": gettext("Each replay left its record"),
        "entry_resolved_or_open": gettext("Each entry in quarantine is open or resolved"),
        "ledger_balance": gettext("What a tenant owes and its ledger"),
        "open_and_credit": gettext("What a tenant owes, its open invoices and its credit"),
        "payment_matches": gettext("Each payment and what it paid"),
        "invoice_lines": gettext("Each invoice and the sum of its lines"),
        "invoice_margin": gettext("Each invoice's net amount and wholesale cost, and those of its lines"),
        "usage_lines": gettext("Usage lines of invoices and what lay beyond the limits"),
        "billed_once": gettext("One invoice for each period and reason"),
        "number_gaps": gettext("Invoice numbers without gaps"),
        "prepaid_credit": gettext("What a tenant paid in advance and its ledger"),
        "prepaid_tax": gettext("The tax on what is paid in advance and the tenant's tax rate"),
        "second_factor": gettext("Who has a second factor, and the factors"),
        "audit_chain": gettext("The audit trail as it was written"),
    }

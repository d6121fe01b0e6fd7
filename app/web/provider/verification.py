"""What the last `flask verify` found: where what is kept differs from what the rows add up to."""

from flask import Response
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.audit import reading
from app.web.guards import needs
from app.web.kit.render import render
from app.web.provider import bp

CHECKS = {  # what each compares, by its code
    "meter_used": _("The meter and the sum of its records"),
    "meter_records": _("How many records the meter counts"),
    "meter_beyond": _("What lies beyond the limit, by price"),
    "carried_in": _("What the meter carries in and what earlier periods left"),
    "day_quantity": _("The days' totals and the records"),
    "day_records": _("How many records the days count"),
    "record_parts": _("A record and the sum of its parts"),
    "reversal_is_its_negative": _("A reversal and what it takes back"),
    "reversed_once": _("Each record is reversed once at most"),
    "on_hold": _("On hold and the sum of the open holds"),
    "calls_in_progress": _("Calls in progress and their holds"),
    "hold_overdue": _("No hold is open past its expiry"),
    "hold_ends_once": _("Each hold ends in one way"),
    "allocated": _("What is held and how many there are"),
    "numbers": _("Each phone number and who holds it"),
    "one_live_subscription": _("One package a tenant"),
    "open_segment": _("The package and the tenant's history"),
    "segments_overlap": _("The tenant's history without overlaps"),
    "package_currency": _("The currencies of each tenant and its package"),
    "status_is_the_last_event": _("The state of a package and what happened to it"),
    "suspended_as_the_tenant": _("A package is suspended when its tenant is"),
    "billed_periods_closed": _("What was billed takes no more usage"),
    "replay_left_its_record": _("Each replay left its record"),
    "entry_resolved_or_open": _("Each entry in quarantine is open or resolved"),
    "ledger_balance": _("What a tenant owes and its ledger"),
    "ledger_entries": _("How many entries a tenant's ledger counts"),
    "ledger_goes_on": _("Each ledger entry goes on from the balance of another"),
    "ledger_documents": _("Each invoice and payment and its ledger entry"),
    "open_and_credit": _("What a tenant owes, its open invoices and its credit"),
    "payment_matches": _("Each payment and what it paid"),
    "bank_lines": _("Lines of the bank and the payments they became"),
    "repayments": _("What was paid back and the payments it came from"),
    "invoice_open": _("What is open of an invoice and what was paid and credited"),
    "open_by_status": _("An invoice is paid once nothing is open"),
    "void_is_credited": _("What is void was credited in full"),
    "invoice_lines": _("Each invoice and the sum of its lines"),
    "invoice_margin": _("Each invoice's net amount and wholesale cost, and those of its lines"),
    "usage_lines": _("Usage lines of invoices and what lay beyond the limits"),
    "billed_once": _("One invoice for each period and reason"),
    "bill_run_counts": _("What a bill run counts and its invoices"),
    "number_gaps": _("Invoice numbers without gaps"),
    "prepaid_credit": _("What a tenant paid in advance and its ledger"),
    "prepaid_tax": _("The tax on what is paid in advance and the tenant's tax rate"),
    "current_revision": _("Each package and the newest of its revisions"),
    "package_as_revised": _("Each package's name and visibility and those of its revision"),
    "suspended_since": _("Who is suspended, and since when"),
    "tenant_names": _("The names by which machines know each tenant"),
    "second_factor": _("Who has a second factor, and the factors"),
    "audit_chain": _("The audit trail as it was written"),
}


@bp.get("/verification")
@needs(Permission.READ_OPERATIONS)
def verification() -> Response:
    """The differences of the last run, each with its place."""
    return render("provider/verification.html", last=reading.last_verification(db.session()), words=CHECKS)

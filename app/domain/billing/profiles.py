"""Tax rates, and how each tenant is billed."""

import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.core.money import MAX_MICROS
from app.db import among
from app.domain.audit import service as audit
from app.domain.billing import ledger
from app.domain.billing.lines import PER_MILLION, Rate
from app.domain.billing.models import BillingProfile, TaxRate
from app.domain.billing.terms import Terms
from app.domain.metering import prepaid
from app.domain.metering.models import Prepaid
from app.domain.tenants.models import Tenant

_CODE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_CATEGORIES = ("S", "Z", "E", "AE", "O")
MOST_PAYMENT_DAYS = 365
MAX_ADDRESS = 1_000
_OF_PREPAID = ("prepaid", "low_micros")  # kept where grants take it


@dataclass(frozen=True, slots=True)
class Profile:
    """How a tenant is billed; an empty `legal_name` or `email` is that of the tenant."""

    tax_code: str
    payment_days: int
    legal_name: str = ""
    address: str = ""  # lines
    tax_id: str = ""
    email: str = ""
    prepaid: bool = False  # what lies beyond the package is paid in advance
    low_micros: int = 0  # a prepaid balance is called low from here on down

    def printed(self, tenant: Tenant) -> dict[str, Any]:
        """For the invoice to keep."""
        return {
            "name": self.legal_name or tenant.name,
            "address": [line.strip() for line in self.address.splitlines() if line.strip()],
            "country": tenant.country,
            "tax_id": self.tax_id,
            "email": self.email or tenant.contact_email,
            "timezone": tenant.timezone,
            "locale": tenant.locale,
        }


def rates(session: Session) -> dict[str, Rate]:
    """Every tax rate by its code, in the order of the names."""
    return {
        row.code: Rate(row.code, row.name, row.ppm, row.inclusive, row.category, row.note)
        for row in session.scalars(select(TaxRate).order_by(TaxRate.name, TaxRate.code))
    }


def save_rate(session: Session, rate: Rate, *, actor: str, now: datetime) -> None:
    """Add a rate, or change the one of its code; what is issued keeps its copy. Raises Invalid."""
    if not _CODE.fullmatch(rate.code):
        raise Invalid("invalid_code", "Use small letters, digits, hyphens and underscores.", field="code")
    if not rate.name:
        raise Invalid("missing_name", "Give the rate a name, as it stands on the invoice.", field="name")
    if rate.category not in _CATEGORIES:
        raise Invalid("unknown_category", "The category is S, Z, E, AE or O.", field="category")
    if not 0 <= rate.ppm <= PER_MILLION or (rate.ppm and rate.category != "S"):
        raise Invalid("invalid_rate", "From 0 to 100 %; other kinds than the standard take no tax.", field="percent")
    before = rates(session).get(rate.code)
    row = session.get(TaxRate, rate.code) or TaxRate(code=rate.code)
    row.name, row.ppm, row.inclusive = rate.name, rate.ppm, rate.inclusive
    row.category, row.note = rate.category, rate.note
    session.add(row)
    session.flush()
    billed_so = select(BillingProfile.tenant_id).where(BillingProfile.tax_code == rate.code)
    prepaid.set_tax(session, session.scalars(billed_so).all(), _on_top(row))
    changed = audit.changes(asdict(before) if before else {}, asdict(rate))
    audit.record(session, actor, "tax_rate.save", f"tax_rate:{rate.code}", now=now, changed=changed)


def profile(session: Session, tenant_id: int, terms: Terms) -> Profile:
    """The tenant's billing profile, or the default terms."""
    return many(session, [tenant_id], terms)[tenant_id]


def many(session: Session, tenant_ids: Iterable[int], terms: Terms) -> dict[int, Profile]:
    """The profiles of these tenants. One statement."""
    ids = set(tenant_ids)
    found = _found(session, ids)
    default = Profile(terms.tax_code, terms.payment_days)
    return {tenant_id: found.get(tenant_id, default) for tenant_id in ids}


def _found(session: Session, ids: Collection[int]) -> dict[int, Profile]:
    rows = session.execute(
        select(BillingProfile, Prepaid.low_micros)
        .outerjoin(Prepaid, Prepaid.tenant_id == BillingProfile.tenant_id)
        .where(among(session, ids, BillingProfile.tenant_id))
    )
    return {
        row.tenant_id: Profile(
            row.tax_code, row.payment_days, row.legal_name, row.address, row.tax_id, row.email,
            prepaid=low_micros is not None, low_micros=low_micros or 0,
        )
        for row, low_micros in rows
    }  # fmt: skip


def save_profile(session: Session, tenant: Tenant, wanted: Profile, *, actor: str, now: datetime) -> None:
    """Change how a tenant is billed; what is issued stays. Raises Invalid with the field, Conflict (`unknown_rate`)."""
    rate = session.get(TaxRate, wanted.tax_code)
    if rate is None:
        raise Conflict("unknown_rate", f"There is no tax rate “{wanted.tax_code}”.", field="tax_code")
    if not 0 <= wanted.payment_days <= MOST_PAYMENT_DAYS:
        raise Invalid("invalid_days", f"From 0 to {MOST_PAYMENT_DAYS} days.", field="payment_days")
    if len(wanted.address) > MAX_ADDRESS:
        raise Invalid("too_long", f"At most {MAX_ADDRESS} characters.", field="address")
    if not 0 <= wanted.low_micros <= MAX_MICROS:
        raise Invalid("invalid_amount", "Enter an amount from zero.", field="low_micros")
    known = _found(session, [tenant.id]).get(tenant.id)
    before = asdict(known) if known else {}
    balance = ledger.take(session, [(tenant.id, tenant.currency)])[tenant.id, tenant.currency]
    row = session.get(BillingProfile, tenant.id) or BillingProfile(tenant_id=tenant.id)
    for name, value in asdict(wanted).items():
        if name not in _OF_PREPAID:
            setattr(row, name, value)
    session.add(row)
    session.flush()
    if wanted.prepaid:
        tax_ppm, low_micros = _on_top(rate), wanted.low_micros
        prepaid.keep(
            session, tenant.id, tenant.currency, credit_micros=-balance, tax_ppm=tax_ppm, low_micros=low_micros
        )
    else:
        prepaid.drop(session, tenant.id)
    subject, changed = f"tenant:{tenant.slug}", audit.changes(before, asdict(wanted))
    audit.record(session, actor, "billing.profile", subject, now=now, tenant_id=tenant.id, changed=changed)


def _on_top(rate: TaxRate) -> int:
    """The share of tax that comes on top of prices."""
    return 0 if rate.inclusive else rate.ppm

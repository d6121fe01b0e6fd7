"""Tax rates, and how each tenant is billed."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.domain.audit import service as audit
from app.domain.billing.lines import PER_MILLION, Rate
from app.domain.billing.models import BillingProfile, TaxRate
from app.domain.billing.terms import Terms
from app.domain.tenants.models import Tenant

_CODE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_CATEGORIES = ("S", "Z", "E", "AE", "O")
MOST_PAYMENT_DAYS = 365
MAX_ADDRESS = 1_000


@dataclass(frozen=True, slots=True)
class Profile:
    """How a tenant is billed; an empty `legal_name` or `email` is that of the tenant."""

    tax_code: str
    payment_days: int
    legal_name: str = ""
    address: str = ""  # lines
    tax_id: str = ""
    email: str = ""

    def printed(self, tenant: Tenant) -> dict[str, Any]:
        """For the invoice to keep."""
        return {
            "name": self.legal_name or tenant.name,
            "address": [line.strip() for line in self.address.splitlines() if line.strip()],
            "country": tenant.country,
            "tax_id": self.tax_id,
            "email": self.email or tenant.contact_email,
            "timezone": tenant.timezone,
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
    row = session.get(TaxRate, rate.code) or TaxRate(code=rate.code)
    row.name, row.ppm, row.inclusive = rate.name, rate.ppm, rate.inclusive
    row.category, row.note = rate.category, rate.note
    session.add(row)
    session.flush()
    audit.record(session, actor, "tax_rate.save", f"tax_rate:{rate.code}", now=now, ppm=rate.ppm)


def profile(session: Session, tenant_id: int, terms: Terms) -> Profile:
    """The tenant's billing profile, or the default terms."""
    return many(session, [tenant_id], terms)[tenant_id]


def many(session: Session, tenant_ids: Iterable[int], terms: Terms) -> dict[int, Profile]:
    """The profiles of these tenants. One statement."""
    ids = set(tenant_ids)
    found = {
        row.tenant_id: Profile(row.tax_code, row.payment_days, row.legal_name, row.address, row.tax_id, row.email)
        for row in session.scalars(select(BillingProfile).where(BillingProfile.tenant_id.in_(ids)))
    }
    default = Profile(terms.tax_code, terms.payment_days)
    return {tenant_id: found.get(tenant_id, default) for tenant_id in ids}


def save_profile(session: Session, tenant: Tenant, wanted: Profile, *, actor: str, now: datetime) -> None:
    """Change how a tenant is billed; what is issued stays. Raises Invalid with the field, Conflict (`unknown_rate`)."""
    if session.get(TaxRate, wanted.tax_code) is None:
        raise Conflict("unknown_rate", f"There is no tax rate “{wanted.tax_code}”.", field="tax_code")
    if not 0 <= wanted.payment_days <= MOST_PAYMENT_DAYS:
        raise Invalid("invalid_days", f"From 0 to {MOST_PAYMENT_DAYS} days.", field="payment_days")
    if len(wanted.address) > MAX_ADDRESS:
        raise Invalid("too_long", f"At most {MAX_ADDRESS} characters.", field="address")
    row = session.get(BillingProfile, tenant.id) or BillingProfile(tenant_id=tenant.id)
    for name, value in asdict(wanted).items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    audit.record(session, actor, "billing.profile", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id)

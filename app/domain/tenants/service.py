"""Create, change, find, suspend and resume tenants."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any
from zoneinfo import available_timezones

from babel.numbers import list_currencies
from sqlalchemy import ColumnElement, delete, or_, select, update as sql_update
from sqlalchemy.orm import Session

from app.core.destinations import checked_prefixes
from app.core.display import Display, check_display
from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.audit import service as audit
from app.domain.tenants.models import Tenant, TenantName

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ZONES = available_timezones()
_LENGTHS = {
    "name": 255, "domain": 255, "account_code": 64, "country": 2, "contact_name": 255, "contact_email": 255,
}  # fmt: skip
MOST_THRESHOLDS, MAX_THRESHOLD = 8, 200
AT_ONCE = 500  # names read at once
CURRENCIES = frozenset(list_currencies())  # ISO 4217


@dataclass(frozen=True, slots=True)
class TenantProfile:
    """What the provider can say about a tenant. Empty strings mean not given."""

    slug: str
    name: str
    domain: str = ""
    account_code: str = ""
    timezone: str = "UTC"
    currency: str = "EUR"
    country: str = ""
    locale: str = ""  # how its people are shown numbers and dates, and its documents written
    units: str = ""  # how its people are shown minutes
    contact_name: str = ""
    contact_email: str = ""
    blocked_prefixes: str = ""  # that may not be called, with blanks between


def create(session: Session, profile: TenantProfile, *, actor: str, now: datetime) -> Tenant:
    """Add a tenant. Raises Invalid for a bad field and Conflict (`name_taken`) for a name in use."""
    profile = _checked(profile)
    tenant = Tenant(id=new_id(), created_at=now, status="active")
    _apply(tenant, profile)
    session.add(tenant)
    session.flush()
    _claim_names(session, tenant)
    changed = {name: [None, value] for name, value in asdict(profile).items() if value}
    audit.record(
        session, actor, "tenant.create", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, changed=changed
    )
    return tenant


def update(session: Session, tenant: Tenant, profile: TenantProfile, *, actor: str, now: datetime) -> Tenant:
    """Change a tenant's profile; raises as `create`. The same profile again changes and records nothing."""
    profile = _checked(profile)
    before = profile_of(tenant)
    if before == profile:
        return tenant
    _apply(tenant, profile)
    session.flush()
    _claim_names(session, tenant)
    changed = audit.changes(asdict(before), asdict(profile))
    audit.record(
        session, actor, "tenant.update", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, changed=changed
    )
    return tenant


def set_suspended(session: Session, tenant: Tenant, suspended: bool, *, actor: str, now: datetime) -> bool:
    """Suspend or resume the tenant itself (`life.suspend` has its subscription follow); False where it was so."""
    status = "suspended" if suspended else "active"
    # One conditional update: of two clicks at once the second changes and records nothing.
    changed = session.execute(
        sql_update(Tenant)
        .where(Tenant.id == tenant.id, Tenant.status != status)
        .values(status=status, suspended_at=now if suspended else None)
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        return False
    session.refresh(tenant)
    act = "tenant.suspend" if suspended else "tenant.resume"
    _note(session, act, tenant, {"status": ["active" if suspended else "suspended", status]}, actor, now)
    session.flush()
    return True


def set_thresholds(session: Session, tenant: Tenant, percents: Iterable[int], *, actor: str, now: datetime) -> None:
    """The shares of a limit at which people are told, in percent: sorted, each once; none tells nobody.

    Raises Invalid (field `thresholds`). What was crossed before stays noted.
    """
    wanted, before = sorted(set(percents)), tenant.thresholds
    if len(wanted) > MOST_THRESHOLDS or any(not 1 <= percent <= MAX_THRESHOLD for percent in wanted):
        raise Invalid(
            "invalid_thresholds",
            f"At most {MOST_THRESHOLDS} values, each from 1 to {MAX_THRESHOLD} %.",
            field="thresholds",
        )
    if wanted == before:
        return
    tenant.thresholds = wanted
    session.flush()
    changed = {"thresholds": [before, wanted]}
    audit.record(
        session, actor, "tenant.update", f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, changed=changed
    )


def _note(session: Session, act: str, tenant: Tenant, changed: Mapping[str, Any], actor: str, now: datetime) -> None:
    audit.record(session, actor, act, f"tenant:{tenant.slug}", now=now, tenant_id=tenant.id, changed=changed)


def by_name(session: Session, name: str) -> Tenant:
    """The tenant with this slug, PBX domain or account code, whatever its case. Raises NotFound."""
    tenant = find_by_name(session, name)
    if tenant is None:
        raise NotFound("unknown_tenant", f"No tenant is known as “{name}”.")
    return tenant


def find_by_name(session: Session, name: str) -> Tenant | None:
    """As `by_name`, for a filter: None where nobody has that name."""
    return session.scalar(
        select(Tenant)
        .join(TenantName, TenantName.tenant_id == Tenant.id)
        .where(TenantName.name == name.strip().lower())
    )


def is_called(text: str) -> ColumnElement[bool]:
    """The condition that `text` is part of a tenant's name, slug, PBX domain or account code."""
    names = (Tenant.name, Tenant.slug, Tenant.domain, Tenant.account_code)
    return or_(*(name.icontains(text, autoescape=True) for name in names))


def recount_names(session: Session) -> Iterator[tuple[str, str, int, int]]:
    """Names that are not kept, or kept and of no tenant: slug, kind and name, how many there should be and are."""
    asked = select(Tenant.slug, Tenant.account_code, Tenant.domain, TenantName.name, TenantName.kind)
    rows = session.execute(
        asked.outerjoin(TenantName, TenantName.tenant_id == Tenant.id).order_by(Tenant.slug),
        execution_options={"yield_per": AT_ONCE},
    )
    for slug, group in groupby(rows, key=lambda row: row.slug):
        kept = list(group)
        wanted = _names(kept[0].account_code, kept[0].domain, slug).items()
        found = {(row.name, row.kind) for row in kept if row.name is not None}
        for name, kind in sorted(wanted ^ found):
            yield slug, f"{kind} {name}", int((name, kind) in wanted), int((name, kind) in found)


def by_slug(session: Session, slug: str) -> Tenant:
    """The tenant with exactly this slug. Raises NotFound."""
    return by_slugs(session, (slug,))[0]


def by_slugs(session: Session, slugs: Iterable[str]) -> list[Tenant]:
    """The tenants of these slugs, each once, in the order of their ids. Raises NotFound where one is nobody's."""
    wanted = set(slugs)
    found = list(session.scalars(select(Tenant).where(Tenant.slug.in_(wanted)).order_by(Tenant.id)))
    if missing := wanted - {tenant.slug for tenant in found}:
        raise NotFound("unknown_tenant", f"No tenant has the slug “{min(missing)}”.")
    return found


def names_of(session: Session, slugs: Iterable[str]) -> dict[str, str]:
    """What the tenants of these slugs are called, by slug; a slug of nobody is missing. One statement."""
    rows = session.execute(select(Tenant.slug, Tenant.name).where(Tenant.slug.in_(set(slugs))))
    return {slug: name for slug, name in rows}


def profile_of(tenant: Tenant) -> TenantProfile:
    """The profile as it stands."""
    return TenantProfile(**{name: getattr(tenant, name) or "" for name in TenantProfile.__slots__})


def _checked(profile: TenantProfile) -> TenantProfile:
    if not SLUG.fullmatch(profile.slug):
        raise Invalid("invalid_slug", "Use small letters, digits and hyphens, at most 63.", field="slug")
    if not profile.name.strip():
        raise Invalid("missing_name", "Give the tenant a name.", field="name")
    if profile.timezone not in _ZONES:
        raise Invalid("unknown_timezone", f"“{profile.timezone}” is not a time zone.", field="timezone")
    if profile.currency not in CURRENCIES:
        raise Invalid("unknown_currency", f"“{profile.currency}” is not a currency.", field="currency")
    check_display(Display(locale=profile.locale, units=profile.units))
    for name, limit in _LENGTHS.items():
        if len(getattr(profile, name)) > limit:
            raise Invalid("too_long", f"At most {limit} characters.", field=name)
    return replace(profile, blocked_prefixes=checked_prefixes(profile.blocked_prefixes.split()))


def _apply(tenant: Tenant, profile: TenantProfile) -> None:
    for name in TenantProfile.__slots__:
        setattr(tenant, name, getattr(profile, name))
    tenant.domain, tenant.account_code = profile.domain or None, profile.account_code or None


def _claim_names(session: Session, tenant: Tenant) -> None:
    """Write the lower-case names machines may use; the key over all of them refuses one that is taken."""
    wanted = _names(tenant.account_code, tenant.domain, tenant.slug)
    taken = session.scalars(
        select(TenantName).where(TenantName.name.in_(wanted), TenantName.tenant_id != tenant.id).limit(1)
    ).first()
    if taken is not None:
        raise Conflict(
            "name_taken", f"“{taken.name}” is already in use.", field=wanted[taken.name], tenant_id=taken.tenant_id
        )
    session.execute(delete(TenantName).where(TenantName.tenant_id == tenant.id))
    session.add_all(TenantName(name=name, kind=kind, tenant_id=tenant.id) for name, kind in wanted.items())
    session.flush()


def _names(account_code: str | None, domain: str | None, slug: str) -> dict[str, str]:
    """The names by which machines know a tenant and what each is; one for two purposes is the slug before others."""
    given = (("account_code", account_code), ("domain", domain), ("slug", slug))
    return {value.lower(): kind for kind, value in given if value}

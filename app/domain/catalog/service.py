"""Define resources and packages; publish revisions."""

import re
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid, NotFound
from app.core.ids import new_id
from app.db import rowcount
from app.domain.audit import service as audit
from app.domain.catalog import specs
from app.domain.catalog.differences import OF_LIMIT, TERMS
from app.domain.catalog.models import Package, PackageLimit, PackageRevision, Resource
from app.domain.catalog.specs import LimitSpec, PackageSpec

CODE = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
UNDO_WITHIN = timedelta(days=1)
# A package's life: what each status may become.
TRANSITIONS = {"draft": {"published", "archived"}, "published": {"archived"}, "archived": {"published"}}


def list_resources(session: Session) -> list[Resource]:
    """Every resource, in display order."""
    return list(session.scalars(select(Resource).order_by(Resource.position, Resource.code)))


def add_resource(session: Session, resource: Resource, *, actor: str, now: datetime) -> Resource:
    """Add a resource, usable in a package at once. Raises Invalid or Conflict (`resource_exists`)."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", resource.code):
        raise Invalid(
            "invalid_code", "Use small letters, digits and underscores, beginning with a letter.", field="code"
        )
    if session.get(Resource, resource.code) is not None:
        raise Conflict("resource_exists", f"“{resource.code}” already exists.", field="code")
    resource.position = (session.scalar(select(func.max(Resource.position))) or 0) + 10
    session.add(resource)
    made = {
        name: getattr(resource, name) for name in ("name", "kind", "base_unit", "factor", "first_step", "next_step")
    }
    changed = audit.changes({}, made)
    audit.record(session, actor, "resource.create", f"resource:{resource.code}", now=now, changed=changed)
    session.flush()
    return resource


def find(session: Session, code: str) -> Package | None:
    """The package with this code, if there is one."""
    return session.scalar(select(Package).where(Package.code == code))


def by_code(session: Session, code: str) -> Package:
    """The package with this code. Raises NotFound."""
    package = find(session, code)
    if package is None:
        raise NotFound("unknown_package", f"No package has the code “{code}”.")
    return package


def spec_of(revision: PackageRevision) -> PackageSpec:
    """What a revision says, in the shape that `publish` takes."""
    return PackageSpec(
        name=revision.name,
        currency=revision.currency,
        interval=revision.interval,
        price_micros=revision.price_micros,
        cost_micros=revision.cost_micros,
        setup_fee_micros=revision.setup_fee_micros,
        public=revision.public,
        tenants_may=revision.tenants_may,
        blocked_prefixes=revision.blocked_prefixes,
        loss_reason=revision.loss_reason,
        limits=tuple(
            LimitSpec(
                limit.resource_code,
                limit.included,
                limit.at_limit,
                limit.overage_price_micros,
                limit.rollover_periods,
                limit.rollover_cap,
                limit.unit_cost_micros,
            )
            for limit in sorted(revision.limits, key=lambda limit: limit.resource_code)
        ),
    )


def create(
    session: Session, code: str, spec: PackageSpec, *, actor: str, now: datetime, status: str = "draft"
) -> Package:
    """Add a package with revision 1. Raises Invalid, or Conflict (`package_exists`)."""
    if not CODE.fullmatch(code):
        raise Invalid("invalid_code", "Use small letters, digits, hyphens and underscores.", field="code")
    if session.scalar(select(Package.id).where(Package.code == code)) is not None:
        raise Conflict("package_exists", f"A package with the code “{code}” already exists.", field="code")
    spec = checked(session, spec)
    package = Package(id=new_id(), code=code, status=status, created_at=now, revision_id=0, name="", public=False)
    session.add(package)
    session.flush()
    _write_revision(session, package, spec, 1, actor, now)
    details: dict[str, Any] = {"status": status, **_reasoned(spec), "changed": _changed(None, spec)}
    audit.record(session, actor, "package.create", f"package:{code}", now=now, **details)
    return package


def publish(session: Session, package: Package, spec: PackageSpec, *, actor: str, now: datetime) -> PackageRevision:
    """Make `spec` the package's content for every tenant on it, in this instant.

    Writes one revision, its limits and the pointer, however many tenants there are. A spec equal to the
    current revision writes nothing. Two publishers at once: the unique number refuses the second.
    """
    spec = checked(session, spec)
    current = package.revision
    if spec_of(current) == spec:
        return current
    if package.status != "draft" and (spec.interval, spec.currency) != (current.interval, current.currency):
        # Periods and amounts of the tenants on it are counted in these.
        raise Conflict("interval_and_currency_are_fixed", "A package once on sale keeps its interval and currency.")
    number = (
        session.scalar(select(func.max(PackageRevision.number)).where(PackageRevision.package_id == package.id)) or 0
    )
    revision = _write_revision(session, package, spec, number + 1, actor, now)
    details: dict[str, Any] = {
        "revision": revision.number,
        **_reasoned(spec),
        "changed": _changed(spec_of(current), spec),
    }
    audit.record(session, actor, "package.publish", f"package:{package.code}", now=now, **details)
    return revision


def undo_publish(session: Session, package: Package, number: int, *, actor: str, now: datetime) -> PackageRevision:
    """Take revision `number` back within a day: a new revision equal to the one before; usage made meanwhile stays.

    Raises NotFound, Conflict (`nothing_to_undo`) where it is not the current one, is the first, or a day has passed.
    """
    current = package.revision
    if number > current.number:
        raise NotFound("unknown_revision", f"{package.name} has no revision {number}.")
    before = session.scalar(
        select(PackageRevision).where(PackageRevision.package_id == package.id, PackageRevision.number == number - 1)
    )
    if current.number != number or before is None or now - current.published_at > UNDO_WITHIN:
        raise Conflict("nothing_to_undo", f"Revision {number} of {package.name} can no longer be undone.")
    revision = publish(session, package, spec_of(before), actor=actor, now=now)
    audit.record(session, actor, "package.undo", f"package:{package.code}", now=now, undone=number)
    return revision


def set_status(session: Session, package: Package, status: str, *, actor: str, now: datetime) -> None:
    """Move a package along its life. Raises Conflict (`wrong_status`) for a step that the life does not have."""
    if status == package.status:
        return
    if status not in TRANSITIONS[package.status]:
        raise Conflict("wrong_status", f"A package that is {package.status} cannot become {status}.")
    # Conditional on the status that allowed the step: of two at once the second is refused.
    before = package.status
    changed = session.execute(
        update(Package)
        .where(Package.id == package.id, Package.status == before)
        .values(status=status)
        .execution_options(synchronize_session=False)
    )
    if rowcount(changed) != 1:
        raise Conflict("changed_meanwhile", f"{package.name} was changed by someone else.")
    session.refresh(package)
    step = {"status": [before, status]}
    audit.record(session, actor, f"package.{status}", f"package:{package.code}", now=now, changed=step)
    session.flush()


def revisions(session: Session, package: Package) -> list[PackageRevision]:
    """A package's history, newest first."""
    return list(
        session.scalars(
            select(PackageRevision)
            .where(PackageRevision.package_id == package.id)
            .order_by(PackageRevision.number.desc())
        )
    )


def revision_at(session: Session, package_id: int, moment: datetime) -> PackageRevision | None:
    """The revision in force at `moment`, or None before the package existed."""
    return session.scalar(
        select(PackageRevision)
        .where(PackageRevision.package_id == package_id, PackageRevision.published_at <= moment)
        .order_by(PackageRevision.published_at.desc(), PackageRevision.number.desc())
        .limit(1)
    )


def checked(session: Session, spec: PackageSpec) -> PackageSpec:
    """`spec` in canonical form, with the reason that its worst case needs. Raises Invalid with the field."""
    resources = list_resources(session)
    spec = specs.checked(spec, resources)
    specs.check_reason(spec, resources)
    return spec


def _changed(before: PackageSpec | None, after: PackageSpec) -> dict[str, Any]:
    """Terms and limits that differ, as `changed` of an audit entry."""
    return audit.changes(_as_flat(before) if before else {}, _as_flat(after))


def _as_flat(spec: PackageSpec) -> dict[str, Any]:
    """`price_micros`, `voice_minutes.included`, …: each value of the spec under a name of its own."""
    terms = {name: getattr(spec, name) for name in TERMS}
    limits = {f"{limit.resource}.{name}": getattr(limit, name) for limit in spec.limits for name in OF_LIMIT}
    return {name: value for name, value in {**terms, **limits}.items() if value not in ("", 0)}


def _reasoned(spec: PackageSpec) -> dict[str, str]:
    return {"loss_reason": spec.loss_reason} if spec.loss_reason else {}


def _write_revision(
    session: Session, package: Package, spec: PackageSpec, number: int, actor: str, now: datetime
) -> PackageRevision:
    revision = PackageRevision(
        id=new_id(),
        package_id=package.id,
        number=number,
        name=spec.name,
        public=spec.public,
        tenants_may=spec.tenants_may,
        blocked_prefixes=spec.blocked_prefixes,
        loss_reason=spec.loss_reason,
        price_micros=spec.price_micros,
        cost_micros=spec.cost_micros,
        setup_fee_micros=spec.setup_fee_micros,
        interval=spec.interval,
        currency=spec.currency,
        published_at=now,
        published_by=actor,
    )
    session.add(revision)
    session.flush()
    session.add_all(
        PackageLimit(
            revision_id=revision.id,
            resource_code=limit.resource,
            included=limit.included,
            at_limit=limit.at_limit,
            overage_price_micros=limit.overage_price_micros,
            rollover_periods=limit.rollover_periods,
            rollover_cap=limit.rollover_cap,
            unit_cost_micros=limit.unit_cost_micros,
        )
        for limit in spec.limits
    )
    package.revision_id, package.name, package.public = revision.id, spec.name, spec.public
    session.flush()
    session.expire(package, ["revision"])
    session.expire(revision, ["limits"])
    return revision

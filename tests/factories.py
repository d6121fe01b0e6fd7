"""Rows for tests, made by the real services and committed, so that requests and other threads see them."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from app.core.usage import SourceSettings, UsageEvent
from app.db import run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.models import Account, Source
from app.domain.accounts.roles import Role
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering.calls import authorize, end
from app.domain.metering.decision import Call, Decision, Terms
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.tenants.service import TenantProfile

ACTOR = "test"
PASSWORD = "correct horse battery"  # of every account made here

Limits = Mapping[str, int | None] | Iterable[LimitSpec]


def close_before(session: Session, tenant_id: int, first_open: date) -> None:
    """Close a tenant's periods before that day, as issuing its invoices does."""
    subscription = subscriptions.live(session, tenant_id)
    assert subscription is not None
    subscriptions.close_before(session, {(tenant_id, subscription.id): first_open})


class Make:
    """Call it for what a test needs; `now` is when it happens, unless a method says otherwise."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._numbers = count(1)

    def tenant(self, name: str = "Acme", **profile: Any) -> Tenant:
        """A tenant; its slug is its name in small letters unless given."""
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        with unit_of_work() as session:
            return tenants.create(session, TenantProfile(**{"slug": slug, "name": name, **profile}), **self._edge())

    def package(self, code: str = "gold", limits: Limits = (), *, status: str = "published", **spec: Any) -> Package:
        """A package on sale. `limits`: LimitSpecs, or `{resource: included}` in base units that stop at the limit."""
        if isinstance(limits, Mapping):
            limits = [LimitSpec(resource, included) for resource, included in limits.items()]
        content = PackageSpec(**{"name": code.replace("-", " ").title(), "limits": tuple(limits), **spec})
        with unit_of_work() as session:
            package = catalog.create(session, code, content, status=status, **self._edge())
            return catalog.by_code(session, package.code)

    def subscribe(self, tenant: Tenant, package: Package, started_at: datetime | None = None) -> Subscription:
        """Put a tenant on a package, now or since `started_at`."""
        with unit_of_work() as session:
            tenant, package = session.get_one(Tenant, tenant.id), session.get_one(Package, package.id)
            return subscriptions.subscribe(session, tenant, package, started_at=started_at, **self._edge())

    def staff(self, email: str = "", name: str = "Nora", role: Role = Role.OWNER) -> Account:
        """One of the provider's people, whose password is PASSWORD."""
        email = email or f"staff{next(self._numbers)}@northline.example"
        with unit_of_work() as session:
            return accounts.create_staff(session, email, name, PASSWORD, role=role, **self._edge())

    def user(self, tenant: Tenant, email: str = "", name: str = "Uma", role: Role = Role.ADMIN) -> Account:
        """A user of the tenant, whose password is PASSWORD."""
        email = email or f"user{next(self._numbers)}@{tenant.slug}.example"
        with unit_of_work() as session:
            return accounts.create_user(session, tenant, email, name, PASSWORD, role=role, **self._edge())

    def source(
        self, code: str = "pbx1", scopes: Iterable[str] = accounts.SCOPES, *, name: str = "", **settings: Any
    ) -> Source:
        """A source with one key, which stands in `.key`; `settings` are those of SourceSettings."""
        with unit_of_work() as session:
            source = accounts.create_source(session, code, name, settings=SourceSettings(**settings), **self._edge())
            key = accounts.issue_key(session, source, scopes=tuple(scopes), **self._edge())
        source.key = key  # type: ignore[attr-defined]
        return source

    def usage(
        self,
        tenant: Tenant,
        quantity: int,
        resource: str = "voice_minutes",
        *,
        source: Source,
        occurred_at: datetime | None = None,
        external_id: str = "",
        **event: Any,
    ) -> UsageEvent:
        """Usage in base units, counted through the same door as a PBX's."""
        reported = UsageEvent(
            external_id or f"made-{next(self._numbers)}",
            tenant.slug,
            resource,
            quantity,
            occurred_at or self.now,
            **event,
        )
        source_id = source.id
        results = run_in_transaction(
            lambda session: ingest(session, source_id, [Report(reported, "")], now=max(self.now, reported.occurred_at))
        )
        assert results[0].status == "recorded", results
        return reported

    def call(
        self, tenant: Tenant, *, source: Source, seconds: int = 60, at: datetime | None = None, **call: Any
    ) -> Decision:
        """What call control answers to a call that asks for `seconds`, at `at` or now."""
        asked = Call(**{"tenant": tenant.slug, "call_id": f"call-{next(self._numbers)}", **call})
        source_id, terms = source.id, Terms(seconds, 120, ("outbound",))
        return run_in_transaction(lambda session: authorize(session, source_id, asked, terms, now=at or self.now))

    def hang_up(self, call: Decision, *, source: Source, seconds: int, at: datetime | None = None) -> None:
        """The end of a granted call that talked for so long."""
        source_id = source.id
        run_in_transaction(
            lambda session: end(session, source_id, str(call.hold), seconds, grace=120, now=at or self.now)
        )

    def _edge(self) -> dict[str, Any]:
        return {"actor": ACTOR, "now": self.now}

"""Migrate, add a tenant with a user, OTHERS more on its package, and a source; prints the key and the two ids."""

import flask_migrate

from app import create_app
from app.core.clock import utc_now
from app.db import unit_of_work
from app.domain.accounts import service as accounts
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.service import TenantProfile
from tests.bench.setting import OTHERS, PASSWORD


def main() -> None:
    """Do it."""
    app, now = create_app(), utc_now()
    codes = ("extensions", "sip_trunks", "dids", "devices", "ring_groups")
    limits = (
        LimitSpec("voice_minutes", 10**12),  # more than any run uses, and asked at every grant
        LimitSpec("concurrent_calls", 1_000_000),
        LimitSpec("fax_pages", 100),
        *(LimitSpec(code, 10) for code in codes),
    )
    with app.app_context():
        flask_migrate.upgrade()
        with unit_of_work() as session:
            tenant = tenants.create(session, TenantProfile("acme", "Acme"), actor="bench", now=now)
            package = catalog.create(
                session, "gold", PackageSpec("Gold", limits=limits), actor="bench", now=now, status="published"
            )
            subscriptions.subscribe(session, tenant, package, actor="bench", now=now)
            accounts.create_user(session, tenant, "office@acme.example", "Acme", PASSWORD, actor="bench", now=now)
            for number in range(OTHERS):
                other = tenants.create(
                    session, TenantProfile(f"t{number:04}", f"Tenant {number}"), actor="bench", now=now
                )
                subscriptions.subscribe(session, other, package, actor="bench", now=now)
            source = accounts.create_source(session, "bench", "Bench", actor="bench", now=now)
            key = accounts.issue_key(session, source, scopes=accounts.SCOPES, actor="bench", now=now)
        print(key, tenant.id, source.id)


if __name__ == "__main__":
    main()

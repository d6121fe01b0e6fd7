"""Packages, revisions and who is on them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, Invalid, NotFound
from app.db import db, unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.models import PackageRevision, Resource
from app.domain.catalog.specs import LimitSpec, PackageSpec
from app.domain.metering import meters
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.domain.tenants.service import TenantProfile

GOLD = PackageSpec("Gold", price_micros=49_000_000, limits=(LimitSpec("voice_minutes", 60_000, "charge", 20_000),))


def edited(**changes):
    return PackageSpec(**{**{name: getattr(GOLD, name) for name in PackageSpec.__slots__}, **changes})


@pytest.fixture
def gold(app, now):
    with unit_of_work() as session:
        return catalog.create(session, "gold", GOLD, actor="test", now=now, status="published")


def test_the_fifteen_resources_are_there_after_a_migration(session):
    assert len(catalog.list_resources(session)) == 15
    assert {resource.kind for resource in catalog.list_resources(session)} == {"metered", "allocated", "concurrent"}


def test_a_resource_of_ones_own_is_usable_at_once(app, now):
    with unit_of_work() as session:
        own = Resource(code="ai_minutes", name="AI", kind="metered", base_unit="second", unit_one="minute",
                       unit_many="minutes", factor=60)  # fmt: skip
        catalog.add_resource(session, own, actor="test", now=now)
        spec = PackageSpec("AI", limits=(LimitSpec("ai_minutes", 600),))
        package = catalog.create(session, "ai", spec, actor="test", now=now)
    assert catalog.spec_of(package.revision).limits == (LimitSpec("ai_minutes", 600),)


def test_publishing_the_same_content_again_writes_nothing(gold, now):
    with unit_of_work() as session:
        catalog.publish(session, catalog.by_code(session, "gold"), GOLD, actor="test", now=now)
    assert db.session.scalar(select(func.count()).select_from(PackageRevision)) == 1


def test_what_was_in_force_stays_readable(gold, now):
    later = now + timedelta(hours=1)
    with unit_of_work() as session:
        catalog.publish(session, catalog.by_code(session, "gold"), edited(name="Gold+"), actor="ann", now=later)
    history = catalog.revisions(db.session(), gold)
    assert [(revision.number, revision.published_by) for revision in history] == [(2, "ann"), (1, "test")]
    assert catalog.revision_at(db.session(), gold.id, now).name == "Gold"
    assert catalog.revision_at(db.session(), gold.id, later).name == "Gold+"
    assert catalog.revision_at(db.session(), gold.id, now - timedelta(days=1)) is None


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        (PackageSpec(" "), "missing_name"),
        (PackageSpec("X", interval="week"), "unknown_interval"),
        (PackageSpec("X", limits=(LimitSpec("unicorns", 1),)), "unknown_resource"),
        (PackageSpec("X", limits=(LimitSpec("fax_pages", -1),)), "invalid_included"),
        (PackageSpec("X", limits=(LimitSpec("fax_pages", 1, "explode"),)), "unknown_at_limit"),
        (PackageSpec("X", limits=(LimitSpec("extensions", 1, "charge"),)), "only_metered_overruns"),
        (PackageSpec("X", limits=(LimitSpec("fax_pages", 1), LimitSpec("fax_pages", 2))), "duplicate_limit"),
    ],
)
def test_a_senseless_package_is_refused(app, now, spec, code):
    with unit_of_work() as session, pytest.raises(Invalid) as refused:
        catalog.create(session, "x", spec, actor="test", now=now)
    assert refused.value.code == code


def test_interval_and_currency_are_fixed_once_on_sale(gold, now):
    with unit_of_work() as session, pytest.raises(Conflict, match="keeps its interval"):
        catalog.publish(session, catalog.by_code(session, "gold"), edited(interval="year"), actor="t", now=now)


def test_a_draft_cannot_be_sold_and_an_archived_package_keeps_its_tenants(gold, make, now):
    tenant, late = make.tenant("Acme"), make.tenant("Late")
    make.subscribe(tenant, gold)
    with unit_of_work() as session:
        catalog.set_status(session, catalog.by_code(session, "gold"), "archived", actor="t", now=now)
    with pytest.raises(Conflict, match="only a published package"):
        make.subscribe(late, gold)
    assert subscriptions.live(db.session(), tenant.id).package.code == "gold"


def test_one_live_subscription_and_a_history_of_segments(gold, make, now):
    tenant = make.tenant("Acme")
    make.subscribe(tenant, gold)
    make.subscribe(tenant, make.package("silver"))
    segments = subscriptions.segments(db.session(), tenant.id)
    assert [(segment.package.code, segment.ended_at is None) for segment in segments] == [
        ("silver", True),
        ("gold", False),
    ]


def test_a_name_machines_use_belongs_to_one_tenant(make, now):
    make.tenant("Acme", domain="pbx.example")
    with unit_of_work() as session, pytest.raises(Conflict, match="already in use"):
        tenants.create(session, TenantProfile("other", "Other", account_code="PBX.example"), actor="t", now=now)


@pytest.mark.parametrize(
    ("field", "value"),
    [("slug", "Has Space"), ("slug", "-a"), ("name", " "), ("timezone", "Mars/Base"), ("currency", "XXQ")],
)
def test_a_bad_profile_names_its_field(app, now, field, value):
    profile = TenantProfile(**{"slug": "acme", "name": "Acme", field: value})
    with unit_of_work() as session, pytest.raises(Invalid) as refused:
        tenants.create(session, profile, actor="t", now=now)
    assert refused.value.details["field"] == field


def test_the_currency_stays_while_a_package_is_priced_in_it(gold, make, now):
    tenant = make.tenant("Acme")
    make.subscribe(tenant, gold)
    with unit_of_work() as session, pytest.raises(Conflict, match="currency cannot change"):
        subscriptions.change_profile(
            session, session.merge(tenant), TenantProfile("acme", "Acme", currency="USD"), actor="t", now=now
        )


def test_the_last_publish_is_undone_within_a_day_and_usage_stays(make, session, now):
    tenant, package = make.tenant(), make.package("gold", {"voice_minutes": 600}, price_micros=49_000_000)
    make.subscribe(tenant, package)
    was = catalog.spec_of(package.revision)
    with unit_of_work() as unit:
        found = catalog.by_code(unit, "gold")
        catalog.publish(unit, found, replace(was, price_micros=1, limits=()), actor="nora", now=now)
    make.usage(tenant, 120, source=make.source())
    with unit_of_work() as unit:
        done = catalog.undo_publish(unit, catalog.by_code(unit, "gold"), 2, actor="nora", now=now + timedelta(days=1))
        assert (done.number, catalog.spec_of(done)) == (3, was)
    with unit_of_work() as unit:
        assert meters.current(unit, unit.get_one(Tenant, tenant.id), now=now).meters[0].remaining == 480


@pytest.mark.parametrize(("number", "later"), [(1, timedelta()), (2, timedelta(days=1, seconds=1))])
def test_what_is_not_the_last_publish_of_the_day_is_not_undone(make, now, number, later):
    package = make.package("gold")
    with unit_of_work() as unit:
        found = catalog.by_code(unit, "gold")
        spec = replace(catalog.spec_of(package.revision), price_micros=1)
        catalog.publish(unit, found, spec, actor="nora", now=now)
    with pytest.raises(Conflict, match="no longer be undone"), unit_of_work() as unit:
        catalog.undo_publish(unit, catalog.by_code(unit, "gold"), number, actor="nora", now=now + later)
    with pytest.raises(NotFound), unit_of_work() as unit:
        catalog.undo_publish(unit, catalog.by_code(unit, "gold"), 3, actor="nora", now=now)

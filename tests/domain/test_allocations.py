"""What is held: added up to the limit and never beyond, released once, numbers held by one tenant alone."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from app.core.errors import Conflict, Invalid, NotFound
from app.db import db, run_in_transaction, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.catalog import service as catalog
from app.domain.catalog.models import PackageLimit
from app.domain.catalog.specs import LimitSpec
from app.domain.changes.package_fit import smallest_package_allowing
from app.domain.metering import meters
from app.domain.metering.models import NO_PERIOD, Meter, Refusal
from app.domain.subscriptions import service as subscriptions
from app.domain.telephony import listing, service as telephony
from app.domain.telephony.models import Allocation, Did
from app.domain.telephony.service import Wanted
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant


@pytest.fixture
def gold(make):
    return make.package("gold", {"extensions": 5, "dids": 3, "devices": None, "voice_minutes": 600})


@pytest.fixture
def acme(make, gold):
    tenant = make.tenant("Acme", country="DE", timezone="Europe/Berlin")
    make.subscribe(tenant, gold)
    return tenant


@pytest.fixture
def add(now):
    def act(tenant, resource, *names, note=""):
        wanted = [Wanted(name, note, line) for line, name in enumerate(names, 1)]
        with telephony.refusals_kept(tenant.id, wanted, now=now):
            return run_in_transaction(
                lambda session: telephony.add(
                    session, session.get_one(Tenant, tenant.id), resource, wanted, actor="t", now=now
                )
            )

    return act


@pytest.fixture
def release(now):
    def act(tenant, allocation_id):
        return run_in_transaction(
            lambda session: telephony.release(
                session, session.get_one(Tenant, tenant.id), allocation_id, actor="t", now=now
            )
        )

    return act


def held(session, tenant, resource="extensions"):
    """What the meter says, which is what the rows say."""
    session.rollback()
    used = session.scalar(
        select(Meter.used).where(
            Meter.tenant_id == tenant.id, Meter.resource_code == resource, Meter.period_on == NO_PERIOD
        )
    )
    rows = session.scalar(
        select(func.count()).where(
            Allocation.tenant_id == tenant.id,
            Allocation.resource_code == resource,
            Allocation.released_at.is_(None),
        )
    )
    assert rows == (used or 0)
    return rows


def refused(act, code):
    with pytest.raises((Conflict, Invalid)) as caught:
        act()
    assert caught.value.code == code
    return caught.value


def edit(code, **included):
    with unit_of_work() as session:
        package = catalog.by_code(session, code)
        spec = catalog.spec_of(package.revision)
        limits = tuple(replace(each, included=included.get(each.resource, each.included)) for each in spec.limits)
        catalog.publish(session, package, replace(spec, limits=limits), actor="t", now=package.created_at)


def test_what_is_added_stands_on_the_meter(session, acme, add, now):
    made = add(acme, "extensions", " 101 ", note=" Front desk ")
    assert [(row.name, row.note, row.created_by, row.created_at) for row in made] == [("101", "Front desk", "t", now)]
    assert held(session, acme) == 1
    found = {view.resource_code: view for view in meters.current(session, acme, now=now).meters}
    assert (found["extensions"].used, found["extensions"].remaining) == (1, 4)


def test_at_the_limit_nothing_more_is_added_and_the_refusal_is_kept(session, acme, add):
    add(acme, "extensions", *"101 102 103 104 105".split())
    error = refused(lambda: add(acme, "extensions", "106"), "limit_reached")
    assert error.details["limit"] == {"resource": "extensions", "included": 5, "used": 5}
    assert held(session, acme) == 5
    (kept,) = session.scalars(select(Refusal))
    assert (kept.reason, kept.resource_code, kept.included, kept.used, kept.callee, kept.source_id) == (
        "limit_reached", "extensions", 5, 5, "106", None,
    )  # fmt: skip


def test_of_simultaneous_additions_exactly_as_many_pass_as_there_is_room_for(app, session, acme, add):
    def attempt(number):
        with app.app_context():
            try:
                add(acme, "extensions", str(number))
            except Conflict as error:
                return error.code
            finally:
                db.session.remove()
            return "added"

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(attempt, range(100, 120)))
    assert sorted(results) == ["added"] * 5 + ["limit_reached"] * 15
    assert held(session, acme) == 5
    assert session.scalar(select(func.count(Refusal.id))) == 15


def test_several_are_added_all_or_not_at_all(session, acme, add):
    add(acme, "extensions", "101", "102", "103")
    error = refused(lambda: add(acme, "extensions", "104", "105", "106"), "limit_reached")
    assert "3 more do not fit" in error.message
    assert held(session, acme) == 3
    add(acme, "extensions", "104", "105")
    assert held(session, acme) == 5


def test_every_line_that_cannot_be_is_named(session, acme, add):
    add(acme, "extensions", "101")
    error = refused(lambda: add(acme, "extensions", "102", "1", "101", "102", "abc"), "invalid_rows")
    assert [row["line"] for row in error.details["rows"]] == [2, 3, 4, 5]
    assert error.details["rows"][2]["detail"] == "“102” stands on line 1 already."
    assert held(session, acme) == 1


@pytest.mark.parametrize("count", [10, 1_000])
def test_the_number_of_statements_does_not_grow_with_the_rows(acme, add, count_statements, count):
    def statements(resource, names):
        with count_statements() as seen:
            add(acme, resource, *names)
        return len(seen)

    edit("gold", dids=None)
    assert (
        statements("devices", [f"phone {number}" for number in range(count)]) == 9
    )  # one of them asks whether a change of package is due, two chain the entry in the audit trail
    assert statements("dids", [f"+4930{number:07}" for number in range(2_000_000, 2_000_000 + count)]) == 11


def test_a_released_one_makes_room_once(session, acme, add, release):
    first, *_ = add(acme, "extensions", *"101 102 103 104 105".split())
    assert release(acme, first.id).name == "101"
    with pytest.raises(NotFound):
        release(acme, first.id)
    assert held(session, acme) == 4
    add(acme, "extensions", "101")
    assert held(session, acme) == 5
    acts = list(
        session.scalars(select(AuditEntry.act).where(AuditEntry.act.like("allocation.%")).order_by(AuditEntry.number))
    )
    assert acts == ["allocation.add", "allocation.release", "allocation.add"]


def test_simultaneous_releases_count_down_once(app, session, acme, add, release):
    (made,) = add(acme, "extensions", "101")

    def attempt(_):
        with app.app_context():
            try:
                release(acme, made.id)
            except NotFound:
                return 0
            finally:
                db.session.remove()
            return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1
    assert held(session, acme) == 0


def test_a_release_is_undone_by_adding_the_same_again(session, acme, add, release, now):
    (made,) = add(acme, "dids", "030 901820", note="Main")
    release(acme, made.id)
    again = run_in_transaction(
        lambda unit: telephony.add_again(unit, unit.get_one(Tenant, acme.id), made.id, actor="t", now=now)
    )
    assert (again.name, again.note, again.id != made.id) == ("+4930901820", "Main", True)
    assert held(session, acme, "dids") == 1


def test_another_tenants_things_cannot_be_released(session, make, acme, add, release):
    (made,) = add(acme, "extensions", "101")
    with pytest.raises(NotFound):
        release(make.tenant("Globex"), made.id)
    assert held(session, acme) == 1


def test_the_same_name_is_held_once_per_tenant_and_resource(session, make, gold, acme, add):
    globex = make.tenant("Globex")
    make.subscribe(globex, gold)
    add(acme, "extensions", "101")
    add(globex, "extensions", "101")
    add(acme, "devices", "101")
    refused(lambda: add(acme, "extensions", "101"), "already_allocated")
    assert held(session, acme) == 1


def test_a_number_belongs_to_one_tenant_whoever_writes_it_and_however(session, make, gold, acme, add, release):
    globex = make.tenant("Globex", country="GB")
    make.subscribe(globex, gold)
    (made,) = add(acme, "dids", "030 901820")
    assert made.name == "+4930901820"
    error = refused(lambda: add(globex, "dids", "+49 (30) 901-820"), "number_taken")
    assert "acme" not in f"{error.message}{error.details}".lower()
    refused(lambda: add(acme, "dids", "+4930901820"), "already_allocated")
    release(acme, made.id)
    add(globex, "dids", "+4930901820")
    assert list(session.scalars(select(Did.tenant_id))) == [globex.id]
    assert held(session, acme, "dids") == 0


@pytest.mark.parametrize(
    ("resource", "name", "code"),
    [
        ("extensions", "1", "invalid_extension"),
        ("extensions", "12345678901", "invalid_extension"),
        ("extensions", "10a", "invalid_extension"),
        ("extensions", "١٠١", "invalid_extension"),
        ("dids", "12345", "invalid_number"),
        ("dids", "+999 123 4567", "invalid_number"),
        ("dids", "call +49 30 901820", "invalid_number"),
        ("dids", "", "invalid_number"),
        ("devices", "  ", "invalid_name"),
        ("devices", "x" * 256, "invalid_name"),
        ("devices", "a\0b", "invalid_name"),
        ("voice_minutes", "101", "not_allocated"),
        ("nonsense", "101", "unknown_resource"),
    ],
)
def test_what_cannot_be_a_name_is_refused(session, acme, add, resource, name, code):
    refused(lambda: add(acme, resource, name), code)
    assert session.scalar(select(func.count(Allocation.id))) == 0


def test_a_national_number_needs_a_country(make, gold, add):
    nowhere = make.tenant("Nowhere")
    make.subscribe(nowhere, gold)
    refused(lambda: add(nowhere, "dids", "030 901820"), "invalid_number")
    assert add(nowhere, "dids", "+49 30 901820")[0].name == "+4930901820"


def test_without_a_package_or_while_suspended_nothing_is_added(session, make, acme, add):
    refused(lambda: add(make.tenant("Globex"), "extensions", "101"), "no_subscription")
    with unit_of_work() as unit:
        tenants.set_suspended(unit, unit.get_one(Tenant, acme.id), True, actor="t", now=acme.created_at)
    refused(lambda: add(acme, "extensions", "101"), "tenant_suspended")
    assert held(session, acme) == 0


def test_what_the_package_does_not_name_is_unlimited(session, acme, add):
    add(acme, "sip_trunks", *(f"trunk {number}" for number in range(20)))
    assert held(session, acme, "sip_trunks") == 20


@pytest.mark.parametrize("at_limit", ["charge", "notify"])
def test_a_limit_that_does_not_stop_lets_more_pass(session, acme, gold, add, at_limit):
    with unit_of_work() as unit:  # the catalogue takes such a limit of metered resources alone
        unit.get_one(PackageLimit, (gold.revision_id, "extensions")).at_limit = at_limit
    add(acme, "extensions", *map(str, range(100, 107)))
    assert held(session, acme) == 7


def test_below_what_is_held_everything_stays_and_nothing_is_added(session, make, acme, add, release, now):
    made = add(acme, "extensions", *"101 102 103 104".split())
    with unit_of_work() as unit:
        small = make_small(unit, now)
        subscriptions.subscribe(unit, unit.get_one(Tenant, acme.id), small, actor="t", now=now)
    session.rollback()
    (view,) = [each for each in meters.current(session, acme, now=now).meters if each.resource_code == "extensions"]
    assert (view.state, view.used, view.included) == ("over", 4, 2)
    for row in made[:2]:
        refused(lambda: add(acme, "extensions", "105"), "limit_reached")
        release(acme, row.id)
    refused(lambda: add(acme, "extensions", "105"), "limit_reached")
    release(acme, made[2].id)
    add(acme, "extensions", "105")
    assert held(session, acme) == 2


def make_small(session, now):
    spec = catalog.PackageSpec("Small", limits=(LimitSpec("extensions", 2),))
    return catalog.create(session, "small", spec, actor="t", now=now, status="published")


def test_a_live_edit_of_the_package_decides_the_next_addition(session, acme, add):
    add(acme, "extensions", *"101 102 103 104 105".split())
    edit("gold", extensions=6)
    add(acme, "extensions", "106")
    edit("gold", extensions=5)
    refused(lambda: add(acme, "extensions", "107"), "limit_reached")
    assert held(session, acme) == 6


def test_what_is_held_is_listed_in_pages_and_found(session, acme, add):
    add(acme, "devices", *(f"phone {number:03}" for number in range(120)))
    first = listing.find_held(session, acme.id, resource_code="devices")
    second = listing.find_held(session, acme.id, after=first.next_key)
    last = listing.find_held(session, acme.id, after=second.next_key)
    names = [row.name for page in (first, second, last) for row in page.rows]
    assert names == [f"phone {number:03}" for number in range(120)]
    assert (first.previous_key, last.next_key) == (None, None)
    back = listing.find_held(session, acme.id, before=last.previous_key)
    assert [row.id for row in back.rows] == [row.id for row in second.rows]
    assert [row.name for row in listing.find_held(session, acme.id, text="NE 07").rows] == [
        f"phone {number:03}" for number in range(70, 80)
    ]
    assert [row.name for row in listing.every_held(session, acme.id, "devices")] == names


def test_the_smallest_package_that_allows_more_is_the_cheapest_on_sale(session, make, acme):
    def package(code, price, extensions, **spec):
        make.package(code, {"extensions": extensions}, price_micros=price, **spec)

    package("large", 90, 50)
    package("medium", 50, 6)
    package("secret", 10, 50, public=False)
    package("draft", 10, 50, status="draft")
    package("dollars", 10, 50, currency="USD")
    package("yearly", 10, 50, interval="year")

    def fit(quantity):
        found = smallest_package_allowing(session, acme, "extensions", quantity)
        return found and found.code

    assert [fit(quantity) for quantity in (6, 7, 51)] == ["medium", "large", None]
    package("open", 200, None)
    assert fit(51) == "open"

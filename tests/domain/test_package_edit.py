"""What an edit of a package does to the tenants on it; publishing does exactly what was shown; what may be lost."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.core.errors import Conflict, Invalid
from app.db import run_in_transaction, unit_of_work
from app.domain.audit.models import AuditEntry
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec, PackageSpec, may_lose, worst_case_micros
from app.domain.changes.package_edit import preview_edit, publish_previewed
from app.domain.tenants.models import Tenant

EURO = 1_000_000


@pytest.fixture
def gold(make):
    """49.00 for 1,000 minutes and 5 extensions, costs 20.00."""
    limits = {"voice_minutes": 60_000, "extensions": 5}
    return make.package("gold", limits, price_micros=49 * EURO, cost_micros=20 * EURO)


@pytest.fixture
def users(make, gold):
    """Acme used 700 minutes, Globex 1,100, Initech one."""
    source, found = make.source(), []
    for name, minutes in (("Initech", 1), ("Globex", 1_100), ("Acme", 700)):
        found.append(make.tenant(name))
        make.subscribe(found[-1], gold)
        make.usage(found[-1], minutes * 60, source=source)
    return found


def smaller(gold, **changes):
    limits = (LimitSpec("extensions", 5), LimitSpec("voice_minutes", 36_000))
    return replace(catalog.spec_of(gold.revision), **{"limits": limits, "price_micros": 50 * EURO, **changes})


def previewed(spec, now, **more):
    return run_in_transaction(lambda unit: preview_edit(unit, catalog.by_code(unit, "gold"), spec, now=now, **more))


def published(spec, token, now):
    return run_in_transaction(
        lambda unit: publish_previewed(unit, catalog.by_code(unit, "gold"), spec, token, actor="nora", now=now).number
    )


def test_everybody_on_it_is_listed_and_who_goes_over_comes_first(gold, users, now):
    impact = previewed(smaller(gold), now)
    assert [(each.tenant.name, each.goes_over) for each in impact.listed] == [
        ("Acme", True), ("Globex", False), ("Initech", False),
    ]  # fmt: skip
    use = impact.listed[0].limits[0]
    assert (use.resource, use.before, use.after, use.used) == ("voice_minutes", 60_000, 36_000, 42_000)
    assert (use.over_before, use.over_after) == (0, 6_000)
    assert (impact.tenants, impact.go_over) == (3, 1)
    assert [(limit.go_over, limit.back_under) for limit in impact.limits] == [(1, 0)]


def test_revenue_and_margin_are_those_of_all_tenants(gold, users, now):
    impact = previewed(smaller(gold, cost_micros=23 * EURO), now)
    assert (impact.revenue_before_micros, impact.revenue_micros) == (147 * EURO, 150 * EURO)
    assert (impact.margin_before_micros, impact.margin_micros) == (87 * EURO, 81 * EURO)


def test_a_larger_limit_brings_back_under(gold, users, now):
    impact = previewed(smaller(gold, limits=(LimitSpec("voice_minutes", 72_000),)), now)
    assert [each.tenant.name for each in impact.listed] == ["Globex", "Acme", "Initech"]
    assert [(limit.resource, limit.after, limit.back_under) for limit in impact.limits] == [
        ("voice_minutes", 72_000, 1), ("extensions", None, 0),
    ]  # fmt: skip


def test_what_was_carried_over_counts_for_both_limits(make, now):
    gold = make.package("gold", [LimitSpec("voice_minutes", 6_000, rollover_periods=1)])
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, gold, started_at=now - timedelta(days=40))
    make.usage(tenant, 2_000, source=source, occurred_at=now - timedelta(days=35))
    make.usage(tenant, 7_000, source=source)
    spec = replace(catalog.spec_of(gold.revision), limits=(LimitSpec("voice_minutes", 2_000),))
    use = previewed(spec, now).listed[0].limits[0]
    assert (use.before, use.after, use.used, use.over_after) == (10_000, 6_000, 7_000, 1_000)


def test_the_number_of_statements_does_not_grow(gold, users, make, now, count_statements):
    with count_statements() as few:
        previewed(smaller(gold), now)
    source = make.source("pbx2")
    for number in range(12):
        tenant = make.tenant(f"More {number}")
        make.subscribe(tenant, gold)
        make.usage(tenant, 43_000, source=source)
    with count_statements() as many:
        impact = previewed(smaller(gold, limits=()), now, most=4)
    assert len(many) == len(few)
    assert len(impact.listed) == 4 and impact.tenants == 15


def test_what_was_shown_is_published(gold, users, now, session):
    spec = smaller(gold)
    assert published(spec, previewed(spec, now).token, now) == 2
    assert catalog.spec_of(catalog.by_code(session, "gold").revision) == spec


def _edit(make, users, gold, now):
    with unit_of_work() as unit:
        spec = replace(catalog.spec_of(gold.revision), setup_fee_micros=EURO)
        catalog.publish(unit, catalog.by_code(unit, "gold"), spec, actor="mona", now=now)


BREAKS = {
    "somebody published": _edit,
    "a tenant came": lambda make, users, gold, now: make.subscribe(make.tenant("Late"), gold),
    "a tenant went": lambda make, users, gold, now: make.subscribe(users[0], make.package("silver")),
    "one tenant came for another": lambda make, users, gold, now: (
        make.subscribe(users[0], make.package("silver")),
        make.subscribe(make.tenant("Late"), gold),
    ),
    "another one goes over": lambda make, users, gold, now: make.usage(users[0], 40_000, source=make.source("pbx2")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_preview_does_not_outlive_what_it_rests_on(gold, users, make, now, session, what):
    spec = smaller(gold)
    token = previewed(spec, now).token
    BREAKS[what](make, users, gold, now)
    with pytest.raises(Conflict, match="no longer what was shown") as refused:
        published(spec, token, now)
    assert refused.value.code == "preview_stale"
    fresh = previewed(spec, now)
    assert fresh.token != token
    assert published(spec, fresh.token, now) == catalog.by_code(session, "gold").revision.number


def test_a_preview_is_of_its_content_alone(gold, users, now):
    token = previewed(smaller(gold), now).token
    with pytest.raises(Conflict):
        published(smaller(gold, price_micros=51 * EURO), token, now)


def test_usage_that_crosses_no_limit_breaks_no_preview(gold, users, make, now):
    spec = smaller(gold)
    token = previewed(spec, now).token
    make.usage(users[0], 60, source=make.source("pbx2"))
    assert published(spec, token, now) == 2


def test_a_new_period_that_puts_somebody_back_under_breaks_the_preview(gold, users, now):
    spec = smaller(gold)
    token = previewed(spec, now).token
    with pytest.raises(Conflict):
        published(spec, token, now + timedelta(days=40))


def test_the_token_does_not_depend_on_how_many_are_listed(gold, users, now):
    assert previewed(smaller(gold), now, most=1).token == previewed(smaller(gold), now, most=50).token


def test_an_undo_keeps_the_reason_of_what_it_restores(make, now, session):
    lossy = make.package("gold", price_micros=EURO, cost_micros=2 * EURO, loss_reason="  To open  the door ")
    with unit_of_work() as unit:
        spec = replace(catalog.spec_of(lossy.revision), price_micros=3 * EURO)
        assert catalog.publish(unit, catalog.by_code(unit, "gold"), spec, actor="nora", now=now).loss_reason == ""
    with unit_of_work() as unit:
        undone = catalog.undo_publish(unit, catalog.by_code(unit, "gold"), 2, actor="nora", now=now)
        assert (undone.number, undone.loss_reason) == (3, "To open the door")
    entry = session.query(AuditEntry).filter_by(act="package.publish").order_by(AuditEntry.id.desc()).first()
    assert (entry.details["revision"], entry.details["loss_reason"]) == (3, "To open the door")
    assert entry.details["changed"]["loss_reason"][1] == "To open the door"


WORST = [
    # price, cost, limits, worst case; may it lose?
    (49, 20, (), 20, False),
    (49, 20, (LimitSpec("voice_minutes", 60_000, unit_cost_micros=30_000),), 50, True),
    (50, 20, (LimitSpec("voice_minutes", 60_000, unit_cost_micros=30_000),), 50, False),
    (49, 20, (LimitSpec("extensions", 5, unit_cost_micros=EURO), LimitSpec("fax_pages", 10)), 25, False),
    (49, 20, (LimitSpec("voice_minutes", None, unit_cost_micros=1),), None, True),
    (49, 20, (LimitSpec("voice_minutes", None),), 20, False),
    (10, 20, (), 20, True),
]


@pytest.mark.parametrize(("price", "cost", "limits", "worst", "loses"), WORST)
def test_the_worst_case_is_the_cost_with_everything_used_up(session, price, cost, limits, worst, loses):
    spec = PackageSpec("X", price_micros=price * EURO, cost_micros=cost * EURO, limits=limits)
    resources = catalog.list_resources(session)
    assert worst_case_micros(spec, resources) == (None if worst is None else worst * EURO)
    assert may_lose(spec, resources) is loses


def test_without_a_reason_what_may_lose_is_not_published(gold, now):
    spec = smaller(gold, price_micros=EURO)
    with pytest.raises(Invalid) as refused:
        published(spec, previewed(spec, now).token, now)
    assert (refused.value.code, refused.value.details["field"]) == ("missing_loss_reason", "loss_reason")
    spec = replace(spec, loss_reason="A year for a song")
    assert published(spec, previewed(spec, now).token, now) == 2


def test_a_suspended_tenant_is_on_the_package_all_the_same(gold, users, now):
    with unit_of_work() as unit:
        unit.get_one(Tenant, users[0].id).status = "suspended"
    assert previewed(smaller(gold), now).tenants == 3

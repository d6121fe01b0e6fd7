"""Packages as staff see and edit them."""

import re

import pytest
from sqlalchemy import func, insert, select

from app.core.ids import new_ids
from app.db import unit_of_work
from app.domain.catalog import service as catalog
from app.domain.catalog.models import PackageRevision
from app.domain.catalog.specs import LimitSpec
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from tests.factories import ACTOR

EDIT = "/provider/packages/gold/edit"


@pytest.fixture
def staff(make, login):
    return login(make.staff())


def form(**changes):
    """What the editor of `gold` sends."""
    fields = {
        "base": "1",
        "name": "Gold",
        "price": "49.00",
        "cost": "20.00",
        "setup_fee": "0.00",
        "public": "y",
        "limit-voice_minutes-included": "1000",
        "limit-voice_minutes-at_limit": "charge",
        "limit-voice_minutes-price": "0.02",
        "act": "save",
    }
    return {name.replace("__", "-"): value for name, value in {**fields, **changes}.items() if value is not None}


def gold(make, **spec):
    terms = {"price_micros": 49_000_000, "cost_micros": 20_000_000}
    limits = [LimitSpec("voice_minutes", 60_000, "charge", 20_000)]
    return make.package("gold", limits, name="Gold", **{**terms, **spec})


def many_tenants(package, number):
    """Tenants on a package by the row: through the services a thousand take a minute."""
    ids, now = new_ids(2 * number), package.created_at
    with unit_of_work() as act:
        names = [(ids[2 * each], ids[2 * each + 1], f"tenant-{each}") for each in range(number)]
        fixed = {"timezone": "UTC", "currency": "EUR", "created_at": now}
        act.execute(insert(Tenant), [{"id": tenant, "slug": name, "name": name, **fixed} for tenant, _, name in names])
        fixed = {
            "package_id": package.id,
            "starts_on": now.date(),
            "anchor_on": now.date(),
            "started_at": now,
            "open_from": now.date(),
        }
        act.execute(insert(Subscription), [{"tenant_id": tenant, "id": each, **fixed} for tenant, each, _ in names])


def in_force(session):
    return catalog.spec_of(catalog.by_code(session, "gold").revision)


def test_the_list_says_price_margin_tenants_and_limits(make, staff):
    make.subscribe(make.tenant(), gold(make))
    page = staff.get("/provider/packages").get_data(as_text=True)
    assert "€49.00" in page and "€29.00" in page and "59 %" in page
    assert "1,000 minutes" in page
    assert "/provider/tenants?package=gold" in page


def test_a_status_in_the_address_narrows_the_list(make, staff):
    gold(make)
    make.package("silver", status="draft", name="Silver")
    page = staff.get("/provider/packages?status=draft").get_data(as_text=True)
    assert "Silver" in page and "Gold" not in page


def test_two_packages_are_compared_side_by_side(make, staff):
    gold(make)
    make.package("silver", {"voice_minutes": 30_000, "fax_pages": None}, name="Silver")
    page = staff.get("/provider/packages?compare=gold,silver").get_data(as_text=True)
    assert "1,000 minutes, then €0.02 a minute" in page and "500 minutes, stops at the limit" in page
    again = staff.get("/provider/packages?compare=gold&compare=silver").get_data(as_text=True)
    assert page.partition("<main")[2] == again.partition("<main")[2]  # before it, a token that the clock moves


def test_a_new_package_is_on_sale_as_stated(make, staff, session):
    gold(make)
    fields = form(code="platinum", name="Platinum", base="0", currency="CHF", interval="year", act="publish")
    fields |= {"limit-fax_pages-no_limit": "y", "limit-extensions-included": "0"}
    answer = staff.submit("/provider/packages/new", fields)
    assert (answer.status_code, answer.location) == (303, "/provider/packages/platinum")
    made = catalog.by_code(session, "platinum")
    spec = catalog.spec_of(made.revision)
    assert (made.status, spec.currency, spec.interval, spec.price_micros) == ("published", "CHF", "year", 49_000_000)
    assert {limit.resource: limit.included for limit in spec.limits} == {
        "voice_minutes": 60_000,
        "fax_pages": None,
        "extensions": 0,
    }


def test_a_duplicate_begins_with_the_same_content(make, staff):
    gold(make)
    page = staff.get("/provider/packages/gold/duplicate").get_data(as_text=True)
    assert 'value="Copy of Gold"' in page and 'value="0.02"' in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit-voice_minutes-included": "many"}, "Enter a number such as 1000."),
        ({"limit-voice_minutes-price": ""}, "Say what each one costs beyond the limit."),
        ({"price": "12,5"}, "Enter an amount such as 49.00"),
        ({"name": ""}, "Give the package a name."),
        ({"blocked_prefixes": "+1 900"}, "Enter beginnings of 2 to 15 digits with commas between"),
        ({"blocked_prefixes": "1"}, "Enter beginnings of 2 to 15 digits with commas between"),
        ({"blocked_prefixes": ",".join(str(number) for number in range(100, 301))}, "at most 200."),
    ],
)
@pytest.mark.databases("sqlite")
def test_what_cannot_be_read_comes_back_with_its_input(make, staff, session, changes, words):
    gold(make)
    answer = staff.submit(EDIT, {**form(cost="7.77"), **changes})
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert "<title>Error:" in page and page.count(words) == 2  # in the summary and beside the field
    assert 'value="7.77"' in page
    assert in_force(session).cost_micros == 20_000_000


def test_a_taken_code_is_said_at_the_code(make, staff):
    gold(make)
    answer = staff.submit("/provider/packages/new", form(code="gold", currency="EUR", interval="month"))
    assert answer.status_code == 422
    assert 'id="code-error"' in answer.get_data(as_text=True)


def test_publishing_changes_the_package_and_says_what_changed(make, staff, session):
    gold(make)
    answer = staff.publish(EDIT, {**form(price="52"), "limit-voice_minutes-included": "1,200"})
    assert (answer.status_code, answer.location) == (303, "/provider/packages/gold")
    assert in_force(session).limits == (LimitSpec("voice_minutes", 72_000, "charge", 20_000),)
    page = staff.get(answer.location).get_data(as_text=True)
    assert "Revision 2 is published." in page
    assert 'Voice minutes <span class="muted">1,000 →</span> 1,200' in page
    assert 'Price <span class="muted">€49.00 →</span> €52.00' in page


def test_blocked_destinations_are_part_of_what_is_published(make, staff, session):
    gold(make)
    answer = staff.publish(EDIT, form(blocked_prefixes="+1900, 0900,001900,"))
    assert in_force(session).blocked_prefixes == "0900 1900"
    page = staff.get(answer.location).get_data(as_text=True)
    assert 'Blocked destinations <span class="muted">none →</span> 0900, 1900' in page
    assert "<dd>0900, 1900</dd>" in page and 'value="0900, 1900"' in staff.get(EDIT).get_data(as_text=True)
    again = form(base="2", blocked_prefixes="1900,0900")
    staff.publish(EDIT, again)
    assert catalog.by_code(session, "gold").revision.number == 2  # the same again
    staff.publish(EDIT, {**again, "blocked_prefixes": ""})
    session.rollback()
    assert in_force(session).blocked_prefixes == ""


def test_the_same_content_again_makes_no_revision(make, staff, session):
    gold(make)
    staff.publish(EDIT, form())
    assert session.scalar(select(func.count()).select_from(PackageRevision)) == 1


def test_an_edit_on_top_of_somebody_elses_is_refused(make, staff, session):
    gold(make)
    staff.publish(EDIT, form(price="50"))
    answer = staff.publish(EDIT, form(price="60"))
    assert answer.status_code == 409
    assert "Someone published revision 2" in answer.get_data(as_text=True)
    assert in_force(session).price_micros == 50_000_000


def test_a_draft_saved_stays_a_draft_until_it_is_published(make, staff, session):
    make.package("gold", status="draft", name="Gold")
    staff.submit(EDIT, form(currency="EUR", interval="month"))
    assert catalog.by_code(session, "gold").status == "draft"
    staff.submit(EDIT, form(base="2", price="60", currency="EUR", interval="month", act="publish"))
    session.expire_all()
    assert catalog.by_code(session, "gold").status == "published"


def test_typing_shows_what_publishing_would_do(make, staff, now):
    package, source = gold(make), make.source()
    for name, used in (("Acme", 700 * 60), ("Globex", 1_100 * 60), ("Initech", 60)):
        tenant = make.tenant(name)
        make.subscribe(tenant, package)
        make.usage(tenant, used, source=source)
    answer = staff.submit(
        EDIT,
        {**form(price="50", act=None), "limit-voice_minutes-included": "600"},
        headers={"HX-Request": "true", "HX-Target": "div#impact"},
    )
    fragment = answer.get_data(as_text=True)
    assert answer.status_code == 200 and fragment.lstrip().startswith('<div id="impact"')
    assert "Get 400 fewer minutes" in fragment
    assert "Have used more than 600 minutes" in fragment and "Acme" in fragment
    assert "1 of 3 tenants goes over" in fragment  # Globex was over before
    assert fragment.index("Acme") < fragment.index("Globex") < fragment.index("Initech")
    assert '700 used of 1,000 → 600, <b class="bad">over by 100</b>' in fragment
    assert "€147.00 → €150.00" in fragment and "€87.00 → €90.00" in fragment  # revenue and margin
    assert fragment.count("+ €3.00") == 2  # one more for each of three tenants


def test_typing_half_a_number_is_no_mistake_yet(make, staff):
    gold(make)
    answer = staff.submit(EDIT, form(price="5,"), headers={"HX-Request": "true", "HX-Target": "div#impact"})
    assert answer.status_code == 200
    assert "Some fields cannot be read yet." in answer.get_data(as_text=True)


def test_publishing_writes_the_same_for_one_tenant_and_for_a_thousand(make, staff, count_statements, session):
    package = gold(make)
    make.subscribe(make.tenant(), package)
    with count_statements() as for_one:
        staff.publish(EDIT, form(price="50"))
    many_tenants(package, 999)
    assert session.scalar(select(func.count()).select_from(Subscription)) == 1_000
    with count_statements() as for_thousand:
        staff.publish(EDIT, form(base="2", price="51"))
    assert writes(for_thousand) == writes(for_one)
    assert len(for_thousand) == len(for_one)
    assert in_force(session).price_micros == 51_000_000


def writes(seen):
    return [text for text in seen.texts if text.startswith(("INSERT", "UPDATE", "DELETE"))]


def test_archiving_is_undone_by_putting_it_on_sale_again(make, staff, session):
    gold(make)
    page = staff.submit("/provider/packages/gold/archive", follow_redirects=True).get_data(as_text=True)
    assert 'action="/provider/packages/gold/publish"' in page and "Undo" in page
    assert catalog.by_code(session, "gold").status == "archived"
    staff.submit("/provider/packages/gold/publish")
    session.expire_all()
    assert catalog.by_code(session, "gold").status == "published"


def test_the_list_of_packages_costs_the_same_however_many_there_are(make, staff, count_statements):
    gold(make)
    with count_statements() as few:
        staff.get("/provider/packages")
    for number in range(20):
        make.package(f"more-{number}", {"voice_minutes": 600, "fax_pages": 10})
    with count_statements() as many:
        staff.get("/provider/packages")
    assert len(many) == len(few)


def test_a_new_resource_is_used_in_a_package_at_once(make, staff, session):
    gold(make)
    fields = {
        "name": "International minutes",
        "code": "international_minutes",
        "kind": "metered",
        "base_unit": "second",
        "unit_one": "minute",
        "unit_many": "minutes",
        "factor": "60",
        "first_step": "60",
        "next_step": "60",
    }
    assert staff.submit("/provider/resources/new", fields).status_code == 303
    assert "International minutes" in staff.get("/provider/resources").get_data(as_text=True)
    answer = staff.publish(EDIT, {**form(), "limit-international_minutes-included": "50"})
    assert answer.status_code == 303
    assert LimitSpec("international_minutes", 3_000) in in_force(session).limits


@pytest.mark.databases("sqlite")
def test_a_resource_with_a_bad_code_or_step_comes_back(make, staff):
    fields = {"name": "X", "code": "No good", "kind": "metered", "base_unit": "item", "unit_one": "x", "unit_many": "x"}
    answer = staff.submit("/provider/resources/new", {**fields, "factor": "1", "first_step": "0", "next_step": "1"})
    assert answer.status_code == 422 and 'id="first_step-error"' in answer.get_data(as_text=True)
    answer = staff.submit("/provider/resources/new", {**fields, "factor": "1", "first_step": "1", "next_step": "1"})
    assert answer.status_code == 422 and 'id="code-error"' in answer.get_data(as_text=True)


PAGES = ("/provider/packages", "/provider/packages/gold", EDIT, "/provider/packages/new", "/provider/resources")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.databases("sqlite")
def test_to_a_tenants_user_these_pages_do_not_exist(make, login, client, path):
    gold(make)
    assert login(make.user(make.tenant())).get(path).status_code == 404
    assert client.get(path).headers["Location"].startswith("/login")


def test_who_published_stands_in_the_history(make, login, session):
    gold(make)
    login(make.staff("nora@northline.example")).publish(EDIT, form(price="50"))
    numbers = {found.number: found.published_by for found in session.scalars(select(PackageRevision))}
    assert numbers == {1: ACTOR, 2: "nora@northline.example"}


def test_what_is_left_lives_on_as_the_editor_says(make, staff, session):
    gold(make)
    rolled = {"limit-voice_minutes-rollover": "2", "limit-voice_minutes-cap": "500"}
    assert staff.publish(EDIT, form(act="publish", **rolled)).status_code == 303
    limit = in_force(session).limits[0]
    assert (limit.rollover_periods, limit.rollover_cap) == (2, 30_000)
    page = staff.get("/provider/packages/gold").get_data(as_text=True)
    assert "lives on for 2 periods" in page
    editor = staff.get(EDIT).get_data(as_text=True)
    assert '<option selected value="2">lives on for 2 periods</option>' in editor and 'value="500"' in editor


def test_an_odd_number_of_periods_that_a_machine_set_survives_an_edit(make, staff, session):
    make.package("gold", [LimitSpec("voice_minutes", 60_000, "charge", 20_000, 7)], name="Gold")
    assert '<option selected value="7">' in staff.get(EDIT).get_data(as_text=True)
    staff.publish(EDIT, form(act="publish", price="50", **{"limit-voice_minutes-rollover": "7"}))
    assert in_force(session).limits[0].rollover_periods == 7


@pytest.mark.parametrize("periods", ["25", "-1", "x"])
def test_no_other_number_of_periods_is_taken(make, staff, session, periods):
    gold(make)
    answer = staff.submit(EDIT, form(act="publish", **{"limit-voice_minutes-rollover": periods}))
    assert answer.status_code == 422
    assert in_force(session).limits[0].rollover_periods == 0


def test_an_edit_is_undone_from_the_message_and_from_the_page(make, login):
    staff = login(make.staff())
    make.package("silver", {"voice_minutes": 600}, name="Silver")
    edit = {"base": "1", "name": "Silver", "public": "y", "limit-voice_minutes-included": "5", "act": "save"}
    page = staff.publish("/provider/packages/silver/edit", edit, follow_redirects=True).text
    undo = "/provider/packages/silver/revisions/2/undo"
    assert page.count(f'action="{undo}"') == 2
    assert "says what was before revision 2" in staff.submit(undo, follow_redirects=True).text
    assert "can no longer be undone" in staff.submit(undo, follow_redirects=True).text


def test_publishing_what_was_not_looked_at_is_refused_and_shown(make, staff, session):
    make.subscribe(make.tenant(), gold(make))
    answer = staff.submit(EDIT, form(price="50"))
    page = answer.get_data(as_text=True)
    assert answer.status_code == 409 and "Nothing was published." in page and "€49.00 → €50.00" in page
    assert in_force(session).price_micros == 49_000_000
    seen = re.search(r'name="preview" value="(\w+)"', page)[1]
    assert staff.submit(EDIT, form(price="50", preview=seen)).status_code == 303
    session.expire_all()
    assert in_force(session).price_micros == 50_000_000


def test_a_thousand_tenants_are_listed_from_the_front_with_a_count(make, staff, count_statements):
    package = gold(make)
    many_tenants(package, 1_000)
    late, source = make.tenant("Zeppelin"), make.source()
    make.subscribe(late, package)
    make.usage(late, 700 * 60, source=source)
    fields = {**form(act=None), "limit-voice_minutes-included": "600"}
    with count_statements() as few:
        page = staff.submit(EDIT, fields).text
    assert "1 of 1,001 tenants goes over" in page and "List more of the other 981" in page
    assert page.count('href="/provider/tenants/tenant-') == 19 and 'href="/provider/tenants/zeppelin"' in page
    with count_statements() as many:
        page = staff.submit(EDIT, {**fields, "listed": "120"}).text
    assert page.count('href="/provider/tenants/tenant-') == 119
    assert len(few) == len(many)


def test_a_package_that_may_lose_wants_a_reason_and_keeps_it(make, staff, session):
    gold(make)
    fields = form(**{"limit-voice_minutes-cost": "0.03"})  # 20.00 + 1,000 × 0.03 = 50.00 for 49.00
    page = staff.submit(EDIT, {**fields, "act": "preview"}).text
    assert "costs you €50.00: €1.00 more than the price" in page
    answer = staff.publish(EDIT, fields)
    assert answer.status_code == 422 and 'id="loss_reason-error"' in answer.text
    assert in_force(session).limits[0].unit_cost_micros == 0
    assert staff.publish(EDIT, {**fields, "loss_reason": "Opens the door to Acme"}).status_code == 303
    session.expire_all()
    spec = in_force(session)
    assert (spec.loss_reason, spec.limits[0].unit_cost_micros) == ("Opens the door to Acme", 30_000)
    page = staff.get("/provider/packages/gold").text
    assert "Opens the door to Acme" in page and "your cost of each minute" in page


@pytest.mark.databases("sqlite")
def test_a_new_package_that_may_lose_wants_a_reason(make, staff, session):
    gold(make)
    fields = form(code="cheap", name="Cheap", base="0", price="10", currency="EUR", interval="month", act="publish")
    answer = staff.submit("/provider/packages/new", fields)
    assert answer.status_code == 422 and 'id="loss_reason-error"' in answer.text
    assert staff.submit("/provider/packages/new", {**fields, "loss_reason": "Fair"}).status_code == 303
    assert catalog.by_code(session, "cheap").revision.loss_reason == "Fair"

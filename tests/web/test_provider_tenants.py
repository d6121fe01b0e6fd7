"""Tenants as staff find, change and move them; the first page; sources."""

import csv
import io
import re
from datetime import timedelta
from html import unescape

import pytest
from sqlalchemy import select

from app.db import run_in_transaction
from app.domain.accounts import service as accounts
from app.domain.accounts.models import ApiKey
from app.domain.accounts.roles import Role
from app.domain.billing import service as billing
from app.domain.billing.terms import Issuer, Terms
from app.domain.insight import tenant_list
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant

ROWS = "section#tenant_rows"


@pytest.fixture
def staff(make, login):
    return login(make.staff())


def names(answer):
    """The tenants listed, in order."""
    return re.findall(r'<th scope="row"><span><a href="/provider/tenants/([^"]+)">', answer.get_data(as_text=True))


def profile(**changes):
    fields = {"name": "Acme GmbH", "slug": "acme", "timezone": "Europe/Berlin", "currency": "EUR", "country": "DE"}
    return {**fields, **changes}


def test_the_list_shows_package_price_and_what_is_left(make, staff):
    tenant, package = make.tenant(), make.package("gold", {"voice_minutes": 60_000}, price_micros=49_000_000)
    make.subscribe(tenant, package)
    make.usage(tenant, 54_000, source=make.source())
    page = staff.get("/provider/tenants").get_data(as_text=True)
    assert "100 of 1,000 minutes left" in page and "€49.00 a month" in page and "nearly used up" in page


@pytest.mark.parametrize("text", ["Acme", "acme.exa", "A-77", "cme"])
def test_a_tenant_is_found_by_name_slug_domain_and_account_code(make, staff, text):
    make.tenant("Acme", domain="acme.example", account_code="A-77")
    make.tenant("Globex")
    assert names(staff.get("/provider/tenants", query_string={"text": text})) == ["acme"]


@pytest.mark.databases("sqlite")
def test_what_is_searched_for_is_no_pattern(make, staff):
    make.tenant("Acme")
    assert names(staff.get("/provider/tenants?text=%25")) == []
    assert names(staff.get("/provider/tenants?text=a%00")) == ["acme"]


def test_filters_by_state_and_package(make, staff):
    gold, silver = make.package("gold", {"voice_minutes": 600}), make.package("silver", {"voice_minutes": 600})
    full, new, away, none = (make.tenant(name) for name in ("Full", "New", "Away", "Zero"))
    for tenant, package in ((full, gold), (new, gold), (away, silver)):
        make.subscribe(tenant, package)
    make.usage(full, 500, source=make.source())
    staff.submit("/provider/tenants/away/suspend")
    listed = {state: names(staff.get(f"/provider/tenants?state={state}")) for state in ("near", "none", "suspended")}
    assert listed == {"near": ["full"], "none": [none.slug], "suspended": ["away"]}
    assert names(staff.get("/provider/tenants?package=gold&sort=-name")) == ["new", "full"]


def test_near_a_limit_counts_the_running_period_alone(make, staff, now):
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 600}), started_at=now - timedelta(days=40))
    make.usage(tenant, 590, source=source, occurred_at=now - timedelta(days=35))
    assert names(staff.get("/provider/tenants?state=near")) == []


@pytest.mark.parametrize("sort", ["name", "-name", "package", "-package", "created", "-created"])
def test_pages_in_every_order_hold_every_tenant_once_and_lead_back(make, staff, sort):
    package = make.package()
    for number in range(60):
        tenant = make.tenant(f"Tenant {number % 7} {number:02d}")
        if number % 3:
            make.subscribe(tenant, package)
    pages, url = [], f"/provider/tenants?sort={sort}&state=active"
    while url:
        answer = staff.get(url)
        pages.append(names(answer))
        found = re.search(r'href="([^"]+)" rel="next"', answer.get_data(as_text=True))
        url = found[1].replace("&amp;", "&") if found else ""
        assert not url or ("state=active" in url and f"sort={sort}" in url)
    assert [len(page) for page in pages] == [25, 25, 10]
    assert len({name for page in pages for name in page}) == 60
    back = re.search(r'href="([^"]+)" rel="prev"', answer.get_data(as_text=True))
    assert names(staff.get(back[1].replace("&amp;", "&"))) == pages[1]


@pytest.mark.parametrize("sort", ["name", "-package", "created"])
def test_the_export_has_every_tenant_that_fits_in_the_order_of_the_list(make, staff, sort, monkeypatch):
    monkeypatch.setattr(tenant_list, "CHUNK", 2)
    gold = make.package("gold", {"voice_minutes": 600}, price_micros=49_990_000)
    for number in range(5):
        tenant = make.tenant(f"Tenant {number}")
        if number % 2:
            make.subscribe(tenant, gold)
    make.tenant("Other")
    query = {"text": "tenant", "sort": sort}
    page = staff.get("/provider/tenants", query_string=query)
    rows = exported(staff.get("/provider/tenants.csv", query_string=query))
    assert [row["slug"] for row in rows] == names(page) and len(rows) == 5
    link = re.search(r'href="(/provider/tenants\.csv[^"]*)"', page.text)[1]
    assert exported(staff.get(unescape(link))) == rows


def test_the_export_tells_the_price_and_how_near_its_limit_each_is(make, staff):
    tenant = make.tenant("=Acme", slug="acme")
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 600, "fax_pages": 10}, price_micros=49_990_000))
    make.usage(tenant, 479, source=make.source())
    make.tenant("Zero")
    acme, zero = exported(staff.get("/provider/tenants.csv"))
    assert (acme["name"], acme["package"], acme["price"], acme["per"]) == ("'=Acme", "gold", "49.99", "month")
    assert (acme["nearest its limit"], acme["percent used"]) == ("voice_minutes", "79")
    assert (zero["package"], zero["price"], zero["percent used"]) == ("", "", "")
    make.usage(tenant, 1, source=make.source("pbx2"))
    near = {"state": "near"}
    assert [row["slug"] for row in exported(staff.get("/provider/tenants.csv", query_string=near))] == ["acme"]


def exported(answer):
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_typing_swaps_the_rows_alone(make, staff):
    make.tenant("Acme")
    answer = staff.fragment("/provider/tenants?text=ac", ROWS)
    html = answer.get_data(as_text=True)
    assert html.lstrip().startswith('<section class="card" id="tenant_rows"') and "<html" not in html
    assert "HX-Target" in answer.headers["Vary"]


def test_the_list_costs_the_same_however_many_rows_it_has(make, staff, count_statements):
    package, source = make.package("gold", {"voice_minutes": 600, "fax_pages": 10}), make.source()
    counts = []
    for first, last in ((0, 2), (2, 20)):
        for number in range(first, last):
            tenant = make.tenant(f"Tenant {number}")
            make.subscribe(tenant, package)
            make.usage(tenant, 60, source=source)
        with count_statements() as seen:
            assert len(names(staff.get("/provider/tenants"))) == last
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_a_tenant_is_created_and_its_page_says_what_is_missing(staff, session):
    answer = staff.submit("/provider/tenants/new", profile(domain="acme.example", blocked_prefixes="+1900"))
    assert (answer.status_code, answer.location) == (303, "/provider/tenants/acme")
    assert tenants.by_name(session, "ACME.example").timezone == "Europe/Berlin"
    page = staff.get(answer.location).get_data(as_text=True)
    assert "No package yet" in page and "Nobody can sign in" in page
    assert "Blocked destinations</dt><dd>1900</dd>" in page


@pytest.mark.databases("sqlite")
def test_a_new_tenant_begins_with_what_the_address_knows(staff):
    page = staff.get("/provider/tenants/new?domain=acme.example&slug=acme").get_data(as_text=True)
    assert 'value="acme.example"' in page and 'value="acme"' in page


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "No Good"}, "slug"),
        ({"name": ""}, "name"),
        ({"contact_email": "nobody"}, "contact_email"),
        ({"slug": "new"}, "slug"),
        ({"blocked_prefixes": "premium"}, "blocked_prefixes"),
    ],
)
@pytest.mark.databases("sqlite")
def test_a_bad_profile_comes_back_with_its_input(staff, changes, field):
    answer = staff.submit("/provider/tenants/new", profile(account_code="kept-77", **changes))
    page = answer.get_data(as_text=True)
    assert answer.status_code == 422
    assert f'id="{field}-error"' in page and f'href="#{field}"' in page and 'value="kept-77"' in page


def test_a_name_of_somebody_else_is_said_at_its_field(make, staff):
    make.tenant("Globex", domain="shared.example")
    answer = staff.submit("/provider/tenants/new", profile(domain="Shared.example"))
    assert answer.status_code == 422 and 'id="domain-error"' in answer.get_data(as_text=True)


def test_the_currency_stays_while_there_is_a_package(make, staff, session):
    make.subscribe(make.tenant(), make.package())
    answer = staff.submit("/provider/tenants/acme/edit", profile(currency="CHF"))
    assert answer.status_code == 422 and 'id="currency-error"' in answer.get_data(as_text=True)
    answer = staff.submit("/provider/tenants/acme/edit", profile(name="Acme AG"))
    assert answer.status_code == 303
    assert tenants.by_slug(session, "acme").name == "Acme AG"


def test_suspending_offers_its_undo(make, staff, session):
    make.tenant()
    page = staff.submit("/provider/tenants/acme/suspend", follow_redirects=True).get_data(as_text=True)
    assert "is suspended" in page and 'action="/provider/tenants/acme/resume"' in page
    assert tenants.by_slug(session, "acme").status == "suspended"
    staff.submit("/provider/tenants/acme/resume")
    session.expire_all()
    assert tenants.by_slug(session, "acme").status == "active"


def test_those_ticked_are_suspended_with_one_undo_that_leaves_the_others(make, staff, session):
    for name in ("Acme", "Globex", "Initech"):
        make.tenant(name)
    staff.submit("/provider/tenants/globex/suspend")
    staff.get("/provider")  # says that
    ticked = {"act": "suspend", "tenant": ["acme", "globex"]}
    page = staff.submit("/provider/tenants/ticked?sort=-name", ticked, follow_redirects=True).text
    assert "1 tenant is suspended." in page and 'aria-sort="descending"' in page
    assert names_by_status(session) == {"suspended": ["acme", "globex"], "active": ["initech"]}
    undo = unescape(re.search(r'action="(/provider/tenants/ticked[^"]*act=resume[^"]*)"', page)[1])
    assert "1 tenant is active again." in staff.submit(undo, follow_redirects=True).text
    assert names_by_status(session) == {"suspended": ["globex"], "active": ["acme", "initech"]}


def names_by_status(session):
    session.expire_all()
    return {
        status: sorted(session.scalars(select(Tenant.slug).where(Tenant.status == status)))
        for status in ("suspended", "active")
    }


def test_nobody_ticked_and_nothing_to_do_are_said_and_an_unknown_one_stops_all(make, staff, session):
    make.tenant("Acme")
    assert (
        "Nobody is ticked" in staff.submit("/provider/tenants/ticked", {"act": "suspend"}, follow_redirects=True).text
    )
    nothing = {"act": "resume", "tenant": "acme"}
    assert (
        "None of them was suspended." in staff.submit("/provider/tenants/ticked", nothing, follow_redirects=True).text
    )
    assert staff.submit("/provider/tenants/ticked", {"act": "suspend", "tenant": ["acme", "gone"]}).status_code == 404
    assert names_by_status(session) == {"suspended": [], "active": ["acme"]}


def test_who_may_not_change_tenants_has_nothing_to_tick(make, login):
    make.tenant("Acme")
    reader = login(make.staff(role=Role.READ_ONLY))
    assert 'type="checkbox"' not in reader.get("/provider/tenants").text
    assert reader.submit("/provider/tenants/ticked", {"act": "suspend", "tenant": "acme"}).status_code == 403


def test_the_page_shows_meters_people_and_packages_so_far(make, staff, now):
    tenant = make.tenant()
    make.user(tenant, "uma@acme.example")
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000}), started_at=now - timedelta(days=3))
    make.usage(tenant, 24_000, source=make.source())
    page = staff.get("/provider/tenants/acme").get_data(as_text=True)
    assert 'data-meter="voice_minutes"' in page and 'data-used="24000"' in page and 'data-remaining="36000"' in page
    assert re.search(r'href="/provider/tenants/acme/usage\?resource=voice_minutes&amp;[^"]*">400 used<', page)
    assert "uma@acme.example" in page and 'href="/provider/packages/gold"' in page
    fragment = staff.fragment("/provider/tenants/acme/meters", "div#meters").get_data(as_text=True)
    assert 'data-used="24000"' in fragment and "<html" not in fragment


def test_the_page_shows_what_is_owed_the_latest_invoices_and_the_next_one(make, staff, login, now):
    tenant, gold = make.tenant(), make.package("gold", {"concurrent_calls": 5}, price_micros=30_000_000)
    make.subscribe(tenant, gold, started_at=now - timedelta(days=3))
    assert "Next: €30.00, due with the next bill run" in staff.get("/provider/tenants/acme").text
    run_in_transaction(lambda session: _issue_first(session, tenant.id, now))
    page = staff.get("/provider/tenants/acme").text
    assert "Owes €30.00 · Next: €30.00 on 21 December, with usage so far" in page
    assert re.search(r'href="/provider/tenants/acme/invoices/\d+">Invoice 2026-00001<', page)
    assert 'href="/provider/invoices?tenant=acme"' in page and 'href="/provider/calls?text=acme"' in page


def _issue_first(session, tenant_id, now):
    found = subscriptions.live(session, tenant_id)
    period, terms = subscriptions.period_of(found, now), Terms(Issuer("Northline"))
    invoice = billing.draft(session, found, period, terms, now=now, reason="start")
    billing.finalise(session, invoice, terms, actor="t", now=now)


def test_the_meters_stand_below_the_pages_own_head_and_link_to_no_tenants_page(make, staff, now):
    tenant = make.tenant()
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000}), started_at=now - timedelta(days=3))
    page = staff.get("/provider/tenants/acme").get_data(as_text=True)
    fragment = staff.fragment("/provider/tenants/acme/meters", "div#meters").get_data(as_text=True)
    assert (page.count("<h1"), fragment.count("<h1")) == (1, 0)
    assert "/portal" not in page + fragment


def test_the_person_of_another_tenant_is_not_closed_from_here(make, staff, session):
    make.tenant()
    stranger = make.user(make.tenant("Globex"))
    assert staff.submit(f"/provider/tenants/acme/people/{stranger.id}/close").status_code == 404
    assert accounts.by_email(session, stranger.email).disabled_at is None


def moved(staff, package="silver"):
    """The confirmation of the preview that stands on the page."""
    page = staff.get(f"/provider/tenants/acme/plan?package={package}").get_data(as_text=True)
    quote = re.search(r'name="quote" value="([^"]+)"', page)[1]
    return page, lambda: staff.submit("/provider/tenants/acme/plan", {"package": package, "quote": quote})


def test_a_move_shows_its_figures_and_does_what_they_say(make, staff, session):
    tenant, source = make.tenant(), make.source()
    make.subscribe(tenant, make.package("gold", {"voice_minutes": 60_000, "fax_pages": 100}))
    make.package("silver", {"voice_minutes": 120_000, "fax_pages": 10})
    make.usage(tenant, 48_000, source=source)
    make.usage(tenant, 12, "fax_pages", source=source)
    page, confirm = moved(staff)
    assert ">1,200</td>" in page  # 800 of 1,000 used, moved to 2,000
    assert "over by 2" in page
    assert confirm().status_code == 303
    assert subscriptions.live(session, tenant.id).package.code == "silver"
    assert 'data-remaining="72000"' in staff.get("/provider/tenants/acme").get_data(as_text=True)


def test_a_first_package_begins_today(make, staff, session):
    tenant = make.tenant()
    make.package("silver", {"voice_minutes": 600})
    page, confirm = moved(staff)
    assert "its first period begins today" in page
    assert confirm().status_code == 303
    assert subscriptions.live(session, tenant.id).package.code == "silver"


def test_figures_that_no_longer_hold_are_shown_anew(make, staff, session):
    tenant, gold = make.tenant(), make.package("gold", {"voice_minutes": 600})
    make.subscribe(tenant, gold)
    make.package("silver", {"voice_minutes": 1_200}, name="Silver")
    _, confirm = moved(staff)
    fields = {"base": "1", "name": "Silver", "limit-voice_minutes-included": "5", "act": "save"}
    assert staff.publish("/provider/packages/silver/edit", fields).status_code == 303
    answer = confirm()
    assert answer.status_code == 409 and "Nothing was done" in answer.get_data(as_text=True)
    assert subscriptions.live(session, tenant.id).package.code == "gold"


def test_a_package_that_does_not_fit_is_refused_with_the_reason(make, staff, session):
    tenant = make.tenant()
    make.package("silver", {"voice_minutes": 600}, status="draft")
    answer = staff.get("/provider/tenants/acme/plan?package=silver", follow_redirects=True)
    assert "only a published package is sold" in answer.get_data(as_text=True)
    assert subscriptions.live(session, tenant.id) is None


def test_only_packages_on_sale_in_its_currency_are_offered(make, staff):
    make.tenant()
    make.package("gold")
    make.package("swiss", currency="CHF")
    make.package("later", status="draft")
    page = staff.get("/provider/tenants/acme/plan").get_data(as_text=True)
    assert "package=gold" in page and "package=swiss" not in page and "package=later" not in page


def test_the_first_page_adds_up_a_month(make, staff):
    make.subscribe(make.tenant("Acme"), make.package("gold", price_micros=49_000_000, cost_micros=20_000_000))
    make.subscribe(make.tenant("Globex"), make.package("yearly", price_micros=120_000_000, interval="year"))
    swiss = make.package("swiss", price_micros=30_000_000, currency="CHF")
    make.subscribe(make.tenant("Initech", currency="CHF"), swiss)
    page = staff.get("/provider").get_data(as_text=True)
    assert "<h1>€59.00 a month</h1>" in page and "and CHF" in page
    assert "€39.00" in page  # the margin of both
    assert "state=subscribed&amp;currency=CHF" in page
    assert names(staff.get("/provider/tenants?state=subscribed&currency=CHF")) == ["initech"]


def test_the_first_page_calls_tenants_by_their_names(make, staff):
    make.tenant("Weberei & Söhne", slug="weberei")
    page = staff.get("/provider").text
    assert '<a href="/provider/tenants/weberei">Weberei &amp; Söhne</a>' in page


@pytest.mark.databases("sqlite")
def test_the_first_page_of_an_empty_installation_says_what_to_do(staff):
    page = staff.get("/provider").get_data(as_text=True)
    assert "Nothing is sold yet" in page and 'href="/provider/tenants/new"' in page


def test_a_source_is_registered_and_issued_its_first_key(make, staff, session):
    form = {"name": "PBX 2", "code": "pbx2", "metered_directions": ["outbound", "inbound"], "time_zone": "UTC"}
    form["trunk_patterns"] = "PJSIP/carrier-*\r\n\r\nDAHDI/*\r\n"
    assert staff.submit("/provider/sources/new", form).headers["Location"] == "/provider/keys/new?source=pbx2"
    settings = accounts.settings_of(accounts.source_by_code(session, "pbx2"))
    assert settings.metered_directions == ("outbound", "inbound")
    assert settings.trunk_patterns == ("PJSIP/carrier-*", "DAHDI/*")
    assert '<option selected value="pbx2">' in staff.get("/provider/keys/new?source=pbx2").text


@pytest.mark.databases("sqlite")
def test_who_may_issue_no_key_registers_a_source_without_one(make, login, session):
    support = login(make.staff(role=Role.SUPPORT))
    form = {"name": "PBX 2", "code": "pbx2", "time_zone": "UTC"}
    assert support.submit("/provider/sources/new", form).headers["Location"] == "/provider/sources/pbx2"
    assert session.query(ApiKey).count() == 0


@pytest.mark.databases("sqlite")
def test_a_taken_source_code_is_said_at_its_field(make, staff):
    make.source()
    answer = staff.submit("/provider/sources/new", {"name": "x", "code": "pbx1", "time_zone": "UTC"})
    assert answer.status_code == 422 and 'id="code-error"' in answer.get_data(as_text=True)


PAGES = (
    "/provider", "/provider/tenants", "/provider/tenants/new", "/provider/tenants/acme", "/provider/tenants/acme/edit",
    "/provider/tenants/acme/plan", "/provider/tenants/acme/people/invite", "/provider/tenants/acme/meters",
    "/provider/sources", "/provider/sources/new", "/provider/sources/pbx1", "/provider/sources/pbx1/edit",
)  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.databases("sqlite")
def test_pages_are_open_to_staff_alone(make, login, client, path):
    tenant = make.tenant()
    make.source()
    assert login(make.staff()).get(path).status_code == 200
    assert login(make.user(tenant)).get(path).status_code == 404
    assert client.get(path).headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", ["/provider/tenants/nobody", "/provider/packages/none", "/provider/sources/none"])
@pytest.mark.databases("sqlite")
def test_what_does_not_exist_is_not_found(staff, path):
    assert staff.get(path).status_code == 404

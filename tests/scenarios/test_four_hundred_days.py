"""Four hundred days of four tenants in awkward time zones: what they were billed is what a recount by fractions says.

The recount knows nothing of the portal's arithmetic: its own calendar, its own counter, exact fractions, one rounding a line.
"""

import calendar
import random
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from math import floor
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from app.core.usage import UsageEvent
from app.db import run_in_transaction, unit_of_work
from app.domain.billing import profiles, run, service
from app.domain.billing.lines import Rate
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.billing.profiles import Profile
from app.domain.billing.terms import Issuer, Terms
from app.domain.catalog import service as catalog
from app.domain.catalog.specs import LimitSpec
from app.domain.metering.ingest import ingest
from app.domain.metering.reports import Report
from app.domain.tenants.models import Tenant
from tests.domain.test_billing import check_books

START = datetime(2026, 1, 30, 20, tzinfo=UTC)  # the last days of January are where months go wrong
DAYS = 400
LATE_DAYS = 2
TERMS = Terms(Issuer("Northline"), prefix="2026-", late_days=LATE_DAYS)
# Name, zone, currency, coins in a unit, tax in percent, whether prices hold it.
TENANTS = (
    ("berlin", "Europe/Berlin", "EUR", 100, 19, False),
    ("new-york", "America/New_York", "EUR", 100, Fraction("8.875"), False),
    ("lord-howe", "Australia/Lord_Howe", "EUR", 100, 10, True),
    ("kiritimati", "Pacific/Kiritimati", "JPY", 1, 0, False),
)
# Price, included seconds, price of a minute beyond.
PACKAGES = {
    "small": ("19.99", 3_000, "0.0215"),
    "middle": ("49.50", 9_000, "0.019"),
    "large": ("101.37", 20_000, "0.0105"),
}


def micros(amount):
    return int(Fraction(amount) * 1_000_000)


@dataclass
class Book:
    """What the recount keeps of one tenant."""

    zone: ZoneInfo
    coins: int
    tax: Fraction
    inclusive: bool
    anchor: date
    moves: list = field(default_factory=list)  # (moment, package)
    used: dict = field(default_factory=lambda: defaultdict(int))
    beyond: dict = field(default_factory=lambda: defaultdict(int))  # (period, price, late): seconds
    open_from: date | None = None
    totals: list = field(default_factory=list)

    def period(self, index):
        return self._day(index), self._day(index + 1)

    def _day(self, index):
        year, month = divmod(self.anchor.year * 12 + self.anchor.month - 1 + index, 12)
        return date(year, month + 1, min(self.anchor.day, calendar.monthrange(year, month + 1)[1]))

    def index_of(self, day):
        return next(index for index in range(30) if self.period(index)[0] <= day < self.period(index)[1])

    def midnight(self, day):
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def rounded(self, amount):
        """Half-up to whole coins."""
        return Fraction(floor(abs(amount) * self.coins + Fraction(1, 2)) * (1 if amount >= 0 else -1), self.coins)

    def package_at(self, moment):
        return [package for since, package in self.moves if since <= moment][-1]


class World:
    """What happened, as the recount knows it."""

    def __init__(self):
        self.prices = {code: [(START - timedelta(days=1), Fraction(price))] for code, (price, _, _) in PACKAGES.items()}
        self.minutes = {
            code: [(START - timedelta(days=1), Fraction(beyond))] for code, (_, _, beyond) in PACKAGES.items()
        }

    @staticmethod
    def at(history, moment):
        return [price for since, price in history if since <= moment][-1]

    def use(self, book, seconds, occurred_at, now):
        index = book.index_of(occurred_at.astimezone(book.zone).date())
        late = book.period(index)[0] < book.open_from
        if late:
            running = book.period(book.index_of(now.astimezone(book.zone).date()))[0]
            index = book.index_of(max(book.open_from, running))
        code = book.package_at(now)
        included, before = PACKAGES[code][1], book.used[index]
        book.used[index] += seconds
        beyond = max(0, before + seconds - included) - max(0, before - included)
        book.beyond[index, self.at(self.minutes[code], now), late] += beyond

    def first_invoice(self, book):
        self.close(book, [self.at(self.prices[book.moves[0][1]], book.moves[0][0])])

    def invoice(self, book, index):
        first, end = book.period(index)
        starts, ends, days = book.midnight(first), book.midnight(end), (end - first).days
        amounts = [self.at(self.prices[book.package_at(ends)], ends)]
        for (_, old), (moment, new) in zip(book.moves, book.moves[1:], strict=False):
            if starts < moment < ends:
                left = Fraction((end - moment.astimezone(book.zone).date()).days, days)
                since = max(starts, [at for at, package in book.moves if at < moment and package == old][-1])
                amounts += [-self.at(self.prices[old], since) * left, self.at(self.prices[new], moment) * left]
        amounts += [price * seconds / 60 for (at, price, _), seconds in book.beyond.items() if at == index]
        self.close(book, amounts)
        book.open_from = end

    def close(self, book, amounts):
        net = sum(map(book.rounded, amounts))
        share = book.tax / 100
        book.totals.append(net if book.inclusive else net + book.rounded(net * share))


def bill(now):
    """One bill run as staff does it: whatever is set aside is looked at and accepted."""
    with unit_of_work() as session:
        run_id = run.start(session, actor="nora", now=now).id
    run_in_transaction(
        lambda session: run.step(session, {"run_id": run_id, "phase": "drafting", "after": None}, TERMS, now=now)
    )
    with unit_of_work() as session:
        for draft in session.scalars(select(Invoice).where(Invoice.status == "draft", Invoice.odd != "")):
            service.accept(session, draft, actor="nora", now=now)
        run.finalise(session, run_id, actor="nora", now=now)
    run_in_transaction(
        lambda session: run.step(session, {"run_id": run_id, "phase": "finalising", "after": None}, TERMS, now=now)
    )
    with unit_of_work() as session:
        assert run.get(session, run_id).problems == []


@pytest.fixture
def now():
    return START


def test_a_recount_by_fractions_comes_to_what_was_billed(make, session):  # noqa: C901  a story has as many steps as it has
    dice, world, books, found = random.Random(400), World(), {}, {}
    make.now = START - timedelta(days=1)
    for currency in ("EUR", "JPY"):
        for code, (price, included, beyond) in PACKAGES.items():
            limits = [LimitSpec("voice_minutes", included, "charge", micros(beyond))]
            make.package(f"{code}-{currency.lower()}", limits, price_micros=micros(price), currency=currency)
    source_id = make.source().id
    make.now = START
    for slug, zone, currency, coins, tax, inclusive in TENANTS:
        tenant = found[slug] = make.tenant(slug.title(), slug=slug, timezone=zone, currency=currency)
        book = books[slug] = Book(
            ZoneInfo(zone), coins, Fraction(tax), inclusive, START.astimezone(ZoneInfo(zone)).date()
        )
        book.moves.append((START, "middle"))
        book.open_from = book.anchor
        with unit_of_work() as unit:
            rate = Rate(slug, f"Tax of {slug}", int(Fraction(tax) * 10_000), inclusive)
            profiles.save_rate(unit, rate, actor="nora", now=START)
            profiles.save_profile(unit, unit.get_one(Tenant, tenant.id), Profile(slug, 14), actor="nora", now=START)
            make_package = catalog.by_code(unit, f"middle-{currency.lower()}")
        make.subscribe(tenant, make_package)
        world.first_invoice(book)

    for day in range(1, DAYS):
        moment = START + timedelta(days=day, seconds=dice.randrange(80_000))
        if day % 61 == 0:
            code = dice.choice(list(PACKAGES))
            price = Fraction(dice.randrange(1_000, 12_000), 100) + Fraction(1, 1_000)
            world.prices[code].append((moment, price))
            for currency in ("eur", "jpy"):
                with unit_of_work() as unit:
                    package = catalog.by_code(unit, f"{code}-{currency}")
                    spec = replace(catalog.spec_of(package.revision), price_micros=micros(price))
                    catalog.publish(unit, package, spec, actor="nora", now=moment)
        for number, (slug, _, currency, *_) in enumerate(TENANTS):
            book, tenant = books[slug], found[slug]
            at = moment + timedelta(seconds=number + 1)
            if (day + number) % 3 == 0:
                days_ago = dice.choice((0, 0, 0, 0, 1, 8, 33))
                occurred_at = max(START, at - timedelta(days=days_ago, seconds=60))
                seconds = dice.randrange(1, 2_500)
                event = UsageEvent(f"{slug}-{day}", slug, "voice_minutes", seconds, occurred_at)
                run_in_transaction(
                    lambda unit, event=event, at=at: ingest(unit, source_id, [Report(event, "")], now=at)
                )
                world.use(book, seconds, occurred_at, at)
            if dice.random() < 0.03:
                code = dice.choice([code for code in PACKAGES if code != book.moves[-1][1]])
                make.now = at + timedelta(seconds=1)
                make.subscribe(tenant, catalog.by_code(session, f"{code}-{currency.lower()}"))
                session.rollback()
                book.moves.append((make.now, code))
        if day % 4 == 0:
            billed_at = moment + timedelta(seconds=30)
            bill(billed_at)
            for book in books.values():
                index = book.index_of(book.open_from)
                while book.midnight(book.period(index)[1]) + timedelta(days=LATE_DAYS) <= billed_at:
                    world.invoice(book, index)
                    index += 1

    session.rollback()
    for slug, book in books.items():
        mine = select(Invoice.total_micros).where(Invoice.tenant_id == found[slug].id).order_by(Invoice.id)
        billed = [Fraction(total, 1_000_000) for total in session.scalars(mine)]
        assert len(book.moves) > 5 and len(billed) == 14
        assert billed == book.totals, slug
        assert sum(billed) == sum(book.totals)
    assert session.scalars(select(InvoiceLine.id).where(InvoiceLine.late)).first() is not None
    check_books(session)

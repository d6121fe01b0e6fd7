"""What a package would have cost with what a tenant used, replayed through it. README.md, "Replay"."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select
from sqlalchemy.orm import Session

from app.core.periods import Period
from app.domain.billing import lines
from app.domain.billing.lines import Line, Priced, Used
from app.domain.catalog import service as catalog
from app.domain.catalog.models import Package, PackageLimit, PackageRevision, Resource
from app.domain.metering.ingest import FUTURE_TOLERANCE
from app.domain.metering.models import NO_PERIOD, Meter, UsageRecord
from app.domain.metering.opening import INSTANT, MOST_PERIODS
from app.domain.metering.rollover import PastPeriod, Rule, carried_in
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription

PERIODS = 3
MOVED_ZONE = timedelta(days=2)  # a period's instants move with the tenant's time zone, its records stay in it

Key = tuple[str, date]  # resource and first day of the period


@dataclass(frozen=True, slots=True)
class Run:
    """Base units that reached a meter one after the other while the same limits were in force, all late or none."""

    quantity: int
    late: bool
    moment: datetime  # any at which they were in force


@dataclass(frozen=True, slots=True)
class Stopped:
    """What the package would have refused: base units beyond a limit that stops."""

    resource: Resource
    quantity: int


@dataclass(frozen=True, slots=True)
class ReplayedPeriod:
    """One period on the package: its price and the lines that billing would write of the usage, before tax."""

    period: Period
    recurring: Line
    usage: tuple[Line, ...]
    stopped: tuple[Stopped, ...]

    @property
    def usage_micros(self) -> int:
        """What the usage beyond the limits costs."""
        return sum(line.amount_micros for line in self.usage)

    @property
    def total_micros(self) -> int:
        """What the period costs."""
        return self.recurring.amount_micros + self.usage_micros


@dataclass(frozen=True, slots=True)
class Replay:
    """A package through some periods, oldest first."""

    periods: tuple[ReplayedPeriod, ...]

    @property
    def total_micros(self) -> int:
        """What they come to."""
        return sum(each.total_micros for each in self.periods)


def replay(
    session: Session, subscription: Subscription, packages: Collection[Package], *, now: datetime, most: int = PERIODS
) -> dict[int, Replay]:
    """By package id: the last billed periods that are over, `most` at most, on each of `packages`.

    As if the tenant had been on it since it subscribed, with what the package said in each of these periods; without
    the setup fee. Those billed in other intervals are missing. A fixed number of statements.
    """
    interval = subscription.package.revision.interval
    fitting = [package for package in packages if package.revision.interval == interval]
    until_now = subscriptions.periods_of(subscription, now, MOST_PERIODS + 1)[:0:-1]  # oldest first
    past = [period for period in until_now if period.first_on >= subscription.anchor_on]  # a trial is billed nowhere
    if not past or not fitting:
        return {}
    usage = _Usage(session, subscription, past, past[-most:], _contents(session, fitting))
    return {package.id: Replay(tuple(usage.on(package, period) for period in past[-most:])) for package in fitting}


def cheapest(packages: Iterable[Package], replays: Mapping[int, Replay], held: Mapping[str, int]) -> Package | None:
    """Which would have cost least without stopping anything, of those with room for what is held by resource.

    None where nothing can be compared or none would have done; where several cost as much, the first of them.
    """
    if len(replays) < 2:
        return None
    fitting = (each for each in packages if each.id in replays and _would_do(each, replays[each.id], held))
    return min(fitting, key=lambda each: replays[each.id].total_micros, default=None)


def _would_do(package: Package, replayed: Replay, held: Mapping[str, int]) -> bool:
    """Whether it would have stopped nothing, and has room for what is held."""
    return not any(period.stopped for period in replayed.periods) and all(
        limit.included is None or held.get(limit.resource_code, 0) <= limit.included
        for limit in package.revision.limits
    )


class _Content:
    """The revisions of a package by time, and their limits."""

    def __init__(self, revisions: Sequence[PackageRevision]) -> None:
        self._revisions = revisions
        self._published = [revision.published_at for revision in revisions]
        self._limits = [{limit.resource_code: limit for limit in revision.limits} for revision in revisions]

    def revision_at(self, moment: datetime) -> PackageRevision:
        """In force at `moment`; the first one where the package is younger, as billing has it."""
        return self._revisions[self._index(moment)]

    def limit_at(self, code: str, moment: datetime) -> PackageLimit | None:
        """The limit of a resource; None where it is not limited."""
        return self._limits[self._index(moment)].get(code)

    def changes(self) -> Iterator[datetime]:
        """When a limit, or its price, became another one."""
        said = [{code: _said(limit) for code, limit in limits.items()} for limits in self._limits]
        for index in range(1, len(said)):
            if said[index] != said[index - 1]:
                yield self._published[index]

    def _index(self, moment: datetime) -> int:
        return max(0, bisect_right(self._published, moment) - 1)


class _Usage:
    """What the tenant used, in the order and in the portions that matter to these packages."""

    def __init__(
        self,
        session: Session,
        subscription: Subscription,
        past: Sequence[Period],
        asked: Sequence[Period],
        contents: dict[int, _Content],
    ) -> None:
        self._subscription, self._past, self._contents = subscription, past, contents
        self._resources = catalog.list_resources(session)
        self._used = _meters(session, subscription.tenant_id, past[-1].end_on)
        self._runs = self._read_runs(session, asked)

    def on(self, package: Package, period: Period) -> ReplayedPeriod:
        """A period on a package."""
        content = self._contents[package.id]
        revision = content.revision_at(period.start)
        unit = minor_unit_micros(revision.currency)
        used, stopped = [], []
        for resource in self._resources:
            beyond, blocked = self._beyond(content, resource, period)
            used += beyond
            stopped += [Stopped(resource, blocked)] if blocked > 0 else []
        days = (period.first_on, period.end_on)
        return ReplayedPeriod(
            period,
            lines.recurring(Priced(revision.name, revision.price_micros), *days, tax_code="", unit_micros=unit),
            tuple(lines.overage(used, period.first_on, *days, tax_code="", unit_micros=unit)),
            tuple(stopped),
        )

    def _beyond(self, content: _Content, resource: Resource, period: Period) -> tuple[list[Used], int]:
        """What lies beyond by price, and what a limit that stops would have refused."""
        carried, used, blocked = None, 0, 0
        beyond: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for run in self._runs.get((resource.code, period.first_on), ()):
            limit = content.limit_at(resource.code, run.moment)
            if limit is not None and limit.included is not None and limit.at_limit != "notify":
                carried = self._carried(content, resource.code, period) if carried is None else carried
                covered = limit.included + carried
                quantity = max(0, used + run.quantity - covered) - max(0, used - covered)
                if limit.at_limit == "block":
                    blocked += quantity
                else:
                    beyond[limit.overage_price_micros][0] += quantity
                    beyond[limit.overage_price_micros][1] += quantity if run.late else 0
            used += run.quantity
        return [
            Used(resource.code, resource.name, resource.factor, price, quantity, late, resource.unit_one,
                 resource.unit_many)
            for price, (quantity, late) in sorted(beyond.items())
        ], blocked  # fmt: skip

    def _carried(self, content: _Content, code: str, period: Period) -> int:
        """What the package would have carried into the period; see `metering.opening`."""
        rule, _ = _rule(content.limit_at(code, period.start))
        if not rule.periods:
            return 0
        return carried_in(
            (
                PastPeriod(
                    _rule(content.limit_at(code, max(each.start, self._subscription.started_at)))[0],
                    _rule(content.limit_at(code, each.end - INSTANT))[1],
                    self._used.get((code, each.first_on), 0),
                )
                for each in self._past
                if each.first_on < period.first_on
            ),
            rule,
        )

    def _read_runs(self, session: Session, asked: Sequence[Period]) -> dict[Key, list[Run]]:
        """One a meter; where limits changed meanwhile, or something came late, as many as that makes of its records."""
        since = asked[0].start - FUTURE_TOLERANCE
        changes = sorted({at for content in self._contents.values() for at in content.changes() if at > since})
        if changes or _any_late(session, self._subscription.tenant_id, asked):
            return _runs(session, self._subscription.tenant_id, asked, changes)
        days = {period.first_on: period.start for period in asked}
        return {key: [Run(used, False, days[key[1]])] for key, used in self._used.items() if key[1] in days}


def _contents(session: Session, packages: Collection[Package]) -> dict[int, _Content]:
    rows = session.scalars(
        select(PackageRevision)
        .where(PackageRevision.package_id.in_([package.id for package in packages]))
        .order_by(PackageRevision.published_at, PackageRevision.number)
    )
    found = defaultdict(list)
    for row in rows:
        found[row.package_id].append(row)
    return {package_id: _Content(revisions) for package_id, revisions in found.items()}


def _said(limit: PackageLimit) -> tuple[int | None, str, int]:
    return limit.included, limit.at_limit, limit.overage_price_micros


def _rule(limit: PackageLimit | None) -> tuple[Rule, int | None]:
    return (Rule(), None) if limit is None else (Rule(limit.rollover_periods, limit.rollover_cap), limit.included)


def _meters(session: Session, tenant_id: int, before: date) -> dict[Key, int]:
    rows = session.execute(
        select(Meter.resource_code, Meter.period_on, Meter.used).where(
            Meter.tenant_id == tenant_id, Meter.period_on != NO_PERIOD, Meter.period_on < before
        )
    )
    return {(row.resource_code, row.period_on): row.used for row in rows}


def _any_late(session: Session, tenant_id: int, asked: Sequence[Period]) -> bool:
    days = [period.first_on for period in asked]
    record = UsageRecord
    found = select(record.id).where(record.tenant_id == tenant_id, record.late, record.period_on.in_(days)).limit(1)
    return session.scalar(found) is not None


def _runs(
    session: Session, tenant_id: int, asked: Sequence[Period], changes: Sequence[datetime]
) -> dict[Key, list[Run]]:
    """The records as runs: rows alike that follow one another are added up by the database."""
    record = UsageRecord
    part = _part(changes)
    meter = (record.resource_code, record.period_on)
    run = func.row_number().over(partition_by=meter, order_by=record.id) - func.row_number().over(
        partition_by=(*meter, record.late, part), order_by=record.id
    )
    happened = and_(
        record.occurred_at >= asked[0].start - MOVED_ZONE, record.occurred_at < asked[-1].end + MOVED_ZONE, ~record.late
    )
    rows = (
        select(*meter, record.id, record.late, record.quantity, part.label("part"), run.label("run"))
        .where(
            record.tenant_id == tenant_id,
            record.period_on.in_([period.first_on for period in asked]),
            or_(record.late, happened),  # each has its index
        )
        .subquery()
    ).c
    alike = (rows.resource_code, rows.period_on, rows.late, rows.part, rows.run)
    found = session.execute(
        select(*alike, func.sum(rows.quantity).label("quantity")).group_by(*alike).order_by(func.min(rows.id))
    )
    moments = [asked[0].start - FUTURE_TOLERANCE, *changes]
    runs = defaultdict(list)
    for row in found:
        runs[row.resource_code, row.period_on].append(Run(int(row.quantity), bool(row.late), moments[row.part]))
    return runs


def _part(changes: Sequence[datetime]) -> ColumnElement[int]:
    """After how many of the changes a record arrived."""
    if not changes:
        return literal(0)
    return case(*((UsageRecord.received_at < at, index) for index, at in enumerate(changes)), else_=len(changes))

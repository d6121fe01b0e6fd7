"""What the lines of many invoices are made of, read in a few statements for all of them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session, lazyload

from app.core.periods import Period
from app.db import among
from app.domain.billing import lines
from app.domain.billing.due import PERIOD, START, Due
from app.domain.billing.lines import Line, Priced, Used
from app.domain.billing.models import Invoice, InvoiceLine
from app.domain.catalog.models import PackageLimit, PackageRevision, Resource
from app.domain.metering.models import MeterBeyond, UsageRecord
from app.domain.metering.statement import minor_unit_micros
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import SubscriptionSegment

Price = tuple[str, int]  # resource and price per display unit
Key = tuple[int, date]  # tenant and first day of a period
Revisions = list[tuple[datetime, PackageRevision]]
Supposed = Mapping[int, Sequence[SubscriptionSegment]]  # by subscription, oldest first
CHARGE = MeterBeyond.beyond_as == "charge"


class Figures:
    """Segments, prices and usage of what is due. `lines_of` reckons without the database."""

    def __init__(self, session: Session, dues: Sequence[Due], supposed: Supposed = MappingProxyType({})) -> None:
        """`supposed` are segments to take in place of those of a subscription, for what might be."""
        self._session = session
        keys = {(due.subscription.tenant_id, due.period.first_on) for due in dues}
        before = {(due.subscription.tenant_id, _before(due).first_on) for due in dues if _has_before(due)}
        self._resources = {row.code: row for row in session.scalars(select(Resource))}
        self._segments = {**self._read_segments(dues), **supposed}
        self._revisions = self._read_revisions()
        self._issued = self._read_issued(before)
        self._beyond = self._read_beyond(keys | self._issued.keys())
        self._late = self._read_late(keys)
        self._unit_costs = self._read_unit_costs() if self._beyond or any(self._issued.values()) else {}

    def lines_of(self, due: Due, tax_code: str) -> list[Line]:
        """The lines that the system makes; those of staff and the minimum come on top."""
        unit = minor_unit_micros(due.subscription.package.revision.currency)
        if due.reason == START:
            return self._first(due, tax_code, unit)
        return [
            *self._coming(due, tax_code, unit),
            *self._changes(due, tax_code, unit),
            *self._usage(due, tax_code, unit),
        ]

    def _first(self, due: Due, tax_code: str, unit: int) -> list[Line]:
        subscription, period = due.subscription, due.period
        begins = max(subscription.started_at, period.start)  # a trial comes before it
        started = [segment for segment in self._segments[subscription.id] if segment.started_at <= begins]
        content = self._content(started[-1], begins)
        fee = lines.setup(
            _priced(content), content.setup_fee_micros, period.first_on, tax_code=tax_code, unit_micros=unit
        )
        return [_recurring(content, period, tax_code, unit), *fee]

    def _coming(self, due: Due, tax_code: str, unit: int) -> Iterator[Line]:
        """The next period in advance, unless the subscription is over by then."""
        begins = due.period.end
        for segment in self._segments[due.subscription.id]:
            if segment.started_at <= begins and (segment.ended_at is None or segment.ended_at > begins):
                coming = subscriptions.period_on_day(due.subscription, due.period.end_on)
                if due.subscription.ended_at is None or due.subscription.ended_at > begins:
                    yield _recurring(self._content(segment, begins), coming, tax_code, unit)

    def _changes(self, due: Due, tax_code: str, unit: int) -> Iterator[Line]:
        """A credit and a charge for each change of package inside the period; a credit where it ended inside."""
        period, segments = due.period, self._segments[due.subscription.id]
        for old, new in pairwise(segments):
            if period.start < new.started_at < period.end:
                was = self._content(old, max(old.started_at, period.start))
                becomes = self._content(new, new.started_at)
                yield from lines.changed(
                    _priced(was),
                    _priced(becomes),
                    period.first_on,
                    period.end_on,
                    new.started_on or new.started_at.astimezone(ZoneInfo(due.subscription.tenant.timezone)).date(),
                    tax_code=tax_code,
                    unit_micros=unit,
                )
        ended_at = due.subscription.ended_at
        if ended_at is not None and period.start < ended_at < period.end:
            yield self._given_back(due, ended_at, tax_code, unit)

    def _given_back(self, due: Due, ended_at: datetime, tax_code: str, unit: int) -> Line:
        """What was paid in advance for the days after the end: a change to nothing."""
        last, period = self._segments[due.subscription.id][-1], due.period
        was = self._content(last, max(last.started_at, period.start))
        day = ended_at.astimezone(due.subscription.tenant.zone).date()
        return lines.changed(
            _priced(was), Priced("", 0), period.first_on, period.end_on, day, tax_code=tax_code, unit_micros=unit
        )[0]

    def _usage(self, due: Due, tax_code: str, unit: int) -> Iterator[Line]:
        """What lay beyond in the period, and what reached the period before after its invoice."""
        key, period = (due.subscription.tenant_id, due.period.first_on), due.period
        content = self._content_of(due, period)
        used = self._used(self._beyond[key], self._late[key], content)
        yield from _overage(used, period, tax_code, unit, content.package_id)
        if _has_before(due):
            before = _before(due)
            key = (due.subscription.tenant_id, before.first_on)
            if key in self._issued:
                rest = dict(self._beyond[key])
                for price, quantity in self._issued[key].items():
                    rest[price] = rest.get(price, 0) - quantity
                content = self._content_of(due, before)
                yield from _overage(self._used(rest, rest, content), before, tax_code, unit, content.package_id)

    def _content_of(self, due: Due, period: Period) -> PackageRevision:
        """Of the package as the period ended, which what lay beyond in it is put down to; as it was charged in it."""
        segments = self._segments[due.subscription.id]
        last = next((each for each in reversed(segments) if each.started_at < period.end), segments[0])
        return self._content(last, max(last.started_at, period.start))

    def _used(self, beyond: dict[Price, int], late: dict[Price, int], content: PackageRevision) -> list[Used]:
        rows = sorted(beyond.items(), key=lambda row: (self._resources[row[0][0]].position, row[0]))
        return [
            Used(code, resource.name, resource.factor, price, quantity, late.get((code, price), 0),
                 resource.unit_one, resource.unit_many, self._unit_costs.get((content.id, code), 0))
            for (code, price), quantity in rows
            if (resource := self._resources[code])
        ]  # fmt: skip

    def _content(self, segment: SubscriptionSegment, moment: datetime) -> PackageRevision:
        """In force at `moment`; the first one where the package is younger than the subscription says."""
        revisions = self._revisions[segment.package_id]
        index = bisect_right(revisions, moment, key=lambda row: row[0])
        return revisions[max(0, index - 1)][1]

    def _read_segments(self, dues: Sequence[Due]) -> dict[int, list[SubscriptionSegment]]:
        segment = SubscriptionSegment
        rows = self._session.scalars(
            select(segment)
            .where(
                among(
                    self._session,
                    {(due.subscription.tenant_id, due.subscription.id) for due in dues},
                    segment.tenant_id,
                    segment.subscription_id,
                )
            )
            .order_by(segment.started_at, segment.id)
        )
        found: dict[int, list[SubscriptionSegment]] = defaultdict(list)
        for row in rows:
            found[row.subscription_id].append(row)
        return found

    def _read_revisions(self) -> dict[int, Revisions]:
        packages = {segment.package_id for segments in self._segments.values() for segment in segments}
        rows = self._session.scalars(
            select(PackageRevision)
            .where(PackageRevision.package_id.in_(packages))
            .order_by(PackageRevision.published_at, PackageRevision.number)
            .options(lazyload(PackageRevision.limits))
        )
        found: dict[int, Revisions] = defaultdict(list)
        for row in rows:
            found[row.package_id].append((row.published_at, row))
        return found

    def _read_unit_costs(self) -> dict[tuple[int, str], int]:
        """What each display unit costs the provider, by revision and resource; only what costs anything."""
        row = PackageLimit
        rows = self._session.execute(
            select(row.revision_id, row.resource_code, row.unit_cost_micros)
            .join(PackageRevision, PackageRevision.id == row.revision_id)
            .where(PackageRevision.package_id.in_(self._revisions), row.unit_cost_micros > 0)
        )
        return {(revision_id, code): micros for revision_id, code, micros in rows}

    def _read_beyond(self, keys: set[Key]) -> dict[Key, dict[Price, int]]:
        row = MeterBeyond
        rows = self._session.execute(
            select(row.tenant_id, row.period_on, row.resource_code, row.price_micros, row.quantity).where(
                among(self._session, keys, row.tenant_id, row.period_on), CHARGE
            )
        )
        return _by_key(rows)

    def _read_late(self, keys: set[Key]) -> dict[Key, dict[Price, int]]:
        """Of these periods, and of younger ones of the same tenants: what is late is little, the rest is not read."""
        row = UsageRecord
        rows = self._session.execute(
            select(row.tenant_id, row.period_on, row.resource_code, row.beyond_price_micros, func.sum(row.beyond))
            .where(
                row.late,
                # Not the keys as a whole: SQLite would take another index and read all records of each tenant.
                among(self._session, {tenant_id for tenant_id, _ in keys}, row.tenant_id),
                row.period_on >= min((first_on for _, first_on in keys), default=date.min),
                row.beyond_as == "charge",
            )
            .group_by(row.tenant_id, row.period_on, row.resource_code, row.beyond_price_micros)
        )
        return _by_key(rows)

    def _read_issued(self, keys: set[Key]) -> dict[Key, dict[Price, int]]:
        """What invoices that were issued say of these periods; a period without one is missing."""
        if not keys:
            return {}
        of_period = self._session.execute(
            select(Invoice.tenant_id, Invoice.period_on).where(
                among(self._session, keys, Invoice.tenant_id, Invoice.period_on),
                Invoice.reason == PERIOD,
                Invoice.status != "draft",
            )
        )
        found: dict[Key, dict[Price, int]] = {(row.tenant_id, row.period_on): {} for row in of_period}
        line = InvoiceLine
        rows = self._session.execute(
            select(line.tenant_id, line.usage_on, line.resource_code, line.price_micros, func.sum(line.quantity))
            .join(Invoice, (Invoice.tenant_id == line.tenant_id) & (Invoice.id == line.invoice_id))
            .where(
                among(self._session, keys, line.tenant_id, line.usage_on),
                Invoice.status != "draft",
                Invoice.kind == "invoice",
            )
            .group_by(line.tenant_id, line.usage_on, line.resource_code, line.price_micros)
        )
        for key, quantities in _by_key(rows).items():
            if key in found:
                found[key] = quantities
        return found


def _by_key(rows: Iterable[Any]) -> dict[Key, dict[Price, int]]:
    found: dict[Key, dict[Price, int]] = defaultdict(dict)
    for tenant_id, period_on, code, price, quantity in rows:
        found[tenant_id, period_on][code, price] = int(quantity)
    return found


def _has_before(due: Due) -> bool:
    return due.reason == PERIOD and due.period.first_on > due.subscription.anchor_on


def _before(due: Due) -> Period:
    return subscriptions.period_on_day(due.subscription, due.period.first_on - timedelta(days=1))


def _recurring(content: PackageRevision, period: Period, tax_code: str, unit: int) -> Line:
    return lines.recurring(_priced(content), period.first_on, period.end_on, tax_code=tax_code, unit_micros=unit)


def _priced(content: PackageRevision) -> Priced:
    return Priced(content.name, content.price_micros, content.cost_micros, content.package_id)


def _overage(used: list[Used], period: Period, tax_code: str, unit: int, package_id: int) -> list[Line]:
    return lines.overage(
        used, period.first_on, period.first_on, period.end_on,
        tax_code=tax_code, unit_micros=unit, package_id=package_id,
    )  # fmt: skip

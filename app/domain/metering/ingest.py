"""Count what sources report: every report becomes a record, a repeat, a conflict or a quarantine entry.

One call is one transaction: records, meters and daily rollup move together or not at all.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from app.core.ids import new_id, new_ids
from app.core.periods import EARLIEST_YEAR, Interval, period_days
from app.core.quantities import billed_quantity
from app.core.usage import Unreadable, UsageEvent
from app.db import LostRace
from app.domain.metering import holds, opening, quarantine_events, store, tally, thresholds
from app.domain.metering.holds import CallReport, Change, MeterKey
from app.domain.metering.reports import Report, Result, content_hash
from app.domain.metering.split import split
from app.domain.metering.thresholds import Move
from app.domain.subscriptions import moves

FUTURE_TOLERANCE = timedelta(days=1)  # a source's clock may be wrong by this much


_RECORDED = Result("recorded")


@dataclass(frozen=True, slots=True)
class _Subscriber:
    tenant_id: int
    zone: ZoneInfo
    in_trial: bool
    starts_on: date | None
    anchor_on: date | None
    open_from: date | None
    ended_at: datetime | None
    interval: Interval
    revision_id: int | None
    thresholds: tuple[int, ...]


def ingest(session: Session, source_id: int, reports: Sequence[Report], *, now: datetime) -> list[Result]:
    """Store `reports` of one source and return what became of each, in their order.

    Raises LostRace when a concurrent transaction stored one of them first; nothing is kept then.
    """
    return _Batch(session, source_id, now).run(reports)


class _Batch:
    def __init__(self, session: Session, source_id: int, now: datetime) -> None:
        self.session, self.connection, self.source_id, self.now = session, session.connection(), source_id, now
        self.received_at = store.stamp(self.connection, now)
        self.days: dict[tuple[int, date], tuple[str, str, bool]] = {}
        self.kept_aside: list[str] = []  # reasons of what went into quarantine

    def run(self, reports: Sequence[Report]) -> list[Result]:
        events = [report.outcome for report in reports if isinstance(report.outcome, UsageEvent)]
        self._load(events)
        results: list[Result] = []
        rows: list[dict[str, Any]] = []
        calls: list[CallReport] = []
        for report in reports:
            outcome = report.outcome
            try:
                if isinstance(outcome, Unreadable):
                    raise outcome
                row, result = self._row(outcome)
            except Unreadable as problem:
                # Without the frames it was raised in, or it would be a circle that keeps the whole body in memory.
                row, result = None, self._quarantine(report, problem.with_traceback(None))
            if row is not None and isinstance(outcome, UsageEvent):
                rows.append(row)
                if outcome.hold or outcome.call_id:
                    calls.append(CallReport(row["tenant_id"], outcome.call_id, outcome.hold))
            results.append(result)
        quarantine_events.tell(self.connection, self.kept_aside, now=self.now)
        if rows:
            self._count(rows, holds.settle(self.connection, self.source_id, calls, now=self.now))
        return results

    def _load(self, events: list[UsageEvent]) -> None:
        """Everything the batch needs to know, in three statements however many events there are."""
        self.subscribers = {
            row.name: _Subscriber(
                row.tenant_id,
                ZoneInfo(row.timezone),
                bool(row.in_trial),
                row.starts_on,
                row.anchor_on,
                row.open_on,
                row.ended_at,
                cast(Interval, row.interval),
                row.revision_id,
                thresholds.as_read(row.thresholds),
            )
            for row in self._subscribers({event.tenant.lower() for event in events})
        }
        self.in_trial = {found.tenant_id for found in self.subscribers.values() if found.in_trial}
        revisions = {found.revision_id for found in self.subscribers.values() if found.revision_id is not None}
        self.resources: dict[str, Any] = {}
        self.limits: dict[tuple[int, str], Any] = {}
        self.rolling: set[str] = set()
        codes = {event.resource for event in events}
        if any(event.hold or event.call_id for event in events):  # which may free what is on hold on these
            codes.update(holds.RESOURCES.values())
        for rule in store.rules(self.connection, codes, revisions):
            self.resources[rule.code] = rule
            if rule.rolls_over:
                self.rolling.add(rule.code)
            if rule.revision_id is not None:
                self.limits[rule.revision_id, rule.code] = rule
        self.known = {
            row.external_id: (row.tenant_id, row.content_hash)
            for row in store.known_records(self.connection, self.source_id, [event.external_id for event in events])
        }

    def _subscribers(self, names: set[str]) -> list[Any]:
        """The tenants of these names, each on the package that it should be on by now."""
        rows = store.subscribers(self.connection, names, self.now)
        if late := {row.tenant_id for row in rows if row.change_due}:
            moves.take_effect(self.session, now=self.now, tenant_ids=late)
            rows = store.subscribers(self.connection, names, self.now)
        if gone := {row.name for row in rows if row.anchor_on is None}:
            # What happened before a subscription's end may be reported after it.
            rows = [row for row in rows if row.name not in gone]
            rows += store.subscribers(self.connection, gone, self.now, ended=True)
        return rows

    def _row(self, event: UsageEvent) -> tuple[dict[str, Any] | None, Result]:
        """The record of an event, or None and what it is instead. Raises Unreadable for what cannot be counted."""
        subscriber = self._subscriber(event)
        occurred_at = event.occurred_at.isoformat()
        fingerprint = content_hash(subscriber.tenant_id, event, occurred_at)
        known = self.known.get(event.external_id)
        if known == (subscriber.tenant_id, fingerprint):
            return None, Result("duplicate")
        if known is not None:
            raise Unreadable("conflict", "The same id was reported before with other content.")
        resource = self.resources.get(event.resource)
        if resource is None or resource.kind != "metered":
            raise Unreadable("unknown_resource", f"“{event.resource}” is not a metered resource.")
        day, period_on, late = self._days(subscriber, event.occurred_at)
        self.known[event.external_id] = (subscriber.tenant_id, fingerprint)
        billed = billed_quantity(event.quantity, resource.first_step, resource.next_step) if event.metered else 0
        return {
            "tenant_id": subscriber.tenant_id,
            "source_id": self.source_id,
            "external_id": event.external_id,
            "content_hash": fingerprint,
            "resource_code": event.resource,
            "measured": event.quantity,
            "quantity": billed,
            "occurred_at": store.stamp_of(self.connection, occurred_at),
            "period_on": period_on,
            "late": late,
            "received_at": self.received_at,
            "direction": event.direction[:16],
            "caller": event.caller[:64],
            "callee": event.callee[:64],
            "call_id": event.call_id[:255],
            "attributes": event.attributes,
            "beyond_as": "",
            "beyond_price_micros": 0,
            "day": day,
            "revision_id": subscriber.revision_id,
        }, _RECORDED

    def _subscriber(self, event: UsageEvent) -> _Subscriber:
        subscriber = self.subscribers.get(event.tenant.lower())
        if subscriber is None:
            raise Unreadable("unknown_tenant", f"No tenant is known as “{event.tenant}”.")
        if subscriber.anchor_on is None:
            raise Unreadable("no_subscription", "The tenant has no package.")
        if subscriber.ended_at is not None and event.occurred_at >= subscriber.ended_at:
            raise Unreadable("no_subscription", "The tenant has no package any more.")
        if event.occurred_at > self.now + FUTURE_TOLERANCE:
            raise Unreadable("time_in_future", f"{event.occurred_at.isoformat()} has not come yet.")
        return subscriber

    def _days(self, subscriber: _Subscriber, occurred_at: datetime) -> tuple[str, str, bool]:
        """Local day of the act, first day of the period it counts in, and whether it came too late for its own."""
        if occurred_at.year < EARLIEST_YEAR:  # and year 1 has no local time west of Greenwich
            raise Unreadable("no_subscription", "It happened before the tenant had a package.")
        day = occurred_at.astimezone(subscriber.zone).date()
        key = (subscriber.tenant_id, day)
        if key not in self.days:
            anchor_on, open_from = cast(date, subscriber.anchor_on), cast(date, subscriber.open_from)
            if day < cast(date, subscriber.starts_on):
                raise Unreadable("no_subscription", "It happened before the tenant had a package.")
            period_on = period_days(anchor_on, subscriber.interval, day)[0]
            late = period_on < open_from
            if late and subscriber.ended_at is not None:
                raise Unreadable("no_subscription", "The tenant's last invoice was issued before this was reported.")
            if late:
                today = self.now.astimezone(subscriber.zone).date()
                period_on = max(open_from, period_days(anchor_on, subscriber.interval, today)[0])
            self.days[key] = (day.isoformat(), period_on.isoformat(), late)
        return self.days[key]

    def _quarantine(self, report: Report, problem: Unreadable) -> Result:
        outcome, body = report.outcome, report.text
        body_hash = hashlib.blake2b(body.encode(errors="replace"), digest_size=16).hexdigest()
        added = store.insert_quarantined(
            self.connection,
            {
                "id": new_id(),
                "source_id": self.source_id,
                "external_id": (outcome.external_id or body_hash)[:255],
                "content_hash": body_hash,
                "tenant_ref": outcome.tenant[:255],
                "reason": problem.code,
                "detail": problem.detail,
                "format": report.format,
                "content_type": report.content_type[:255],
                "body": body,
                "received_at": self.received_at,
            },
        )
        if added:
            self.kept_aside.append(problem.code)
        if problem.code == "conflict":
            return Result("conflict", "conflict", problem.detail)
        return Result("quarantined" if added else "duplicate", problem.code, problem.detail)

    def _count(self, rows: list[dict[str, Any]], freed: dict[MeterKey, Change]) -> None:
        """Move the meters, then write the records with the parts that the meters' order gives them."""
        groups: defaultdict[MeterKey, list[dict[str, Any]]] = defaultdict(list)
        for row, record_id in zip(rows, new_ids(len(rows)), strict=True):
            row["id"] = record_id
            groups[row["tenant_id"], row["resource_code"], row["period_on"]].append(row)
        before = self._add_to_meters(groups, freed)
        for key, group in groups.items():
            self._set_parts(key, group, *before[key])
        if beyond := tally.beyond(groups):
            store.add_beyond(self.connection, beyond)
        store.add_to_days(self.connection, tally.days(groups))
        if store.insert_records(self.connection, rows) != len(rows):
            raise LostRace

    def _add_to_meters(
        self, groups: Mapping[MeterKey, list[dict[str, Any]]], freed: dict[MeterKey, Change]
    ) -> dict[MeterKey, list[int]]:
        """Add the batch to its meters, free what its calls had on hold, note the thresholds that were crossed.

        Returns [used before the batch, carried in] of each meter.
        """
        totals = {key: sum(row["quantity"] for row in group) for key, group in groups.items()}
        changes = {key: Change(total, 0, len(groups[key])) for key, total in totals.items()}
        for key, change in freed.items():
            changes[key] = Change(totals.get(key, 0) + change.used, change.freed, len(groups.get(key, ())))
        before: dict[MeterKey, list[int]] = {}
        opened: set[MeterKey] = set()
        for meter in store.add_to_meters(self.connection, holds.meter_rows(changes)):
            key = (meter.tenant_id, meter.resource_code, str(meter.period_on))
            before[key] = [meter.used - totals.get(key, 0), meter.carried_in]
            if meter.version == 1:
                opened.add(key)
        self._roll_over(opened, before)
        thresholds.note_crossed(self.connection, self._moves(totals, before), now=self.now)
        return before

    def _roll_over(self, opened: set[MeterKey], before: dict[MeterKey, list[int]]) -> None:
        """Carry what is left into the meters that begin here, and anew into those that began before theirs ended."""
        for key in sorted(key for key in before if key[1] in self.rolling):
            meter = opening.MeterKey(key[0], key[1], date.fromisoformat(key[2]))
            if key in opened:
                before[key][1] = opening.carry(self.connection, meter)
            for first_on, carried_in in opening.carry_on(self.connection, meter).items():
                if (later := (*key[:2], str(first_on))) in before:
                    before[later][1] = carried_in

    def _moves(self, totals: Mapping[MeterKey, int], before: dict[MeterKey, list[int]]) -> Iterator[Move]:
        """How far the batch moves each meter that has a limit."""
        subscribers = {found.tenant_id: found for found in self.subscribers.values()}
        for key, quantity in totals.items():
            subscriber, (used, carried_in) = subscribers[key[0]], before[key]
            limit = self.limits.get((cast(int, subscriber.revision_id), key[1]))
            if limit is not None and limit.included is not None:
                yield Move(*key, used, used + quantity, limit.included + carried_in, subscriber.thresholds)

    def _set_parts(self, key: MeterKey, group: list[dict[str, Any]], used: int, carried_in: int) -> None:
        """The part of each record that the limit covers, in the order in which they count on the meter."""
        limit = self.limits.get((group[0]["revision_id"], key[1]))
        included = None if limit is None else limit.included
        total = sum(row["quantity"] for row in group)
        if used >= carried_in and (included is None or used + total <= included + carried_in):
            for row in group:  # as nearly always: all of it comes from the allowance
                row["from_allowance"], row["from_carried"], row["beyond"] = row["quantity"], 0, 0
            return
        for row in group:
            parts = split(row["quantity"], used, carried_in, included)
            row["from_allowance"], row["from_carried"], row["beyond"] = parts
            if limit is not None and parts.beyond:
                row["beyond_as"], row["beyond_price_micros"] = limit.at_limit, limit.overage_price_micros
                if limit.at_limit == "charge" and key[0] in self.in_trial:
                    row["beyond_as"], row["beyond_price_micros"] = "block", 0
            used += row["quantity"]

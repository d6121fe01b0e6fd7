"""What must hold between the rows, each as one statement that finds where it does not.

Every statement reads its tables once, adds up in the database and returns differences alone, so that ten
million records cost a scan and no memory here. Its columns are tenant_id, resource, period, what, expected, found:
`expected` is recounted from the rows, `found` is what is kept of them.

What a meter carries in is worked out by `opening.recount`, with the rule that opened it, not by a statement.

Not to be recounted: how many reports were accepted is answered and stored nowhere, so "accepted = recorded +
quarantined" can be checked from outside alone (the fault tests do). What of it leaves traces is checked: each record
was counted in its meter in the transaction that wrote it, and each replay left its record. The daily rollup is
compared over all its days, since a changed time zone moves no day that is past.
"""

from dataclasses import dataclass
from datetime import timedelta

OVERDUE = timedelta(minutes=2)  # a worker ends holds in less


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant. `sql` takes `:no_period` and `:overdue_before` where it needs them."""

    code: str
    sql: str


def sums(code: str, expected: str, found: str) -> Check:
    """Both selects give (tenant_id, resource, period, what, amount); their sums by the first four are the same."""
    return Check(
        code,
        f"""
WITH expected (tenant_id, resource, period, what, amount) AS ({expected}),
     found (tenant_id, resource, period, what, amount) AS ({found}),
     entry (tenant_id, resource, period, what, expected, found) AS (
         SELECT tenant_id, resource, period, what, amount, 0 FROM expected
         UNION ALL SELECT tenant_id, resource, period, what, 0, amount FROM found)
SELECT tenant_id, resource, period, what, sum(expected), sum(found) FROM entry
GROUP BY tenant_id, resource, period, what HAVING sum(expected) <> sum(found)""",
    )


def _meters(column: str, kind: str) -> str:
    return f"""
SELECT m.tenant_id, m.resource_code, m.period_on, '', m.{column}
FROM meter m JOIN resource c ON c.code = m.resource_code WHERE c.kind = '{kind}'"""


# Both ways: meters without records and records without meters differ, too.
_METERS = (
    sums(
        "meter_used",
        "SELECT tenant_id, resource_code, period_on, '', quantity FROM usage_record",
        _meters("used", "metered"),
    ),
    sums(
        "meter_records",
        "SELECT tenant_id, resource_code, period_on, '', 1 FROM usage_record",
        _meters("records", "metered"),
    ),
    sums(
        "meter_beyond",
        """
SELECT tenant_id, resource_code, period_on, beyond_as || ' at ' || CAST(beyond_price_micros AS TEXT), beyond
FROM usage_record WHERE beyond <> 0""",
        """
SELECT tenant_id, resource_code, period_on, beyond_as || ' at ' || CAST(price_micros AS TEXT), quantity
FROM meter_beyond""",
    ),
    sums(
        "day_quantity",
        "SELECT tenant_id, resource_code, NULL, '', quantity FROM usage_record",
        "SELECT tenant_id, resource_code, NULL, '', quantity FROM usage_day",
    ),
    sums(
        "day_records",
        "SELECT tenant_id, resource_code, NULL, '', 1 FROM usage_record",
        "SELECT tenant_id, resource_code, NULL, '', records FROM usage_day",
    ),
)

_RECORDS = (
    Check(
        "record_parts",
        """
SELECT tenant_id, resource_code, period_on, 'record ' || CAST(id AS TEXT), quantity,
       from_allowance + from_carried + beyond
FROM usage_record WHERE from_allowance + from_carried + beyond <> quantity""",
    ),
    Check(
        "reversal_is_its_negative",
        """
SELECT r.tenant_id, r.resource_code, r.period_on, 'record ' || CAST(r.id AS TEXT), -coalesce(o.quantity, 0), r.quantity
FROM usage_record r LEFT JOIN usage_record o ON o.tenant_id = r.tenant_id AND o.id = r.reverses_id
WHERE r.reverses_id IS NOT NULL AND (
    o.id IS NULL OR o.reverses_id IS NOT NULL OR r.resource_code <> o.resource_code OR r.period_on <> o.period_on
    OR r.measured <> -o.measured OR r.quantity <> -o.quantity OR r.beyond <> -o.beyond
    OR r.from_allowance <> -o.from_allowance OR r.from_carried <> -o.from_carried)""",
    ),
    Check(
        "reversed_once",
        """
SELECT tenant_id, min(resource_code), min(period_on), 'record ' || CAST(reverses_id AS TEXT), 1, count(*)
FROM usage_record WHERE reverses_id IS NOT NULL GROUP BY tenant_id, reverses_id HAVING count(*) > 1""",
    ),
)

_HOLDS = (
    sums(
        "on_hold",
        "SELECT tenant_id, resource_code, period_on, '', granted FROM hold WHERE ended_at IS NULL",
        "SELECT tenant_id, resource_code, period_on, '', on_hold FROM meter",
    ),
    sums(
        "calls_in_progress",
        """
SELECT tenant_id, 'concurrent_calls', :no_period, '', 1
FROM hold WHERE ended_at IS NULL AND over_at IS NULL""",
        _meters("used", "concurrent"),
    ),
    Check(
        "hold_overdue",
        """
SELECT tenant_id, resource_code, period_on, 'hold ' || CAST(id AS TEXT), 0, 1
FROM hold WHERE ended_at IS NULL AND expires_at < :overdue_before""",
    ),
    Check(
        "hold_ends_once",
        """
SELECT tenant_id, resource_code, period_on, 'hold ' || CAST(id AS TEXT), 1, 0
FROM hold WHERE ended_at IS NULL AND ended_as <> ''
   OR ended_at IS NOT NULL AND ended_as NOT IN ('settled', 'released', 'expired')""",
    ),
)

_ALLOCATIONS = (
    sums(
        "allocated",
        """
SELECT tenant_id, resource_code, :no_period, '', 1 FROM allocation WHERE released_at IS NULL""",
        _meters("used", "allocated"),
    ),
    sums(
        "numbers",
        """
SELECT tenant_id, 'dids', NULL, 'allocation ' || CAST(id AS TEXT) || ' ' || name, 1
FROM allocation WHERE released_at IS NULL AND resource_code = 'dids'""",
        "SELECT tenant_id, 'dids', NULL, 'allocation ' || CAST(allocation_id AS TEXT) || ' ' || number, 1 FROM did",
    ),
)

_SUBSCRIPTIONS = (
    Check(
        "one_live_subscription",
        """
SELECT tenant_id, '', NULL, 'live subscriptions', 1, count(*)
FROM subscription WHERE ended_at IS NULL GROUP BY tenant_id HAVING count(*) > 1""",
    ),
    sums(
        "open_segment",
        """
SELECT tenant_id, '', NULL, 'subscription ' || CAST(id AS TEXT) || ' on package ' || CAST(package_id AS TEXT), 1
FROM subscription WHERE ended_at IS NULL""",
        """
SELECT tenant_id, '', NULL,
       'subscription ' || CAST(subscription_id AS TEXT) || ' on package ' || CAST(package_id AS TEXT), 1
FROM subscription_segment WHERE ended_at IS NULL""",
    ),
    Check(
        "segments_overlap",
        """
SELECT tenant_id, '', NULL, 'segment ' || CAST(id AS TEXT), 0, 1
FROM (SELECT tenant_id, id, started_at, ended_at,
             lead(started_at) OVER (PARTITION BY tenant_id, subscription_id ORDER BY started_at, id) AS next_at
      FROM subscription_segment) AS segment
WHERE ended_at < started_at OR next_at IS NOT NULL AND (ended_at IS NULL OR ended_at > next_at)""",
    ),
    Check(
        "package_currency",
        """
SELECT s.tenant_id, '', NULL, t.currency || ' on package ' || p.code || ' in ' || r.currency, 1, 0
FROM subscription s JOIN tenant t ON t.id = s.tenant_id JOIN package p ON p.id = s.package_id
JOIN package_revision r ON r.id = p.revision_id
WHERE s.ended_at IS NULL AND r.currency <> t.currency""",
    ),
)

_LIVES = (
    Check(
        "status_is_the_last_event",
        """
SELECT s.tenant_id, '', NULL, 'subscription ' || CAST(s.id AS TEXT) || ' ' || s.status, 1, 0
FROM subscription s WHERE s.status <> coalesce((
    SELECT e.status FROM subscription_event e WHERE e.tenant_id = s.tenant_id AND e.subscription_id = s.id
    ORDER BY e.id DESC LIMIT 1), '')""",
    ),
    Check(
        "suspended_as_the_tenant",
        """
SELECT s.tenant_id, '', NULL, 'subscription ' || CAST(s.id AS TEXT) || ' ' || s.status, 1, 0
FROM subscription s JOIN tenant t ON t.id = s.tenant_id
WHERE s.ended_at IS NULL AND (s.status = 'suspended') <> (t.status = 'suspended')""",
    ),
    # A period that was billed takes no more usage, whatever became of its invoice.
    Check(
        "billed_periods_closed",
        """
SELECT s.tenant_id, '', b.end_on, 'subscription ' || CAST(s.id AS TEXT) || ' open from ' || CAST(s.open_from AS TEXT),
       1, 0
FROM subscription s JOIN (
    SELECT tenant_id, subscription_id, max(period_end_on) AS end_on FROM invoice
    WHERE reason = 'period' AND status <> 'draft' GROUP BY tenant_id, subscription_id) b
ON b.tenant_id = s.tenant_id AND b.subscription_id = s.id WHERE s.open_from < b.end_on""",
    ),
)

_QUARANTINE = (
    Check(
        "replay_left_its_record",
        """
SELECT CAST(NULL AS BIGINT), '', NULL, 'quarantine entry ' || CAST(q.id AS TEXT), 1, 0
FROM quarantined q WHERE q.resolution = 'replayed' AND NOT EXISTS (
    SELECT 1 FROM usage_record r WHERE r.source_id = q.source_id AND r.external_id = q.external_id)""",
    ),
    Check(
        "entry_resolved_or_open",
        """
SELECT CAST(NULL AS BIGINT), '', NULL, 'quarantine entry ' || CAST(id AS TEXT), 1, 0
FROM quarantined WHERE (resolved_at IS NULL) <> (resolution = '')""",
    ),
)

_CATALOG = (
    Check(
        "current_revision",
        """
SELECT CAST(NULL AS BIGINT), '', NULL, 'package ' || p.code, n.newest, coalesce(r.number, 0)
FROM package p JOIN (SELECT package_id, max(number) AS newest FROM package_revision GROUP BY package_id) n
    ON n.package_id = p.id
LEFT JOIN package_revision r ON r.id = p.revision_id AND r.package_id = p.id
WHERE coalesce(r.number, 0) <> n.newest""",
    ),
    # Beside the revision for lists of packages; each publication writes both.
    Check(
        "package_as_revised",
        """
SELECT CAST(NULL AS BIGINT), '', NULL, 'package ' || p.code, 1, 0
FROM package p JOIN package_revision r ON r.id = p.revision_id WHERE p.name <> r.name OR p.public <> r.public""",
    ),
)

_TENANTS = (
    Check(
        "suspended_since",
        """
SELECT id, '', NULL, status, CASE WHEN status = 'suspended' THEN 1 ELSE 0 END,
       CASE WHEN suspended_at IS NULL THEN 0 ELSE 1 END
FROM tenant WHERE (status = 'suspended') <> (suspended_at IS NOT NULL)""",
    ),
)

_ACCOUNTS = (
    Check(
        "second_factor",
        """
SELECT a.tenant_id, '', NULL, 'account ' || CAST(a.id AS TEXT), f.has, 1 - f.has
FROM account a JOIN (
    SELECT id, CASE WHEN EXISTS (SELECT 1 FROM passkey p WHERE p.account_id = o.id)
      OR EXISTS (SELECT 1 FROM totp t WHERE t.account_id = o.id AND t.confirmed_at IS NOT NULL) THEN 1 ELSE 0 END AS has
    FROM account o) f ON f.id = a.id
WHERE (f.has = 1) <> a.has_second_factor""",
    ),
)

CHECKS = (
    *_METERS,
    *_RECORDS,
    *_HOLDS,
    *_ALLOCATIONS,
    *_SUBSCRIPTIONS,
    *_LIVES,
    *_QUARANTINE,
    *_CATALOG,
    *_TENANTS,
    *_ACCOUNTS,
)

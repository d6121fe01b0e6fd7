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


def _sums(code: str, expected: str, found: str) -> Check:
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
    _sums(
        "meter_used",
        "SELECT tenant_id, resource_code, period_on, '', quantity FROM usage_record",
        _meters("used", "metered"),
    ),
    _sums(
        "meter_records",
        "SELECT tenant_id, resource_code, period_on, '', 1 FROM usage_record",
        _meters("records", "metered"),
    ),
    _sums(
        "meter_beyond",
        """
SELECT tenant_id, resource_code, period_on, beyond_as || ' at ' || CAST(beyond_price_micros AS TEXT), beyond
FROM usage_record WHERE beyond <> 0""",
        """
SELECT tenant_id, resource_code, period_on, beyond_as || ' at ' || CAST(price_micros AS TEXT), quantity
FROM meter_beyond""",
    ),
    _sums(
        "day_quantity",
        "SELECT tenant_id, resource_code, NULL, '', quantity FROM usage_record",
        "SELECT tenant_id, resource_code, NULL, '', quantity FROM usage_day",
    ),
    _sums(
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
    _sums(
        "on_hold",
        "SELECT tenant_id, resource_code, period_on, '', granted FROM hold WHERE ended_at IS NULL",
        "SELECT tenant_id, resource_code, period_on, '', on_hold FROM meter",
    ),
    _sums(
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
    _sums(
        "allocated",
        """
SELECT tenant_id, resource_code, :no_period, '', 1 FROM allocation WHERE released_at IS NULL""",
        _meters("used", "allocated"),
    ),
    _sums(
        "numbers",
        """
SELECT tenant_id, 'dids', NULL, 'allocation ' || CAST(id AS TEXT), 1
FROM allocation WHERE released_at IS NULL AND resource_code = 'dids'""",
        "SELECT tenant_id, 'dids', NULL, 'allocation ' || CAST(allocation_id AS TEXT), 1 FROM did",
    ),
)

_SUBSCRIPTIONS = (
    Check(
        "one_live_subscription",
        """
SELECT tenant_id, '', NULL, 'live subscriptions', 1, count(*)
FROM subscription WHERE ended_at IS NULL GROUP BY tenant_id HAVING count(*) > 1""",
    ),
    _sums(
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

_MONEY = (
    _sums(
        "ledger_balance",
        "SELECT tenant_id, '', NULL, currency, amount_micros FROM ledger_entry",
        "SELECT tenant_id, '', NULL, currency, balance_micros FROM ledger_balance",
    ),
    _sums(
        "prepaid_credit",
        """
SELECT p.tenant_id, '', NULL, p.currency, -e.amount_micros
FROM prepaid p JOIN ledger_entry e ON e.tenant_id = p.tenant_id AND e.currency = p.currency""",
        "SELECT tenant_id, '', NULL, currency, credit_micros FROM prepaid",
    ),
    Check(
        "prepaid_tax",
        """
SELECT p.tenant_id, '', NULL, 'tax on top, per million', CASE WHEN r.inclusive THEN 0 ELSE r.ppm END, p.tax_ppm
FROM prepaid p JOIN billing_profile b ON b.tenant_id = p.tenant_id JOIN tax_rate r ON r.code = b.tax_code
WHERE p.tax_ppm <> CASE WHEN r.inclusive THEN 0 ELSE r.ppm END""",
    ),
    _sums(
        "open_and_credit",
        "SELECT tenant_id, '', NULL, currency, balance_micros FROM ledger_balance",
        """
SELECT tenant_id, '', NULL, currency, open_micros FROM invoice
UNION ALL SELECT tenant_id, '', NULL, currency, -unmatched_micros FROM payment""",
    ),
    _sums(
        "payment_matches",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), amount_micros FROM payment WHERE amount_micros > 0""",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(payment_id AS TEXT), amount_micros FROM payment_match
UNION ALL SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), unmatched_micros FROM payment""",
    ),
    _sums(
        "invoice_lines",
        "SELECT tenant_id, '', NULL, 'invoice ' || CAST(invoice_id AS TEXT), amount_micros FROM invoice_line",
        "SELECT tenant_id, '', NULL, 'invoice ' || CAST(id AS TEXT), net_micros + tax_within_micros FROM invoice",
    ),
    _sums(
        "invoice_margin",
        """
SELECT tenant_id, '', NULL, 'net of invoice ' || CAST(invoice_id AS TEXT), net_micros FROM invoice_line
UNION ALL SELECT tenant_id, '', NULL, 'cost of invoice ' || CAST(invoice_id AS TEXT), cost_micros FROM invoice_line""",
        """
SELECT tenant_id, '', NULL, 'net of invoice ' || CAST(id AS TEXT), net_micros FROM invoice
UNION ALL SELECT tenant_id, '', NULL, 'cost of invoice ' || CAST(id AS TEXT), cost_micros FROM invoice""",
    ),
    # The last period that was billed may still have something on its next invoice.
    Check(
        "usage_lines",
        """
WITH billed (tenant_id, period_on) AS (
         SELECT tenant_id, period_on FROM invoice i WHERE reason = 'period' AND status <> 'draft' AND EXISTS (
             SELECT 1 FROM invoice n WHERE n.tenant_id = i.tenant_id AND n.subscription_id = i.subscription_id
             AND n.reason = 'period' AND n.status <> 'draft' AND n.period_on > i.period_on)),
     entry (tenant_id, resource, period, price, expected, found) AS (
         SELECT tenant_id, resource_code, period_on, price_micros, quantity, 0 FROM meter_beyond
         WHERE beyond_as = 'charge'
         UNION ALL SELECT l.tenant_id, l.resource_code, l.usage_on, l.price_micros, 0, l.quantity FROM invoice_line l
         JOIN invoice i ON i.tenant_id = l.tenant_id AND i.id = l.invoice_id
         WHERE l.usage_on IS NOT NULL AND i.status <> 'draft' AND i.kind = 'invoice')
SELECT e.tenant_id, e.resource, e.period, 'at ' || CAST(e.price AS TEXT), sum(e.expected), sum(e.found)
FROM entry e JOIN billed b ON b.tenant_id = e.tenant_id AND b.period_on = e.period
GROUP BY e.tenant_id, e.resource, e.period, e.price HAVING sum(e.expected) <> sum(e.found)""",
    ),
    Check(
        "billed_once",
        """
SELECT tenant_id, '', period_on, 'invoices for ' || reason, 1, count(*) FROM invoice
GROUP BY tenant_id, subscription_id, period_on, reason HAVING count(*) > 1""",
    ),
    Check(
        "number_gaps",
        """
SELECT CAST(NULL AS BIGINT), '', NULL, 'series ' || s.prefix, s.last, count(DISTINCT i.number)
FROM number_series s LEFT JOIN invoice i ON substr(i.number, 1, length(s.prefix)) = s.prefix AND NOT EXISTS (
    SELECT 1 FROM number_series longer WHERE length(longer.prefix) > length(s.prefix)
    AND substr(i.number, 1, length(longer.prefix)) = longer.prefix)
GROUP BY s.prefix, s.last HAVING count(DISTINCT i.number) <> s.last""",
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

CHECKS = (*_METERS, *_RECORDS, *_HOLDS, *_ALLOCATIONS, *_SUBSCRIPTIONS, *_LIVES, *_QUARANTINE, *_MONEY, *_ACCOUNTS)

"""What must hold between ledger, invoices and payments, in the form of `invariants.py`."""

from app.domain.insight.invariants import Check, sums

CHECKS = (
    sums(
        "ledger_balance",
        "SELECT tenant_id, '', NULL, currency, amount_micros FROM ledger_entry",
        "SELECT tenant_id, '', NULL, currency, balance_micros FROM ledger_balance",
    ),
    sums(
        "ledger_entries",
        "SELECT tenant_id, '', NULL, currency, 1 FROM ledger_entry",
        "SELECT tenant_id, '', NULL, currency, entries FROM ledger_balance",
    ),
    # Each entry goes on from what another one left, the first from 0: no order is asked for, which clocks could upset.
    sums(
        "ledger_goes_on",
        """
SELECT tenant_id, '', NULL, currency || ' ' || CAST(balance_micros - amount_micros AS TEXT), 1 FROM ledger_entry
UNION ALL SELECT tenant_id, '', NULL, currency || ' ' || CAST(balance_micros AS TEXT), 1 FROM ledger_balance""",
        """
SELECT tenant_id, '', NULL, currency || ' ' || CAST(balance_micros AS TEXT), 1 FROM ledger_entry
UNION ALL SELECT tenant_id, '', NULL, currency || ' 0', 1 FROM ledger_balance""",
    ),
    sums(
        "ledger_documents",
        """
SELECT tenant_id, '', NULL, 'invoice:' || CAST(id AS TEXT), total_micros FROM invoice WHERE status <> 'draft'
UNION ALL SELECT tenant_id, '', NULL, 'payment:' || CAST(id AS TEXT), -amount_micros FROM payment
WHERE method <> 'credit'""",
        "SELECT tenant_id, '', NULL, source, amount_micros FROM ledger_entry",
    ),
    sums(
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
    sums(
        "open_and_credit",
        "SELECT tenant_id, '', NULL, currency, balance_micros FROM ledger_balance",
        """
SELECT tenant_id, '', NULL, currency, open_micros FROM invoice
UNION ALL SELECT tenant_id, '', NULL, currency, -unmatched_micros FROM payment""",
    ),
    sums(
        "payment_matches",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), amount_micros FROM payment WHERE amount_micros > 0""",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(payment_id AS TEXT), amount_micros FROM payment_match
UNION ALL SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), unmatched_micros FROM payment
WHERE amount_micros > 0""",
    ),
    sums(
        "repayments",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), -amount_micros FROM payment WHERE amount_micros < 0""",
        """
SELECT tenant_id, '', NULL, 'payment ' || CAST(repayment_id AS TEXT), amount_micros FROM payment_match
WHERE repayment_id IS NOT NULL
UNION ALL SELECT tenant_id, '', NULL, 'payment ' || CAST(id AS TEXT), -unmatched_micros FROM payment
WHERE amount_micros < 0""",
    ),
    # A line of a bank that was assigned is a payment of that tenant, and one that waits is none yet.
    Check(
        "bank_lines",
        """
SELECT tenant_id, '', NULL, state || ' bank line ' || CAST(id AS TEXT), due, paid
FROM (SELECT coalesce(l.assigned_to_id, p.tenant_id) AS tenant_id, l.state, l.id,
             CASE WHEN l.state = 'assigned' THEN l.amount_micros ELSE 0 END AS due,
             coalesce(p.amount_micros, 0) AS paid
      FROM unmatched_line l LEFT JOIN payment p ON p.key = l.key AND p.currency = l.currency
           AND (l.state = 'open' OR p.tenant_id = l.assigned_to_id)
      WHERE l.state <> 'ignored') AS line
WHERE due <> paid""",
    ),
    # What it came to, less what was paid and credited; what a document gave beyond what was open became a payment.
    sums(
        "invoice_open",
        """
SELECT tenant_id, '', NULL, 'invoice ' || CAST(coalesce(credits_id, id) AS TEXT), total_micros FROM invoice
WHERE status <> 'draft'
UNION ALL SELECT tenant_id, '', NULL, 'invoice ' || CAST(invoice_id AS TEXT), -amount_micros FROM payment_match
WHERE invoice_id IS NOT NULL
UNION ALL SELECT p.tenant_id, '', NULL, 'invoice ' || CAST(coalesce(i.credits_id, i.id) AS TEXT), p.amount_micros
FROM payment p JOIN invoice i ON i.tenant_id = p.tenant_id AND p.key = 'credit:' || CAST(i.id AS TEXT)
WHERE p.method = 'credit'""",
        "SELECT tenant_id, '', NULL, 'invoice ' || CAST(coalesce(credits_id, id) AS TEXT), open_micros FROM invoice",
    ),
    Check(
        "open_by_status",
        """
SELECT tenant_id, '', NULL, status || ' invoice ' || CAST(id AS TEXT), CASE WHEN status = 'final' THEN 1 ELSE 0 END,
       CASE WHEN open_micros > 0 THEN 1 ELSE 0 END
FROM invoice WHERE kind = 'invoice' AND (status = 'final') <> (open_micros > 0)""",
    ),
    Check(
        "void_is_credited",
        """
SELECT i.tenant_id, '', NULL, 'invoice ' || CAST(i.id AS TEXT), i.total_micros, coalesce(n.credited_micros, 0)
FROM invoice i LEFT JOIN (
    SELECT tenant_id, credits_id, -sum(total_micros) AS credited_micros FROM invoice
    WHERE kind = 'credit_note' AND status <> 'draft' GROUP BY tenant_id, credits_id) n
ON n.tenant_id = i.tenant_id AND n.credits_id = i.id
WHERE i.status = 'void' AND i.total_micros <> coalesce(n.credited_micros, 0)""",
    ),
    sums(
        "invoice_lines",
        "SELECT tenant_id, '', NULL, 'invoice ' || CAST(invoice_id AS TEXT), amount_micros FROM invoice_line",
        "SELECT tenant_id, '', NULL, 'invoice ' || CAST(id AS TEXT), net_micros + tax_within_micros FROM invoice",
    ),
    sums(
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
    # Drafts may be dropped later, and those that were set aside issued one by one.
    Check(
        "bill_run_counts",
        """
WITH made (run_id, drafted, issued) AS (
         SELECT bill_run_id, count(*), sum(CASE WHEN status = 'draft' THEN 0 ELSE 1 END) FROM invoice
         WHERE bill_run_id IS NOT NULL GROUP BY bill_run_id)
SELECT CAST(NULL AS BIGINT), '', NULL, 'drafts of bill run ' || CAST(r.id AS TEXT), m.drafted, r.drafted
FROM bill_run r JOIN made m ON m.run_id = r.id WHERE r.drafted < m.drafted
UNION ALL SELECT CAST(NULL AS BIGINT), '', NULL, 'invoices of bill run ' || CAST(r.id AS TEXT), coalesce(m.issued, 0),
       r.finalised
FROM bill_run r LEFT JOIN made m ON m.run_id = r.id WHERE r.finalised > coalesce(m.issued, 0)""",
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

"""What a tenant owes and why: proration, invoices, the ledger, payments, the bill run."""

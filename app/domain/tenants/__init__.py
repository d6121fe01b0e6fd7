"""The customers: profile, time zone, currency, status, and the names machines know them by."""

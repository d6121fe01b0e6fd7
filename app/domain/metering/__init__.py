"""Usage records, meters and the daily rollup; quarantine for what cannot be understood."""

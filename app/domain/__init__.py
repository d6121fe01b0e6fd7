"""The rules. No Flask, no HTML; services are functions, models are nouns."""

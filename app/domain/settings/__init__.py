"""What the provider sets for the whole installation: names, words, colours, logo. See README.md."""

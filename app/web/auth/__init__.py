"""Signing in and out, and what links from mails open."""

"""Arithmetic and vocabulary that depend on the standard library alone."""

"""Who is on what, since when; billing periods at work."""

"""What is sold: resources, packages, revisions, limits."""

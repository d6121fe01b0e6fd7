"""Who signs in: provider staff, tenant users, their sessions, and the sources with their API keys."""

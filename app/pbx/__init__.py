"""What a PBX says, turned into `app.core.usage` values: no database, no HTTP."""

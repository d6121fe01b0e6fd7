"""Work that is done after the transaction that asked for it, by `flask worker`."""

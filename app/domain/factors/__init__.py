"""What a person proves beside the password: codes of an app, passkeys, recovery codes."""

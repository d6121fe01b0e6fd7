"""Passwords: what is acceptable, Argon2id, and never many verifications at once. No database."""

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pwdlib import PasswordHash

from app.core.errors import Invalid, Throttled

MIN_LENGTH = 12
MAX_LENGTH = 1024
AT_ONCE = 4  # a verification takes 64 MiB, so a flood of sign-ins must not take them all together
PATIENCE_SECONDS = 15

_hasher = PasswordHash.recommended()  # Argon2id with the parameters of RFC 9106, second choice
_turns = threading.BoundedSemaphore(AT_ONCE)


def make_hash(password: str, email: str = "") -> str:
    """The Argon2id hash to keep. Raises Invalid (field `new`) for a password too short, too long or the address."""
    if len(password) < MIN_LENGTH:
        raise Invalid("password_too_short", f"Use at least {MIN_LENGTH} characters.", field="new")
    if len(password) > MAX_LENGTH:
        raise Invalid("password_too_long", f"Use at most {MAX_LENGTH} characters.", field="new")
    if password.strip().lower() == email:
        raise Invalid("password_is_email", "Use something else than the e-mail address.", field="new")
    return _hasher.hash(_normal(password))


def verify(password: str, known_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password fits, and a new hash where the parameters have become stronger meanwhile.

    Without a hash the answer is False after the same work, so that time does not tell who has an account.
    """
    fits, stronger = _hasher.verify_and_update(_normal(password[: MAX_LENGTH + 1]), known_hash or _nobodys_hash())
    return (fits, stronger) if known_hash else (False, None)


@contextmanager
def turn() -> Iterator[None]:
    """One of the few places for a verification. Raises Throttled (`busy`) after waiting in vain."""
    if not _turns.acquire(timeout=PATIENCE_SECONDS):
        raise Throttled("busy", "Too many people sign in at this moment. Try again shortly.", retry_after=5)
    try:
        _nobodys_hash()  # made before it is needed, so that the first unknown address takes no longer
        yield
    finally:
        _turns.release()


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody at all")


def _normal(password: str) -> str:
    """The same characters however a keyboard composed them (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)

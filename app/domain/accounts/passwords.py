"""Passwords: what is acceptable, Argon2id, and never many verifications at once. No database."""

import gzip
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources

from pwdlib import PasswordHash

from app import one_cpu
from app.core.errors import Invalid, Throttled

MIN_LENGTH = 12
MAX_LENGTH = 1024
AT_ONCE = 4  # a verification takes 64 MiB, so a flood of sign-ins must not take them all together
PATIENCE_SECONDS = 15

_hasher = PasswordHash.recommended()  # Argon2id with the parameters of RFC 9106, second choice
_AROUND = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_turns = threading.BoundedSemaphore(AT_ONCE)


def make_hash(password: str, email: str = "") -> str:
    """The Argon2id hash to keep. Raises Invalid (field `new`) for a password too short, too long, too common, or with
    the e-mail address inside.
    """
    if len(password) < MIN_LENGTH:
        raise Invalid("password_too_short", f"Use at least {MIN_LENGTH} characters.", field="new")
    if len(password) > MAX_LENGTH:
        raise Invalid("password_too_long", f"Use at most {MAX_LENGTH} characters.", field="new")
    if email and email in password.lower():
        raise Invalid("password_is_email", "Use something else than the e-mail address.", field="new")
    if is_common(password):
        raise Invalid("password_is_common", "Too many people use this password, or one like it.", field="new")
    with one_cpu.anywhere():
        return _hasher.hash(_normal(password))


def is_common(password: str) -> bool:
    """Whether it is among the first that somebody guesses: a common password, also said again and again or with
    digits and signs around it; or a few characters repeated.

    >>> [is_common(each) for each in ("Sunshine2026!!", "passwordpassword", "correct horse battery")]
    [True, True, False]
    """
    word = _said_once(_normal(password).casefold())
    core = _AROUND.sub("", word)
    return len(word) < 4 or _is_listed(word) or _is_listed(core)


def _said_once(word: str) -> str:
    """`word` without its repetitions: where it is found again within itself, it begins anew."""
    return word[: (word + word).find(word, 1)]


def _is_listed(word: str) -> bool:
    return len(word) >= 4 and f"\n{word}\n" in _common_passwords()


@cache
def _common_passwords() -> str:
    """One a line: half a megabyte, of which a set of strings would make ten times as much."""
    packed = resources.files(__package__).joinpath("common_passwords.txt.gz").read_bytes()
    return "\n" + gzip.decompress(packed).decode()


def verify(password: str, known_hash: str | None) -> tuple[bool, str | None]:
    """Whether the password fits, and a new hash where the parameters have become stronger meanwhile.

    Without a hash the answer is False after the same work, so that time does not tell who has an account.
    """
    known = known_hash or _nobodys_hash()
    with one_cpu.anywhere():
        fits, stronger = _hasher.verify_and_update(_normal(password[: MAX_LENGTH + 1]), known)
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

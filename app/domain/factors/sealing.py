"""Keys made of the portal's secret key, one per purpose, and the sealing of what the server itself must read again."""

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


def derived_key(secret_key: str, purpose: str) -> bytes:
    """32 bytes for one purpose alone; they tell nothing of the secret key nor of other purposes (HMAC-SHA256)."""
    return hmac.digest(secret_key.encode(), f"ringplan {purpose}".encode(), hashlib.sha256)


def seal(secret_key: str, purpose: str, text: str) -> str:
    """`text` encrypted and authenticated (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _fernet(secret_key, purpose).encrypt(text.encode()).decode()


def unseal(secret_key: str, purpose: str, sealed: str) -> str | None:
    """What was sealed for this purpose; None when it was not, or with another secret key."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415  as below

    try:
        return _fernet(secret_key, purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        return None


def _fernet(secret_key: str, purpose: str) -> "Fernet":
    from cryptography.fernet import Fernet  # noqa: PLC0415  loads OpenSSL, which most requests do without

    return Fernet(base64.urlsafe_b64encode(derived_key(secret_key, purpose)))

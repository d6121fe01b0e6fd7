"""Signatures of Standard Webhooks. Source: standardwebhooks.com, "Signature scheme", symmetric."""

import base64
import hashlib
import hmac
import secrets

PREFIX = "whsec_"


def new_salt() -> str:
    """What makes a secret another one: 32 hex digits."""
    return secrets.token_hex(16)


def secret_of(installation_key: str, endpoint_id: int, salt: str) -> str:
    """The secret of an endpoint, `whsec_…` of 32 bytes: derived, so that nothing in the database gives it away."""
    meaning = f"webhook/{endpoint_id}/{salt}".encode()
    derived = hmac.new(installation_key.encode(), meaning, hashlib.sha256).digest()
    return PREFIX + base64.b64encode(derived).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,<base64>` over `<id>.<seconds>.<body>`.

    >>> signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
    ...           b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

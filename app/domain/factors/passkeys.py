"""Passkeys (WebAuthn level 3): registered by one challenge, answered to prove who is there. See README.md."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from app.core.errors import Conflict, Invalid
from app.core.ids import new_id
from app.db import rowcount
from app.domain.factors import challenges
from app.domain.factors.models import Passkey

MOST = 20  # of one account
ALGORITHMS = (-8, -7, -257)  # EdDSA, ES256, RS256: what the verification knows
MAX_ANSWER = 20_000  # characters of JSON
_ID = re.compile(r"[A-Za-z0-9_-]{1,1364}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ceremony:
    """Where and what for a browser is asked: `rp_id` is the host that passkeys are bound to, `origins` are the
    addresses its pages may have, `use` names the browser's session and the purpose.
    """

    secret_key: str
    rp_id: str
    rp_name: str
    origins: tuple[str, ...]
    use: str


def creation_options(session: Session, where: Ceremony, account_id: int, email: str, name: str, now: datetime) -> str:
    """JSON for `navigator.credentials.create`: a new passkey, on a device that holds none of this account yet."""
    return json.dumps(
        {
            "rp": {"id": where.rp_id, "name": where.rp_name},
            "user": {"id": _text(str(account_id).encode()), "name": email, "displayName": name},
            "challenge": _text(challenges.make(where.secret_key, where.use, now=now)),
            "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in ALGORITHMS],
            "authenticatorSelection": {"residentKey": "preferred", "userVerification": "preferred"},
            "excludeCredentials": _descriptors(list_of(session, account_id)),
        }
    )


def request_options(session: Session, where: Ceremony, account_id: int | None, now: datetime) -> str:
    """JSON for `navigator.credentials.get`: one of the account's passkeys.

    Without an account any that the browser knows for this portal, and the device makes sure who holds it.
    """
    return json.dumps(
        {
            "rpId": where.rp_id,
            "challenge": _text(challenges.make(where.secret_key, where.use, now=now)),
            "allowCredentials": _descriptors(list_of(session, account_id)) if account_id else [],
            "userVerification": "preferred" if account_id else "required",
        }
    )


def register(session: Session, where: Ceremony, account_id: int, answer: str, name: str, *, now: datetime) -> Passkey:
    """Keep what the browser made.

    Raises Invalid (`passkey_refused`, `challenge_over`) and Conflict `too_many_passkeys`.
    """
    from webauthn import verify_registration_response  # noqa: PLC0415  loads OpenSSL, which most requests do without

    credential, challenge = _read(answer)
    made = _checked(
        lambda: verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=where.rp_id,
            expected_origin=list(where.origins),
        )
    )
    challenges.spend(session, where.secret_key, where.use, challenge, now=now)
    if len(list_of(session, account_id)) >= MOST:
        raise Conflict("too_many_passkeys", f"At most {MOST} passkeys can be kept. Remove one first.")
    credential_id = credential["id"]
    if session.scalar(select(Passkey.id).where(Passkey.credential_id == credential_id)):
        raise _refusal()
    passkey = Passkey(
        id=new_id(),
        account_id=account_id,
        credential_id=credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        transports=[str(each)[:32] for each in credential["response"].get("transports") or []][:8],
        name=name,
        created_at=now,
    )
    session.add(passkey)
    session.flush()
    return passkey


def spend(session: Session, where: Ceremony, account_id: int | None, answer: str, *, now: datetime) -> int:
    """Accept a passkey's answer, once; returns whose it is.

    Without an account the device must have verified its holder. Raises Invalid (`passkey_refused`, `challenge_over`),
    also for a sign counter that did not move on: the key was copied.
    """
    from webauthn import verify_authentication_response  # noqa: PLC0415

    credential, challenge = _read(answer)
    passkey = session.scalar(select(Passkey).where(Passkey.credential_id == credential["id"]))
    if passkey is None or account_id not in (None, passkey.account_id):
        raise _refusal()
    known, count = passkey.public_key, passkey.sign_count
    proven = _checked(
        lambda: verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=where.rp_id,
            expected_origin=list(where.origins),
            credential_public_key=known,
            credential_current_sign_count=count,
            require_user_verification=account_id is None,
        )
    )
    challenges.spend(session, where.secret_key, where.use, challenge, now=now)
    moves_on = or_(Passkey.sign_count < proven.new_sign_count, Passkey.sign_count == 0)
    counted = update(Passkey).where(Passkey.id == passkey.id, moves_on)
    if not rowcount(session.execute(counted.values(sign_count=proven.new_sign_count, used_at=now))):
        raise _refusal()
    return passkey.account_id


def list_of(session: Session, account_id: int) -> list[Passkey]:
    """The account's passkeys, oldest first."""
    return list(session.scalars(select(Passkey).where(Passkey.account_id == account_id).order_by(Passkey.id)))


def remove(session: Session, account_id: int, passkey_id: int) -> str | None:
    """Forget one of the account's passkeys; returns its name, or None where there was none."""
    whose = (Passkey.account_id == account_id, Passkey.id == passkey_id)
    return session.scalar(delete(Passkey).where(*whose).returning(Passkey.name))


def remove_all(session: Session, account_id: int) -> None:
    """Forget all passkeys of the account."""
    session.execute(delete(Passkey).where(Passkey.account_id == account_id))


def _read(answer: str) -> tuple[dict[str, Any], bytes]:
    """The credential as the browser wrote it, and the challenge that it says to answer."""
    from webauthn.helpers import base64url_to_bytes, parse_client_data_json  # noqa: PLC0415

    def read() -> tuple[dict[str, Any], bytes]:
        if len(answer) > MAX_ANSWER:
            raise ValueError
        credential = json.loads(answer)
        if not _ID.fullmatch(credential["id"]):
            raise ValueError
        return credential, parse_client_data_json(
            base64url_to_bytes(credential["response"]["clientDataJSON"])
        ).challenge

    return _checked(read)


def _checked(act: Callable[[], T]) -> T:
    """What `act` finds. Whatever it stumbles on, the answer is not one of a passkey: it came from outside."""
    try:
        return act()
    except Exception as error:
        raise _refusal() from error


def _refusal() -> Invalid:
    return Invalid("passkey_refused", "The passkey was not accepted.")


def _descriptors(passkeys: list[Passkey]) -> list[dict[str, Any]]:
    return [
        {"type": "public-key", "id": passkey.credential_id, "transports": passkey.transports} for passkey in passkeys
    ]


def _text(raw: bytes) -> str:
    """Base64url without padding, as the JSON forms of WebAuthn have it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

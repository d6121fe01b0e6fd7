"""Second factors of accounts. Global as the accounts are: they are asked for before a tenant is known."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, Id, Line, Ref, Utc, UtcDateTime


class Totp(Base):
    """An authenticator app (RFC 6238), one per account. Counts once a first code was shown (`confirmed_at`)."""

    __tablename__ = "totp"
    account_id: Mapped[Ref] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    sealed_secret: Mapped[Line]
    last_step: Mapped[Ref]  # steps of 30 s since 1970; a code counts for a later one alone, so each works once
    created_at: Mapped[Utc]
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class RecoveryCode(Base):
    """One of ten codes shown once; of each the SHA-256 is kept."""

    __tablename__ = "recovery_code"
    account_id: Mapped[Ref] = mapped_column(ForeignKey("account.id"), primary_key=True, autoincrement=False)
    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[Utc]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Passkey(Base):
    """A WebAuthn credential: a public key whose private half never leaves its owner's device."""

    __tablename__ = "passkey"
    id: Mapped[Id]
    account_id: Mapped[Ref] = mapped_column(ForeignKey("account.id"), index=True)
    credential_id: Mapped[str] = mapped_column(String(1364), unique=True)  # base64url of at most 1023 bytes
    public_key: Mapped[bytes] = mapped_column(LargeBinary)  # COSE
    sign_count: Mapped[Ref]  # 0 where the device does not count
    transports: Mapped[list[Any]] = mapped_column(JSON)
    name: Mapped[Line]
    created_at: Mapped[Utc]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SpentChallenge(Base):
    """A challenge that was answered: it is not accepted again. Kept as long as it would be valid."""

    __tablename__ = "spent_challenge"
    __table_args__ = (Index("spent_challenge_by_age", "spent_at"),)
    challenge_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    spent_at: Mapped[Utc]

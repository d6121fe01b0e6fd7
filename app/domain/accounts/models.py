"""People, their sign-ins and the machines that report."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Code, Id, Line, Ref, Utc, UtcDateTime
from app.domain.tenants.models import Tenant

MARK_LENGTH = 16  # hexadecimal digits of a token's hash that name a sign-in to its owner

_INVITED = "purpose = 'invitation' AND used_at IS NULL AND withdrawn_at IS NULL"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Account(Base):
    """A person who signs in: provider staff without a tenant, or a user of one tenant.

    Global, since the e-mail address is looked up before any tenant is known.
    """

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint(
            "(tenant_id IS NULL AND role IN ('owner', 'billing', 'support', 'read_only'))"
            " OR (tenant_id IS NOT NULL AND role IN ('admin', 'billing', 'member'))",
            name="role_of_its_side",
        ),
    )
    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(255), unique=True)  # lower case
    name: Mapped[Line]
    password_hash: Mapped[Line]
    tenant_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"), index=True)
    role: Mapped[str] = mapped_column(String(16))  # a roles.Role of the side that tenant_id says
    created_at: Mapped[Utc]
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the person is gone, see app/domain/privacy
    wants_threshold_mail: Mapped[bool] = mapped_column(default=False)
    locale: Mapped[str] = mapped_column(String(16), default="")  # this and the next two: display.py
    timezone: Mapped[str] = mapped_column(String(64), default="")
    units: Mapped[str] = mapped_column(String(16), default="")
    has_second_factor: Mapped[bool] = mapped_column(default=False)  # kept by factors, read by every request

    @property
    def is_staff(self) -> bool:
        """True for the provider's own people."""
        return self.tenant_id is None


class SignIn(Base):
    """One browser's session. The cookie holds a random token, this row its SHA-256."""

    __tablename__ = "sign_in"
    __table_args__ = (
        CheckConstraint(
            "(viewed_tenant_id IS NULL) = (viewed_as IS NULL) AND (viewed_tenant_id IS NULL) = (viewed_until IS NULL)",
            name="view_is_whole",
        ),
        Index("sign_ins_ended", "ended_at", **_where("ended_at IS NOT NULL")),
    )
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[Ref] = mapped_column(ForeignKey("account.id"), index=True)
    address: Mapped[Code]
    user_agent: Mapped[Line]
    created_at: Mapped[Utc]
    seen_at: Mapped[Utc]
    confirmed_at: Mapped[Utc]  # when the person last proved who they are
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    viewed_tenant_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"))  # see viewing.py
    viewed_as: Mapped[str | None] = mapped_column(String(16))
    viewed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="joined")

    @property
    def mark(self) -> str:
        """See `sessions.mark_of`."""
        return self.token_hash[:MARK_LENGTH]


class MailedLink(Base):
    """A link that goes out by mail and opens one thing once; see links.py. Global, since nobody is signed in yet."""

    __tablename__ = "mailed_link"
    __table_args__ = (
        CheckConstraint("(purpose = 'invitation') = (account_id IS NULL)", name="of_an_account_or_to_one"),
        CheckConstraint("(purpose = 'invitation') = (role IS NOT NULL)", name="invited_with_a_role"),
        Index("invited_once", "tenant_id", "email", unique=True, **_where(f"tenant_id IS NOT NULL AND {_INVITED}")),
        Index("staff_invited_once", "email", unique=True, **_where(f"tenant_id IS NULL AND {_INVITED}")),
    )
    id: Mapped[Id]
    purpose: Mapped[Code]  # a links.Purpose
    email: Mapped[Line]  # where it goes
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)  # SHA-256; none until its mail is sent
    account_id: Mapped[Ref | None] = mapped_column(ForeignKey("account.id"), index=True)
    tenant_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"))  # an invitation's, as is the role
    role: Mapped[str | None] = mapped_column(String(16))
    asked_by: Mapped[Line]
    created_at: Mapped[Utc]
    expires_at: Mapped[Utc]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class StaffIdentity(Base):
    """Who one of the staff is at an OpenID Connect provider, bound at the first sign-in there."""

    __tablename__ = "staff_identity"
    __table_args__ = (UniqueConstraint("account_id", "issuer", name="one_subject_each"),)
    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    account_id: Mapped[Ref] = mapped_column(ForeignKey("account.id"))
    bound_at: Mapped[Utc]


class SecondFactorDemand(Base):
    """A role that must have a second factor; `of_staff` says on which side."""

    __tablename__ = "second_factor_demand"
    of_staff: Mapped[bool] = mapped_column(primary_key=True)
    role: Mapped[Code] = mapped_column(primary_key=True)


class SignInAttempt(Base):
    """One try, right or wrong: what the throttle counts."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (
        Index("sign_in_attempt_by_email", "email", "at"),
        Index("sign_in_attempt_by_address", "address", "at"),
    )
    id: Mapped[Id]
    email: Mapped[Line]
    address: Mapped[Code]
    at: Mapped[Utc]
    succeeded: Mapped[bool]


class Source(Base):
    """A PBX, or any sender, that reports usage. `settings` are `app.core.usage.SourceSettings` as JSON."""

    __tablename__ = "source"
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[Line]
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[Utc]
    keys: Mapped[list["ApiKey"]] = relationship(back_populates="source", order_by="ApiKey.created_at.desc()")


class ApiKey(Base):
    """`rp_<prefix>_<secret>`: found by prefix, the secret's SHA-256 compared in constant time.

    Of a source, or of a tenant, which reads its own data with it.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint("revoked_at IS NULL OR revoked_at >= created_at", name="revoked_after_made"),
        CheckConstraint("(source_id IS NULL) <> (tenant_id IS NULL)", name="has_one_owner"),
    )
    id: Mapped[Id]
    source_id: Mapped[Ref | None] = mapped_column(ForeignKey("source.id"), index=True)
    tenant_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"), index=True)
    label: Mapped[Line] = mapped_column(default="")
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[Utc]
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    replaced_by: Mapped[str | None] = mapped_column(ForeignKey("api_key.prefix"))

    source: Mapped[Source | None] = relationship(back_populates="keys", lazy="joined")
    tenant: Mapped[Tenant | None] = relationship()

    def is_valid(self, now: datetime) -> bool:
        """Whether it opens anything at `now`."""
        return all(at is None or at > now for at in (self.revoked_at, self.expires_at))


class IdempotencyKey(Base):
    """One request of a machine that may come again; see idempotency.py. Without `status` it is still running."""

    __tablename__ = "idempotency_key"
    __table_args__ = (Index("idempotency_key_by_age", "source_id", "claimed_at"),)
    source_id: Mapped[Ref] = mapped_column(ForeignKey("source.id"), primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    claim_id: Mapped[Ref]  # of the request that acts: it alone may store the answer
    claimed_at: Mapped[Utc]
    status: Mapped[int | None]
    content_type: Mapped[Line] = mapped_column(default="")
    body: Mapped[str] = mapped_column(Text, default="")


class RateWindow(Base):
    """What was given out to one key or address in the window it was last seen in."""

    __tablename__ = "rate_window"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)  # key:<id>, address:<network>
    number: Mapped[Ref]  # of the window: seconds since 1970, divided by WINDOW
    used: Mapped[int] = mapped_column(BigInteger)

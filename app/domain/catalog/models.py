"""Resources, packages, revisions, limits."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Code, Id, Line, Micros, Quantity, Ref, Utc


class Resource(Base):
    """Something a package can limit. A row of data: a new one needs no code."""

    __tablename__ = "resource"
    __table_args__ = (
        CheckConstraint("kind IN ('metered', 'allocated', 'concurrent')", name="known_kind"),
        CheckConstraint("factor >= 1 AND first_step >= 1 AND next_step >= 1", name="steps_are_positive"),
    )
    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[Line]
    kind: Mapped[str] = mapped_column(String(16))
    base_unit: Mapped[str] = mapped_column(String(32))  # second, page, item
    unit_one: Mapped[str] = mapped_column(String(32))  # the display unit: minute
    unit_many: Mapped[str] = mapped_column(String(32))  # minutes
    factor: Mapped[int]  # base units in a display unit: 60
    first_step: Mapped[int] = mapped_column(default=1)  # billing step in base units: 60/60, 30/6, 1/1
    next_step: Mapped[int] = mapped_column(default=1)
    position: Mapped[int] = mapped_column(SmallInteger, default=100)


class Package(Base):
    """What is sold. Points at its current revision; editing it writes a revision and moves this pointer."""

    __tablename__ = "package"
    __table_args__ = (CheckConstraint("status IN ('draft', 'published', 'archived')", name="known_status"),)
    id: Mapped[Id]
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[Line]
    status: Mapped[str] = mapped_column(String(16))
    public: Mapped[bool]
    revision_id: Mapped[int] = mapped_column(BigInteger)  # no foreign key: the two tables would need each other first
    created_at: Mapped[Utc]

    revision: Mapped["PackageRevision"] = relationship(
        primaryjoin="foreign(Package.revision_id) == PackageRevision.id", viewonly=True
    )


class PackageRevision(Base):
    """Immutable content of a package."""

    __tablename__ = "package_revision"
    __table_args__ = (
        UniqueConstraint("package_id", "number", name="revision_numbers_count_up"),
        CheckConstraint("interval IN ('month', 'year')", name="known_interval"),
        CheckConstraint("tenants_may IN ('change', 'ask', 'see')", name="known_tenants_may"),
        CheckConstraint("price_micros >= 0 AND cost_micros >= 0 AND setup_fee_micros >= 0", name="no_negative_price"),
        Index("revision_in_force", "package_id", "published_at"),
    )
    id: Mapped[Id]
    package_id: Mapped[Ref] = mapped_column(ForeignKey("package.id"))
    number: Mapped[int]
    name: Mapped[Line]
    public: Mapped[bool]
    # What tenants may do about a public package by themselves: change to it, ask for it, or only see it.
    tenants_may: Mapped[str] = mapped_column(String(8), default="change")
    blocked_prefixes: Mapped[str] = mapped_column(Text, default="")  # that may not be called; see core/destinations.py
    loss_reason: Mapped[Line] = mapped_column(default="")  # why fully used it may cost more than its price
    price_micros: Mapped[Micros]
    cost_micros: Mapped[Micros]
    setup_fee_micros: Mapped[Micros]
    interval: Mapped[str] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    published_at: Mapped[Utc]
    published_by: Mapped[Line]

    limits: Mapped[list["PackageLimit"]] = relationship(back_populates="revision", lazy="selectin")


class PackageLimit(Base):
    """How much of one resource a revision includes. `included` None is unlimited, 0 is none."""

    __tablename__ = "package_limit"
    __table_args__ = (
        CheckConstraint("included IS NULL OR included >= 0", name="included_is_not_negative"),
        CheckConstraint("at_limit IN ('block', 'charge', 'notify')", name="known_at_limit"),
        CheckConstraint("overage_price_micros >= 0", name="no_negative_price"),
        CheckConstraint("unit_cost_micros >= 0", name="no_negative_cost"),
        CheckConstraint("rollover_periods >= 0 AND (rollover_cap IS NULL OR rollover_cap >= 0)", name="rollover_adds"),
        # Tells at once of which resources anything was ever carried over.
        Index(
            "limits_that_roll_over",
            "resource_code",
            sqlite_where=text("rollover_periods > 0"),
            postgresql_where=text("rollover_periods > 0"),
        ),
    )
    revision_id: Mapped[Ref] = mapped_column(ForeignKey("package_revision.id"), primary_key=True)
    resource_code: Mapped[Code] = mapped_column(ForeignKey("resource.code"), primary_key=True)
    included: Mapped[Quantity | None]
    at_limit: Mapped[str] = mapped_column(String(8))
    overage_price_micros: Mapped[Micros] = mapped_column(default=0)  # per display unit
    rollover_periods: Mapped[int] = mapped_column(SmallInteger, default=0)  # what is left lives so many periods more
    rollover_cap: Mapped[Quantity | None]  # the most that is carried into a period; None: all of it
    unit_cost_micros: Mapped[Micros] = mapped_column(default=0)  # wholesale, per display unit

    revision: Mapped[PackageRevision] = relationship(back_populates="limits")
    resource: Mapped[Resource] = relationship(lazy="joined")

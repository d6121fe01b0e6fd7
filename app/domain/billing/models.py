"""Tax rates, billing profiles, invoices, the ledger, payments, bill runs."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, Code, Id, Line, Micros, Quantity, Ref, TenantId, Utc, UtcDateTime
from app.domain.tenants.models import Tenant


class TaxRate(Base):
    """A named tax rate. What was issued keeps a copy: a change of the row reaches drafts alone."""

    __tablename__ = "tax_rate"
    __table_args__ = (
        CheckConstraint("ppm >= 0 AND ppm <= 1000000", name="a_share"),
        CheckConstraint("category IN ('S', 'Z', 'E', 'AE', 'O')", name="known_category"),
        CheckConstraint("category = 'S' OR ppm = 0", name="only_the_standard_takes_tax"),
    )
    code: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[Line]
    ppm: Mapped[int]  # parts per million: 190,000 are 19 %
    inclusive: Mapped[bool]  # prices hold the tax already
    category: Mapped[str] = mapped_column(String(2))  # EN 16931: S, Z, E, AE (reverse charge), O
    note: Mapped[Line] = mapped_column(default="")  # printed under the tax, as reverse charge demands


class BillingProfile(Base):
    """How a tenant is billed. Without a row: its name, the default rate and the default terms."""

    __tablename__ = "billing_profile"
    __table_args__ = (CheckConstraint("payment_days >= 0 AND payment_days <= 365", name="days_within_a_year"),)
    tenant_id: Mapped[TenantId]
    legal_name: Mapped[Line] = mapped_column(default="")  # empty: the tenant's name
    address: Mapped[str] = mapped_column(Text, default="")  # lines
    tax_id: Mapped[Code] = mapped_column(default="")
    tax_code: Mapped[Code] = mapped_column(ForeignKey("tax_rate.code"))
    payment_days: Mapped[int] = mapped_column(SmallInteger)
    email: Mapped[Line] = mapped_column(default="")  # empty: the tenant's contact


class NumberSeries(Base):
    """The last number given out under a prefix, taken by the transaction that issues: no gap, whatever fails."""

    __tablename__ = "number_series"
    prefix: Mapped[str] = mapped_column(String(32), primary_key=True)
    last: Mapped[int]


class Invoice(Base):
    """An invoice or a credit note. A draft may change; what has a number never does.

    `period_on` is the first day of the period it is about, `reason` why: `start` (setup and the first period in
    advance), `period` (what lay beyond, changes, the coming period in advance), `credit-1` … (a credit note).
    """

    __tablename__ = "invoice"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "subscription_id"], ["subscription.tenant_id", "subscription.id"]),
        ForeignKeyConstraint(["tenant_id", "credits_id"], ["invoice.tenant_id", "invoice.id"]),
        UniqueConstraint("tenant_id", "subscription_id", "period_on", "reason", name="billed_once"),
        UniqueConstraint("tenant_id", "number", name="numbered_once"),
        CheckConstraint("kind IN ('invoice', 'credit_note')", name="known_kind"),
        CheckConstraint("status IN ('draft', 'final', 'paid', 'void')", name="known_status"),
        CheckConstraint("(status = 'draft') = (number IS NULL)", name="numbered_when_issued"),
        CheckConstraint("(kind = 'credit_note') = (credits_id IS NOT NULL)", name="a_credit_note_credits"),
        CheckConstraint("total_micros = net_micros + tax_micros", name="total_is_net_and_tax"),
        CheckConstraint("open_micros >= 0", name="open_is_not_negative"),
        Index("invoices_by_number", "number"),
        Index("invoices_newest_first", "id"),
        Index("invoices_by_day", "issued_on", "tenant_id"),
        Index("invoices_of_run", "bill_run_id", "tenant_id", "id"),
        Index(
            "invoices_open",
            "tenant_id",
            "due_on",
            "id",
            sqlite_where=text("open_micros > 0"),
            postgresql_where=text("open_micros > 0"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    kind: Mapped[str] = mapped_column(String(16))
    subscription_id: Mapped[Ref]
    period_on: Mapped[date]
    period_end_on: Mapped[date]  # the first day of the next period
    reason: Mapped[Code]
    status: Mapped[str] = mapped_column(String(8))
    number: Mapped[str | None] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[Utc]
    issued_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    issued_on: Mapped[date | None]  # in the tenant's time zone
    due_on: Mapped[date | None]
    net_micros: Mapped[Micros]
    tax_micros: Mapped[Micros]
    tax_within_micros: Mapped[Micros] = mapped_column(default=0)  # of the tax, what the lines' prices hold already
    total_micros: Mapped[Micros]
    cost_micros: Mapped[Micros] = mapped_column(default=0)  # wholesale, the sum of its lines'
    open_micros: Mapped[Micros] = mapped_column(default=0)  # what is still to be paid
    printed: Mapped[dict[str, Any]] = mapped_column(JSON)  # names, addresses and taxes as they were when it was issued
    credits_id: Mapped[Ref | None]  # the invoice that a credit note takes back, in full or in part
    bill_run_id: Mapped[Ref | None] = mapped_column(ForeignKey("bill_run.id"))
    odd: Mapped[Code] = mapped_column(default="")  # why a bill run leaves the draft to a person

    tenant: Mapped[Tenant] = relationship(lazy="joined")

    @property
    def filename(self) -> str:
        """What its documents are called, less the ending: `invoice-2026-00001`, `credit-note-2026-00002`."""
        return f"{self.kind.replace('_', '-')}-{self.number or 'draft'}"


class InvoiceLine(Base):
    """One line as it is printed; see `lines.Line`."""

    __tablename__ = "invoice_line"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "invoice_id"], ["invoice.tenant_id", "invoice.id"]),
        UniqueConstraint("tenant_id", "invoice_id", "position", name="lines_in_order"),
        UniqueConstraint("tenant_id", "credits_line_id", name="credited_once"),
        Index(
            "lines_by_usage",
            "tenant_id",
            "usage_on",
            sqlite_where=text("usage_on IS NOT NULL"),
            postgresql_where=text("usage_on IS NOT NULL"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    invoice_id: Mapped[Ref]
    position: Mapped[int] = mapped_column(SmallInteger)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[Line]
    amount_micros: Mapped[Micros]
    tax_code: Mapped[Code]
    price_micros: Mapped[Micros]
    quantity: Mapped[Quantity]
    factor: Mapped[int]
    unit_one: Mapped[str] = mapped_column(String(32), default="")
    unit_many: Mapped[str] = mapped_column(String(32), default="")
    resource_code: Mapped[Code] = mapped_column(default="")
    usage_on: Mapped[date | None]
    late: Mapped[bool] = mapped_column(default=False)
    first_on: Mapped[date | None]
    end_on: Mapped[date | None]
    days: Mapped[int] = mapped_column(SmallInteger, default=0)
    of_days: Mapped[int] = mapped_column(SmallInteger, default=0)
    net_micros: Mapped[Micros] = mapped_column(default=0)  # the amount without the tax in it
    cost_micros: Mapped[Micros] = mapped_column(default=0)  # wholesale, by the revision in force for the line
    package_id: Mapped[Ref | None] = mapped_column(ForeignKey("package.id"))  # None: of no package
    credits_line_id: Mapped[Ref | None]  # the line that a credit note takes back


class LedgerBalance(Base):
    """What a tenant owes (negative: what it has to its credit), the sum of its ledger entries in the currency.

    Every act about a tenant's money begins by taking this row, so that two of them queue.
    """

    __tablename__ = "ledger_balance"
    tenant_id: Mapped[TenantId]
    currency: Mapped[str] = mapped_column(String(3), primary_key=True)
    balance_micros: Mapped[Micros]
    entries: Mapped[int]


class LedgerEntry(Base):
    """One movement of what a tenant owes: an invoice adds, a payment takes off. Append-only."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("tenant_id", "source", name="entered_once"),
        CheckConstraint("kind IN ('invoice', 'credit_note', 'payment', 'repayment')", name="known_kind"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    at: Mapped[Utc]
    kind: Mapped[str] = mapped_column(String(16))
    source: Mapped[Code]  # what it came of: `invoice:<id>`, `payment:<id>`
    reference: Mapped[Line]  # the number or the payment's reference, as shown
    amount_micros: Mapped[Micros]
    currency: Mapped[str] = mapped_column(String(3))
    balance_micros: Mapped[Micros]  # after it


class Payment(Base):
    """What came in (or, negative, was paid back), once per `key`. `unmatched_micros` is the tenant's to use; negative,
    it was paid back without being there, and the next payment settles it.

    Method `credit` is a credit note beyond what was open, or an invoice below zero: nothing came in, its ledger entry
    is that document's.
    """

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("tenant_id", "key", name="paid_once"),
        CheckConstraint("method IN ('bank', 'cash', 'card', 'credit')", name="known_method"),
        CheckConstraint(
            "amount_micros > 0 AND unmatched_micros >= 0 OR amount_micros < 0 AND unmatched_micros <= 0",
            name="something_moves",
        ),
        Index(
            "payments_unmatched",
            "tenant_id",
            "id",
            sqlite_where=text("unmatched_micros > 0"),
            postgresql_where=text("unmatched_micros > 0"),
        ),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    key: Mapped[Line]
    method: Mapped[str] = mapped_column(String(8))
    reference: Mapped[Line]
    received_on: Mapped[date]
    amount_micros: Mapped[Micros]
    unmatched_micros: Mapped[Micros]
    currency: Mapped[str] = mapped_column(String(3))
    made_at: Mapped[Utc]
    made_by: Mapped[Line]


class PaymentMatch(Base):
    """What of a payment went to an invoice, or back to the tenant. Below zero: what an invoice gave up for a refund."""

    __tablename__ = "payment_match"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "payment_id"], ["payment.tenant_id", "payment.id"]),
        ForeignKeyConstraint(["tenant_id", "invoice_id"], ["invoice.tenant_id", "invoice.id"]),
        ForeignKeyConstraint(["tenant_id", "repayment_id"], ["payment.tenant_id", "payment.id"]),
        CheckConstraint("amount_micros > 0 OR invoice_id IS NOT NULL AND amount_micros < 0", name="something_moves"),
        CheckConstraint("(invoice_id IS NULL) <> (repayment_id IS NULL)", name="one_way"),
        Index("matches_of_invoice", "tenant_id", "invoice_id"),
        Index("matches_of_payment", "tenant_id", "payment_id"),
    )
    tenant_id: Mapped[TenantId]
    id: Mapped[Id]
    payment_id: Mapped[Ref]
    invoice_id: Mapped[Ref | None]
    repayment_id: Mapped[Ref | None]
    amount_micros: Mapped[Micros]
    matched_at: Mapped[Utc]


class GatewayEvent(Base):
    """What a payment gateway told us, each event once."""

    __tablename__ = "gateway_event"
    gateway: Mapped[str] = mapped_column(String(16), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[Code]
    received_at: Mapped[Utc]


class UnmatchedLine(Base):
    """A line of a bank's file that no invoice number explained, until somebody says whose it is, or nobody's."""

    __tablename__ = "unmatched_line"
    __table_args__ = (
        UniqueConstraint("key", name="kept_once"),
        CheckConstraint("state IN ('open', 'assigned', 'ignored')", name="known_state"),
        CheckConstraint("(state = 'assigned') = (assigned_to_id IS NOT NULL)", name="assigned_to_somebody"),
        CheckConstraint("state <> 'ignored' OR reason <> ''", name="ignored_for_a_reason"),
        Index("unmatched_lines_by_state", "state", "id"),
    )
    id: Mapped[Id]
    key: Mapped[Line]  # that of the payment it becomes: the same line read again is this one
    day: Mapped[date]
    amount_micros: Mapped[Micros]
    currency: Mapped[str] = mapped_column(String(3))
    payer: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    why: Mapped[Code]  # see bank.Found
    kept_at: Mapped[Utc]
    state: Mapped[str] = mapped_column(String(8), default="open")
    assigned_to_id: Mapped[Ref | None] = mapped_column(ForeignKey("tenant.id"))
    reason: Mapped[Line] = mapped_column(default="")
    decided_by: Mapped[Line] = mapped_column(default="")
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    assigned_to: Mapped[Tenant | None] = relationship(lazy="joined")


class DunningStep(Base):
    """One step taken about an unpaid invoice: a reminder or the suspension, each once."""

    __tablename__ = "dunning_step"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "invoice_id"], ["invoice.tenant_id", "invoice.id"]),
        CheckConstraint("kind IN ('reminder', 'suspension')", name="known_kind"),
    )
    tenant_id: Mapped[TenantId]
    invoice_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    step: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)  # from 1
    kind: Mapped[str] = mapped_column(String(16))
    taken_at: Mapped[Utc]


class BillRun(Base):
    """One pass over everybody who is due: drafts, review, then numbers. At most one is open."""

    __tablename__ = "bill_run"
    __table_args__ = (
        CheckConstraint("phase IN ('drafting', 'review', 'finalising', 'done')", name="known_phase"),
        CheckConstraint("(phase = 'done') = (open_mark IS NULL)", name="open_until_done"),
    )
    id: Mapped[Id]
    as_of: Mapped[Utc]  # what was over by then is due
    phase: Mapped[str] = mapped_column(String(16))
    open_mark: Mapped[int | None] = mapped_column(SmallInteger, unique=True)  # 1 until it is done
    started_by: Mapped[Line]
    started_at: Mapped[Utc]
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    steps: Mapped[int] = mapped_column(default=0)  # chunks done, of both phases
    to_do: Mapped[int] = mapped_column(default=0)  # subscriptions, or drafts, of the running phase
    looked_at: Mapped[int] = mapped_column(default=0)  # of them
    drafted: Mapped[int] = mapped_column(default=0)
    finalised: Mapped[int] = mapped_column(default=0)
    problems: Mapped[list[dict[str, str]]] = mapped_column(JSON)  # tenants that failed: slug, name, error

"""Invoices, the ledger, payments, bill runs; find late usage at once."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "bill_run",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("phase", sa.String(length=16), nullable=False),
        sa.Column("open_mark", sa.SmallInteger(), nullable=True),
        sa.Column("started_by", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("to_do", sa.Integer(), nullable=False),
        sa.Column("looked_at", sa.Integer(), nullable=False),
        sa.Column("drafted", sa.Integer(), nullable=False),
        sa.Column("finalised", sa.Integer(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.CheckConstraint("(phase = 'done') = (open_mark IS NULL)", name=op.f("ck_bill_run_open_until_done")),
        sa.CheckConstraint(
            "phase IN ('drafting', 'review', 'finalising', 'done')", name=op.f("ck_bill_run_known_phase")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bill_run")),
        sa.UniqueConstraint("open_mark", name=op.f("uq_bill_run_open_mark")),
    )
    op.create_table(
        "number_series",
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("prefix", name=op.f("pk_number_series")),
    )
    op.create_table(
        "tax_rate",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("ppm", sa.Integer(), nullable=False),
        sa.Column("inclusive", sa.Boolean(), nullable=False),
        sa.Column("category", sa.String(length=2), nullable=False),
        sa.Column("note", sa.String(length=255), nullable=False),
        sa.CheckConstraint("category = 'S' OR ppm = 0", name=op.f("ck_tax_rate_only_the_standard_takes_tax")),
        sa.CheckConstraint("category IN ('S', 'Z', 'E', 'AE', 'O')", name=op.f("ck_tax_rate_known_category")),
        sa.CheckConstraint("ppm >= 0 AND ppm <= 1000000", name=op.f("ck_tax_rate_a_share")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_tax_rate")),
    )
    op.bulk_insert(
        sa.table(
            "tax_rate",
            sa.column("code", sa.String),
            sa.column("name", sa.String),
            sa.column("ppm", sa.Integer),
            sa.column("inclusive", sa.Boolean),
            sa.column("category", sa.String),
            sa.column("note", sa.String),
        ),
        [
            {"code": "none", "name": "No tax", "ppm": 0, "inclusive": False, "category": "O", "note": ""},
            {
                "code": "reverse-charge",
                "name": "Reverse charge",
                "ppm": 0,
                "inclusive": False,
                "category": "AE",
                "note": "Reverse charge: the recipient is liable for the tax.",
            },
        ],
    )
    op.create_table(
        "billing_profile",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("legal_name", sa.String(length=255), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("tax_id", sa.String(length=64), nullable=False),
        sa.Column("tax_code", sa.String(length=64), nullable=False),
        sa.Column("payment_days", sa.SmallInteger(), nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.CheckConstraint(
            "payment_days >= 0 AND payment_days <= 365", name=op.f("ck_billing_profile_days_within_a_year")
        ),
        sa.ForeignKeyConstraint(["tax_code"], ["tax_rate.code"], name=op.f("fk_billing_profile_tax_code_tax_rate")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_billing_profile_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_billing_profile")),
    )
    op.create_table(
        "ledger_balance",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_ledger_balance_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "currency", name=op.f("pk_ledger_balance")),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("balance_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('invoice', 'credit_note', 'payment', 'repayment')", name=op.f("ck_ledger_entry_known_kind")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_ledger_entry_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("tenant_id", "source", name="entered_once"),
    )
    op.create_table(
        "payment",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("method", sa.String(length=8), nullable=False),
        sa.Column("reference", sa.String(length=255), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("unmatched_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_by", sa.String(length=255), nullable=False),
        sa.CheckConstraint("method IN ('bank', 'cash', 'card', 'credit')", name=op.f("ck_payment_known_method")),
        sa.CheckConstraint(
            "amount_micros <> 0 AND (amount_micros > 0 OR unmatched_micros = 0)",
            name=op.f("ck_payment_something_moves"),
        ),
        sa.CheckConstraint("unmatched_micros >= 0", name=op.f("ck_payment_unmatched_is_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payment_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_payment")),
        sa.UniqueConstraint("tenant_id", "key", name="paid_once"),
    )
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.create_index(
            "payments_unmatched",
            ["tenant_id", "id"],
            unique=False,
            sqlite_where=sa.text("unmatched_micros > 0"),
            postgresql_where=sa.text("unmatched_micros > 0"),
        )

    op.create_table(
        "invoice",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("period_end_on", sa.Date(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("issued_on", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("net_micros", sa.BigInteger(), nullable=False),
        sa.Column("tax_micros", sa.BigInteger(), nullable=False),
        sa.Column("total_micros", sa.BigInteger(), nullable=False),
        sa.Column("open_micros", sa.BigInteger(), nullable=False),
        sa.Column("printed", sa.JSON(), nullable=False),
        sa.Column("credits_id", sa.BigInteger(), nullable=True),
        sa.Column("bill_run_id", sa.BigInteger(), nullable=True),
        sa.Column("odd", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "(kind = 'credit_note') = (credits_id IS NOT NULL)", name=op.f("ck_invoice_a_credit_note_credits")
        ),
        sa.CheckConstraint("(status = 'draft') = (number IS NULL)", name=op.f("ck_invoice_numbered_when_issued")),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note')", name=op.f("ck_invoice_known_kind")),
        sa.CheckConstraint("status IN ('draft', 'final', 'paid', 'void')", name=op.f("ck_invoice_known_status")),
        sa.CheckConstraint("open_micros >= 0", name=op.f("ck_invoice_open_is_not_negative")),
        sa.CheckConstraint("total_micros = net_micros + tax_micros", name=op.f("ck_invoice_total_is_net_and_tax")),
        sa.ForeignKeyConstraint(["bill_run_id"], ["bill_run.id"], name=op.f("fk_invoice_bill_run_id_bill_run")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "credits_id"],
            ["invoice.tenant_id", "invoice.id"],
            name=op.f("fk_invoice_tenant_id_credits_id_invoice"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["subscription.tenant_id", "subscription.id"],
            name=op.f("fk_invoice_tenant_id_subscription_id_subscription"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_invoice_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("tenant_id", "number", name="numbered_once"),
        sa.UniqueConstraint("tenant_id", "subscription_id", "period_on", "reason", name="billed_once"),
    )
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.create_index("invoices_by_number", ["number"], unique=False)
        batch_op.create_index("invoices_newest_first", ["id"], unique=False)
        batch_op.create_index("invoices_of_run", ["bill_run_id", "tenant_id", "id"], unique=False)
        batch_op.create_index(
            "invoices_open",
            ["tenant_id", "due_on", "id"],
            unique=False,
            sqlite_where=sa.text("open_micros > 0"),
            postgresql_where=sa.text("open_micros > 0"),
        )

    op.create_table(
        "invoice_line",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("tax_code", sa.String(length=64), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("unit_one", sa.String(length=32), nullable=False),
        sa.Column("unit_many", sa.String(length=32), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("usage_on", sa.Date(), nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("first_on", sa.Date(), nullable=True),
        sa.Column("end_on", sa.Date(), nullable=True),
        sa.Column("days", sa.SmallInteger(), nullable=False),
        sa.Column("of_days", sa.SmallInteger(), nullable=False),
        sa.Column("credits_line_id", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "invoice_id"],
            ["invoice.tenant_id", "invoice.id"],
            name=op.f("fk_invoice_line_tenant_id_invoice_id_invoice"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_invoice_line_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_invoice_line")),
        sa.UniqueConstraint("tenant_id", "credits_line_id", name="credited_once"),
        sa.UniqueConstraint("tenant_id", "invoice_id", "position", name="lines_in_order"),
    )
    with op.batch_alter_table("invoice_line", schema=None) as batch_op:
        batch_op.create_index(
            "lines_by_usage",
            ["tenant_id", "usage_on"],
            unique=False,
            sqlite_where=sa.text("usage_on IS NOT NULL"),
            postgresql_where=sa.text("usage_on IS NOT NULL"),
        )

    op.create_table(
        "payment_match",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), nullable=True),
        sa.Column("repayment_id", sa.BigInteger(), nullable=True),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("matched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(invoice_id IS NULL) <> (repayment_id IS NULL)", name=op.f("ck_payment_match_one_way")),
        sa.CheckConstraint("amount_micros > 0", name=op.f("ck_payment_match_something_moves")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "invoice_id"],
            ["invoice.tenant_id", "invoice.id"],
            name=op.f("fk_payment_match_tenant_id_invoice_id_invoice"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "payment_id"],
            ["payment.tenant_id", "payment.id"],
            name=op.f("fk_payment_match_tenant_id_payment_id_payment"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "repayment_id"],
            ["payment.tenant_id", "payment.id"],
            name=op.f("fk_payment_match_tenant_id_repayment_id_payment"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payment_match_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_payment_match")),
    )
    with op.batch_alter_table("payment_match", schema=None) as batch_op:
        batch_op.create_index("matches_of_invoice", ["tenant_id", "invoice_id"], unique=False)
        batch_op.create_index("matches_of_payment", ["tenant_id", "payment_id"], unique=False)

    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.create_index(
            "late_usage",
            ["tenant_id", "period_on"],
            unique=False,
            sqlite_where=sa.text("late = 1"),
            postgresql_where=sa.text("late"),
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.drop_index("late_usage", sqlite_where=sa.text("late = 1"), postgresql_where=sa.text("late"))

    with op.batch_alter_table("payment_match", schema=None) as batch_op:
        batch_op.drop_index("matches_of_payment")
        batch_op.drop_index("matches_of_invoice")

    op.drop_table("payment_match")
    with op.batch_alter_table("invoice_line", schema=None) as batch_op:
        batch_op.drop_index(
            "lines_by_usage",
            sqlite_where=sa.text("usage_on IS NOT NULL"),
            postgresql_where=sa.text("usage_on IS NOT NULL"),
        )

    op.drop_table("invoice_line")
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.drop_index(
            "invoices_open", sqlite_where=sa.text("open_micros > 0"), postgresql_where=sa.text("open_micros > 0")
        )
        batch_op.drop_index("invoices_of_run")
        batch_op.drop_index("invoices_newest_first")
        batch_op.drop_index("invoices_by_number")

    op.drop_table("invoice")
    with op.batch_alter_table("payment", schema=None) as batch_op:
        batch_op.drop_index(
            "payments_unmatched",
            sqlite_where=sa.text("unmatched_micros > 0"),
            postgresql_where=sa.text("unmatched_micros > 0"),
        )

    op.drop_table("payment")
    op.drop_table("ledger_entry")
    op.drop_table("ledger_balance")
    op.drop_table("billing_profile")
    op.drop_table("tax_rate")
    op.drop_table("number_series")
    op.drop_table("bill_run")

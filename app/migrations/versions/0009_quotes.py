"""Quotes, requests, changes of package that are pending."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PENDING = sa.text("pending_at IS NOT NULL")
_OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.add_column(sa.Column("pending_package_id", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("pending_at", UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("pending_by", sa.String(255), nullable=False, server_default=""))
        batch_op.create_foreign_key(
            op.f("fk_subscription_pending_package_id_package"), "package", ["pending_package_id"], ["id"]
        )
        batch_op.create_check_constraint(
            op.f("ck_subscription_pending_as_a_whole"), "(pending_package_id IS NULL) = (pending_at IS NULL)"
        )
    op.create_index("changes_pending", "subscription", ["pending_at"], sqlite_where=_PENDING, postgresql_where=_PENDING)
    op.add_column("subscription_segment", sa.Column("started_on", sa.Date(), nullable=True))
    with op.batch_alter_table("package_revision") as batch_op:
        batch_op.add_column(sa.Column("tenants_may", sa.String(8), nullable=False, server_default="change"))
        batch_op.create_check_constraint(
            op.f("ck_package_revision_known_tenants_may"), "tenants_may IN ('change', 'ask', 'see')"
        )
    _create_quote()
    _create_change_request()


def _create_quote() -> None:
    op.create_table(
        "quote",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("before_id", sa.BigInteger(), nullable=True),
        sa.Column("effect", sa.String(16), nullable=False),
        sa.Column("effective_on", sa.Date(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("lines", sa.JSON(), nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("due_now_micros", sa.BigInteger(), nullable=False),
        sa.Column("next_on", sa.Date(), nullable=False),
        sa.Column("next_micros", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("made_by", sa.String(255), nullable=False),
        sa.Column("valid_until", UtcDateTime(), nullable=False),
        sa.Column("accepted_at", UtcDateTime(), nullable=True),
        sa.Column("accepted_by", sa.String(255), nullable=False),
        sa.CheckConstraint("effect IN ('now', 'period_end')", name=op.f("ck_quote_known_effect")),
        sa.CheckConstraint("(accepted_at IS NULL) = (accepted_by = '')", name=op.f("ck_quote_accepted_by_someone")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_quote_tenant_id_tenant")),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_quote_package_id_package")),
        sa.ForeignKeyConstraint(["before_id"], ["package.id"], name=op.f("fk_quote_before_id_package")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_quote")),
    )


def _create_change_request() -> None:
    op.create_table(
        "change_request",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("effect", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.Column("decided_by", sa.String(255), nullable=False),
        sa.CheckConstraint("effect IN ('now', 'period_end')", name=op.f("ck_change_request_known_effect")),
        sa.CheckConstraint(
            "status IN ('open', 'approved', 'declined', 'withdrawn')", name=op.f("ck_change_request_known_status")
        ),
        sa.CheckConstraint(
            "(status = 'open') = (decided_at IS NULL)", name=op.f("ck_change_request_open_until_decided")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_change_request_tenant_id_tenant")),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_change_request_package_id_package")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_change_request")),
    )
    op.create_index(
        "one_open_request", "change_request", ["tenant_id"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("change_request")
    op.drop_table("quote")
    with op.batch_alter_table("package_revision") as batch_op:
        batch_op.drop_constraint(op.f("ck_package_revision_known_tenants_may"), type_="check")
        batch_op.drop_column("tenants_may")
    with op.batch_alter_table("subscription_segment") as batch_op:
        batch_op.drop_column("started_on")
    op.drop_index("changes_pending", table_name="subscription")
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.drop_constraint(op.f("ck_subscription_pending_as_a_whole"), type_="check")
        batch_op.drop_constraint(op.f("fk_subscription_pending_package_id_package"), type_="foreignkey")
        batch_op.drop_column("pending_by")
        batch_op.drop_column("pending_at")
        batch_op.drop_column("pending_package_id")

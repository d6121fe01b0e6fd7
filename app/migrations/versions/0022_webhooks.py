"""Outgoing webhooks: endpoints, messages, attempts."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("url", sa.String(1000), nullable=False),
        sa.Column("note", sa.String(255), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("salt", sa.String(32), nullable=False),
        sa.Column("previous_salt", sa.String(32), nullable=False),
        sa.Column("previous_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=True),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_why", sa.String(16), nullable=False),
        sa.CheckConstraint(
            "(disabled_at IS NULL) = (disabled_why = '')", name=op.f("ck_webhook_endpoint_disabled_for_a_reason")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_webhook_endpoint_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    op.create_index(op.f("ix_webhook_endpoint_tenant_id"), "webhook_endpoint", ["tenant_id"])
    op.create_table(
        "webhook_message",
        sa.Column("endpoint_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("leased_until", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "next_at IS NULL OR delivered_at IS NULL", name=op.f("ck_webhook_message_delivered_waits_for_nothing")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoint.id"], name=op.f("fk_webhook_message_endpoint_id_webhook_endpoint")
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "id", name=op.f("pk_webhook_message")),
    )
    op.create_index("told_once", "webhook_message", ["endpoint_id", "key"], unique=True)
    op.create_index(
        "webhooks_waiting",
        "webhook_message",
        ["next_at", "endpoint_id", "id"],
        sqlite_where=sa.text("next_at IS NOT NULL"),
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_table(
        "webhook_attempt",
        sa.Column("endpoint_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("problem", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id", "message_id"],
            ["webhook_message.endpoint_id", "webhook_message.id"],
            name=op.f("fk_webhook_attempt_endpoint_id_webhook_message"),
        ),
        sa.PrimaryKeyConstraint("endpoint_id", "message_id", "id", name=op.f("pk_webhook_attempt")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("webhook_attempt")
    op.drop_table("webhook_message")
    op.drop_table("webhook_endpoint")

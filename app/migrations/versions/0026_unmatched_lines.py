"""Lines of bank files that wait for a person."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "unmatched_line",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("amount_micros", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("why", sa.String(64), nullable=False),
        sa.Column("kept_at", UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("assigned_to_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("decided_by", sa.String(255), nullable=False),
        sa.Column("decided_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'assigned', 'ignored')", name=op.f("ck_unmatched_line_known_state")),
        sa.CheckConstraint(
            "(state = 'assigned') = (assigned_to_id IS NOT NULL)", name=op.f("ck_unmatched_line_assigned_to_somebody")
        ),
        sa.CheckConstraint("state <> 'ignored' OR reason <> ''", name=op.f("ck_unmatched_line_ignored_for_a_reason")),
        sa.ForeignKeyConstraint(
            ["assigned_to_id"], ["tenant.id"], name=op.f("fk_unmatched_line_assigned_to_id_tenant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unmatched_line")),
        sa.UniqueConstraint("key", name="kept_once"),
    )
    op.create_index("unmatched_lines_by_state", "unmatched_line", ["state", "id"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("unmatched_line")

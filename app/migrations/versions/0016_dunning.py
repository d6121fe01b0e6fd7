"""Steps of dunning."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "dunning_step",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("invoice_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("step", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("taken_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('reminder', 'suspension')", name=op.f("ck_dunning_step_known_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_dunning_step_tenant_id_tenant")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "invoice_id"],
            ["invoice.tenant_id", "invoice.id"],
            name=op.f("fk_dunning_step_tenant_id_invoice"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "invoice_id", "step", name=op.f("pk_dunning_step")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("dunning_step")

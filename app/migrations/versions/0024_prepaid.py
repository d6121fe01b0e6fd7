"""Tenants that pay in advance."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "prepaid",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("credit_micros", sa.BigInteger(), nullable=False),
        sa.Column("tax_ppm", sa.Integer(), nullable=False),
        sa.Column("low_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("tax_ppm >= 0 AND tax_ppm <= 1000000", name=op.f("ck_prepaid_a_share")),
        sa.CheckConstraint("low_micros >= 0", name=op.f("ck_prepaid_low_is_not_negative")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_prepaid_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_prepaid")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("prepaid")

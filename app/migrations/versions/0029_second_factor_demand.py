"""Roles that must have a second factor."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "second_factor_demand",
        sa.Column("of_staff", sa.Boolean(), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("of_staff", "role", name=op.f("pk_second_factor_demand")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("second_factor_demand")

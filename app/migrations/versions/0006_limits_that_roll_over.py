"""Tell at once of which resources anything was ever carried over."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ROLLS_OVER = sa.text("rollover_periods > 0")


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "limits_that_roll_over",
        "package_limit",
        ["resource_code"],
        sqlite_where=_ROLLS_OVER,
        postgresql_where=_ROLLS_OVER,
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("limits_that_roll_over", table_name="package_limit")

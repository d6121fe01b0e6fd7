"""Find a tenant's overdue holds among its open ones, not among all that it ever had."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.drop_index("open_holds_by_expiry", "hold")
    _create(["tenant_id", "expires_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("open_holds_by_expiry", "hold")
    _create(["expires_at"])


def _create(columns: list[str]) -> None:
    still_open = sa.text("ended_at IS NULL")
    op.create_index("open_holds_by_expiry", "hold", columns, sqlite_where=still_open, postgresql_where=still_open)

"""Destinations that a package or a tenant may not call."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("package_revision", "tenant")


def upgrade() -> None:
    """Apply."""
    for table in _TABLES:
        op.add_column(table, sa.Column("blocked_prefixes", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    for table in _TABLES:
        op.drop_column(table, "blocked_prefixes")

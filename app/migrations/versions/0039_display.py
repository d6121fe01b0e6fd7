"""How a tenant and a person want to be shown numbers, dates, times and talk time."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

COLUMNS = (("tenant", "locale", 16), ("tenant", "units", 16), ("account", "locale", 16), ("account", "timezone", 64),
           ("account", "units", 16))  # fmt: skip


def upgrade() -> None:
    """Apply."""
    for table, name, length in COLUMNS:
        op.add_column(table, sa.Column(name, sa.String(length), nullable=False, server_default=""))


def downgrade() -> None:
    """Take back."""
    for table, name, _ in COLUMNS:
        op.drop_column(table, name)

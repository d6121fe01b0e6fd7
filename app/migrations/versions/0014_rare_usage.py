"""Find the usage of a resource that is not the one most used, newest first."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_RARE = sa.text("resource_code <> 'voice_minutes'")


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "rare_usage_newest_first",
        "usage_record",
        ["tenant_id", "resource_code", "occurred_at", "id"],
        sqlite_where=_RARE,
        postgresql_where=_RARE,
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("rare_usage_newest_first", table_name="usage_record")

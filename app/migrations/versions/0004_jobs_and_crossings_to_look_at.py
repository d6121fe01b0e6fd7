"""Find dead jobs and the newest crossings without reading every one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "jobs_dead",
        "job",
        ["id"],
        sqlite_where=sa.text("dead_at IS NOT NULL"),
        postgresql_where=sa.text("dead_at IS NOT NULL"),
    )
    op.create_index("crossings_newest_first", "threshold_crossing", ["crossed_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("crossings_newest_first", "threshold_crossing")
    op.drop_index("jobs_dead", "job")

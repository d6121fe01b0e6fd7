"""Which sign-ins ended lately, for the streams that they opened."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("sign_ins_ended", "sign_in", ["ended_at"], sqlite_where=ended, postgresql_where=ended)


def downgrade() -> None:
    """Take back."""
    op.drop_index("sign_ins_ended", "sign_in")

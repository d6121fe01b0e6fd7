"""An index of the webhooks that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "webhooks_under_way",
        "webhook_message",
        ["endpoint_id"],
        sqlite_where=sa.text("leased_until IS NOT NULL"),
        postgresql_where=sa.text("leased_until IS NOT NULL"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("webhooks_under_way", "webhook_message")

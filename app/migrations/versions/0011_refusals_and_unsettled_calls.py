"""Say what a refusal wanted and what was carried in; find refusals and unsettled calls newest first."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UNSETTLED = sa.text("reported_at IS NULL AND (ended_as = 'expired' OR over_at IS NOT NULL AND ended_at IS NULL)")


def upgrade() -> None:
    """Apply."""
    op.add_column("refusal", sa.Column("carried_in", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("refusal", sa.Column("wanted", sa.BigInteger(), nullable=False, server_default="1"))
    op.create_index("refusals_of_a_tenant", "refusal", ["tenant_id", "refused_at", "id"])
    op.create_index("refusals_newest_first", "refusal", ["refused_at", "id"])
    op.create_index(
        "unsettled_holds", "hold", ["created_at", "id"], sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("unsettled_holds", table_name="hold")
    op.drop_index("refusals_newest_first", table_name="refusal")
    op.drop_index("refusals_of_a_tenant", table_name="refusal")
    with op.batch_alter_table("refusal", schema=None) as batch_op:
        batch_op.drop_column("wanted")
        batch_op.drop_column("carried_in")

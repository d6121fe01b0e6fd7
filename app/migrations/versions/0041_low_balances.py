"""Of which state of a prepaid balance its readers have been told."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

KNOWN = "ck_prepaid_known_state"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("prepaid") as batch_op:
        batch_op.add_column(sa.Column("told", sa.String(8), nullable=False, server_default=""))
        batch_op.create_check_constraint(op.f(KNOWN), "told IN ('', 'low', 'empty')")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("prepaid") as batch_op:
        batch_op.drop_constraint(op.f(KNOWN), type_="check")
        batch_op.drop_column("told")

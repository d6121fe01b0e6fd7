"""Which key replaced another one."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.add_column(sa.Column("replaced_by", sa.String(16), nullable=True))
        batch_op.create_foreign_key(op.f("fk_api_key_replaced_by_api_key"), "api_key", ["replaced_by"], ["prefix"])


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.drop_constraint(op.f("fk_api_key_replaced_by_api_key"), type_="foreignkey")
        batch_op.drop_column("replaced_by")

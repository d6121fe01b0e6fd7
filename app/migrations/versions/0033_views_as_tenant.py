"""Staff look at the portal as a tenant."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("sign_in") as batch_op:
        batch_op.add_column(sa.Column("viewed_tenant_id", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("viewed_as", sa.String(16), nullable=True))
        batch_op.add_column(sa.Column("viewed_until", UtcDateTime(), nullable=True))
        batch_op.create_foreign_key(op.f("fk_sign_in_viewed_tenant_id_tenant"), "tenant", ["viewed_tenant_id"], ["id"])
        batch_op.create_check_constraint(
            op.f("ck_sign_in_view_is_whole"),
            "(viewed_tenant_id IS NULL) = (viewed_as IS NULL) AND (viewed_tenant_id IS NULL) = (viewed_until IS NULL)",
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("sign_in") as batch_op:
        batch_op.drop_constraint(op.f("ck_sign_in_view_is_whole"), type_="check")
        batch_op.drop_constraint(op.f("fk_sign_in_viewed_tenant_id_tenant"), type_="foreignkey")
        batch_op.drop_column("viewed_until")
        batch_op.drop_column("viewed_as")
        batch_op.drop_column("viewed_tenant_id")

"""Keys that end, have a label, or are a tenant's."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.add_column(sa.Column("tenant_id", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("label", sa.String(255), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("expires_at", UtcDateTime(), nullable=True))
        batch_op.alter_column("source_id", existing_type=sa.BigInteger(), nullable=True)
        batch_op.create_foreign_key(op.f("fk_api_key_tenant_id_tenant"), "tenant", ["tenant_id"], ["id"])
        batch_op.create_index(op.f("ix_api_key_tenant_id"), ["tenant_id"])
        batch_op.create_check_constraint(op.f("ck_api_key_has_one_owner"), "(source_id IS NULL) <> (tenant_id IS NULL)")
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.alter_column("label", existing_type=sa.String(255), server_default=None)


def downgrade() -> None:
    """Take back. Tenants' keys are gone; those that had ended are revoked."""
    op.execute("DELETE FROM api_key WHERE tenant_id IS NOT NULL")
    op.execute("UPDATE api_key SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at IS NOT NULL")
    with op.batch_alter_table("api_key") as batch_op:
        batch_op.drop_constraint(op.f("ck_api_key_has_one_owner"), type_="check")
        batch_op.drop_constraint(op.f("fk_api_key_tenant_id_tenant"), type_="foreignkey")
        batch_op.drop_index(op.f("ix_api_key_tenant_id"))
        batch_op.alter_column("source_id", existing_type=sa.BigInteger(), nullable=False)
        batch_op.drop_column("expires_at")
        batch_op.drop_column("label")
        batch_op.drop_column("tenant_id")

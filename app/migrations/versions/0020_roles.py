"""Who may do what: a role for every account."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

OF_ITS_SIDE = (
    "(tenant_id IS NULL AND role IN ('owner', 'billing', 'support', 'read_only'))"
    " OR (tenant_id IS NOT NULL AND role IN ('admin', 'billing', 'member'))"
)


def upgrade() -> None:
    """Apply. Whoever signs in today may do everything of its side."""
    op.add_column("account", sa.Column("role", sa.String(16), nullable=True))
    account = sa.table("account", sa.column("role"), sa.column("tenant_id"))
    op.execute(sa.update(account).values(role=sa.case((account.c.tenant_id.is_(None), "owner"), else_="admin")))
    with op.batch_alter_table("account") as batch_op:
        batch_op.alter_column("role", existing_type=sa.String(16), nullable=False)
        batch_op.create_check_constraint(op.f("ck_account_role_of_its_side"), OF_ITS_SIDE)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("account") as batch_op:
        batch_op.drop_constraint(op.f("ck_account_role_of_its_side"), type_="check")
        batch_op.drop_column("role")

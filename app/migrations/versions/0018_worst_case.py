"""What a unit costs the provider, and why a package may cost more than it brings."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("package_limit") as batch_op:
        batch_op.add_column(sa.Column("unit_cost_micros", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.create_check_constraint(op.f("ck_package_limit_no_negative_cost"), "unit_cost_micros >= 0")
    op.add_column("package_revision", sa.Column("loss_reason", sa.String(255), nullable=False, server_default=""))
    # They were published before anybody was asked, and can be published again (an undo) as they are.
    table = sa.table("package_revision", sa.column("loss_reason"), sa.column("cost_micros"), sa.column("price_micros"))
    op.execute(
        sa.update(table)
        .where(table.c.cost_micros > table.c.price_micros)
        .values(loss_reason="From before a reason was asked for")
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("package_revision", "loss_reason")
    with op.batch_alter_table("package_limit") as batch_op:
        batch_op.drop_constraint(op.f("ck_package_limit_no_negative_cost"), type_="check")
        batch_op.drop_column("unit_cost_micros")

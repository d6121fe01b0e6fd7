"""Keep apart what of an invoice's tax its lines hold, so that their sum can be checked."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tax_within_micros", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("""
UPDATE invoice SET tax_within_micros = (
    SELECT coalesce(sum(l.amount_micros), 0) FROM invoice_line l
    WHERE l.tenant_id = invoice.tenant_id AND l.invoice_id = invoice.id) - net_micros""")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("invoice", schema=None) as batch_op:
        batch_op.drop_column("tax_within_micros")

"""Invoices give up what paid them when it is refunded."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("payment_match", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_payment_match_something_moves"), type_="check")
        batch_op.create_check_constraint(
            "something_moves", "amount_micros > 0 OR invoice_id IS NOT NULL AND amount_micros < 0"
        )


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("payment_match", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_payment_match_something_moves"), type_="check")
        batch_op.create_check_constraint("something_moves", "amount_micros > 0")

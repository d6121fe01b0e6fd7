"""A repayment may keep what went back beyond what the payer had to its credit or had paid."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

NOT_NEGATIVE = "ck_payment_unmatched_is_not_negative"
MOVES = "ck_payment_something_moves"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("payment") as batch_op:
        batch_op.drop_constraint(op.f(NOT_NEGATIVE), type_="check")
        batch_op.drop_constraint(op.f(MOVES), type_="check")
        batch_op.create_check_constraint(
            op.f(MOVES), "amount_micros > 0 AND unmatched_micros >= 0 OR amount_micros < 0 AND unmatched_micros <= 0"
        )


def downgrade() -> None:
    """Take back; refuses while anything is owed of a refund."""
    with op.batch_alter_table("payment") as batch_op:
        batch_op.drop_constraint(op.f(MOVES), type_="check")
        batch_op.create_check_constraint(
            op.f(MOVES), "amount_micros <> 0 AND (amount_micros > 0 OR unmatched_micros = 0)"
        )
        batch_op.create_check_constraint(op.f(NOT_NEGATIVE), "unmatched_micros >= 0")

"""The life of subscriptions: status, trials, ends, and what happened when."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_STATUSES = "'trial', 'active', 'past_due', 'suspended', 'cancelled'"


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.add_column(sa.Column("status", sa.String(16), nullable=False, server_default="active"))
        batch_op.add_column(sa.Column("starts_on", sa.Date(), nullable=True))
        batch_op.drop_constraint(op.f("ck_subscription_pending_as_a_whole"), type_="check")
    op.execute("UPDATE subscription SET starts_on = anchor_on")
    op.execute("UPDATE subscription SET status = 'cancelled' WHERE ended_at IS NOT NULL")
    suspended = "SELECT id FROM tenant WHERE status = 'suspended'"
    op.execute(f"UPDATE subscription SET status = 'suspended' WHERE ended_at IS NULL AND tenant_id IN ({suspended})")  # noqa: S608
    with op.batch_alter_table("subscription") as batch_op:
        batch_op.alter_column("starts_on", existing_type=sa.Date(), nullable=False)
        batch_op.alter_column("status", existing_type=sa.String(16), server_default=None)
        batch_op.create_check_constraint(
            op.f("ck_subscription_pending_has_its_time"), "pending_package_id IS NULL OR pending_at IS NOT NULL"
        )
        batch_op.create_check_constraint(op.f("ck_subscription_known_status"), f"status IN ({_STATUSES})")
        batch_op.create_check_constraint(
            op.f("ck_subscription_cancelled_once_ended"), "(status = 'cancelled') = (ended_at IS NOT NULL)"
        )
        batch_op.create_check_constraint(op.f("ck_subscription_a_trial_comes_first"), "starts_on <= anchor_on")
    _create_event()


def _create_event() -> None:
    op.create_table(
        "subscription_event",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("why", sa.String(64), nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_subscription_event_tenant_id_tenant")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["subscription.tenant_id", "subscription.id"],
            name=op.f("fk_subscription_event_tenant_id_subscription"),
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_subscription_event")),
    )
    op.create_index("events_in_order", "subscription_event", ["tenant_id", "subscription_id", "id"])
    for query in (
        "SELECT tenant_id, id, id, started_at, 'active', 'started', '' FROM subscription",
        "SELECT s.tenant_id, s.id + 1, s.id, coalesce(t.suspended_at, s.started_at), 'suspended', 'staff', ''"
        " FROM subscription s JOIN tenant t ON t.id = s.tenant_id WHERE s.status = 'suspended'",
        "SELECT tenant_id, id + 1, id, ended_at, 'cancelled', 'cancelled', '' FROM subscription"
        " WHERE status = 'cancelled'",
    ):
        op.execute(f"INSERT INTO subscription_event (tenant_id, id, subscription_id, at, status, why, actor) {query}")


def downgrade() -> None:
    """Take back."""
    op.drop_table("subscription_event")
    op.execute("UPDATE subscription SET pending_at = NULL WHERE pending_package_id IS NULL")
    with op.batch_alter_table("subscription") as batch_op:
        for name in ("a_trial_comes_first", "cancelled_once_ended", "known_status", "pending_has_its_time"):
            batch_op.drop_constraint(op.f(f"ck_subscription_{name}"), type_="check")
        batch_op.create_check_constraint(
            op.f("ck_subscription_pending_as_a_whole"), "(pending_package_id IS NULL) = (pending_at IS NULL)"
        )
        batch_op.drop_column("starts_on")
        batch_op.drop_column("status")

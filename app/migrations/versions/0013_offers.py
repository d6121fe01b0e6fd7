"""What the provider offers to a tenant."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "offer",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("offered_at", UtcDateTime(), nullable=False),
        sa.Column("offered_by", sa.String(255), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.String(255), nullable=False),
        sa.CheckConstraint("status IN ('open', 'taken', 'declined', 'withdrawn')", name=op.f("ck_offer_known_status")),
        sa.CheckConstraint("(status = 'open') = (ended_at IS NULL)", name=op.f("ck_offer_open_until_ended")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_offer_tenant_id_tenant")),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_offer_package_id_package")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_offer")),
    )
    op.create_index("one_open_offer", "offer", ["tenant_id"], unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)


def downgrade() -> None:
    """Take back."""
    op.drop_table("offer")

"""Staff who sign in at an OpenID Connect provider."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "staff_identity",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("bound_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_staff_identity_account_id_account")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_staff_identity")),
        sa.UniqueConstraint("account_id", "issuer", name="one_subject_each"),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("staff_identity")

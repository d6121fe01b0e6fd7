"""Links that go out by mail."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

INVITED = "purpose = 'invitation' AND used_at IS NULL AND withdrawn_at IS NULL"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "mailed_link",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("role", sa.String(16), nullable=True),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("used_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_at", UtcDateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(purpose = 'invitation') = (account_id IS NULL)", name=op.f("ck_mailed_link_of_an_account_or_to_one")
        ),
        sa.CheckConstraint(
            "(purpose = 'invitation') = (role IS NOT NULL)", name=op.f("ck_mailed_link_invited_with_a_role")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_mailed_link_account_id_account")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_mailed_link_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mailed_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_mailed_link_token_hash")),
    )
    op.create_index(op.f("ix_mailed_link_account_id"), "mailed_link", ["account_id"])
    _unique("invited_once", ["tenant_id", "email"], f"tenant_id IS NOT NULL AND {INVITED}")
    _unique("staff_invited_once", ["email"], f"tenant_id IS NULL AND {INVITED}")


def _unique(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "mailed_link", columns, unique=True, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Take back."""
    op.drop_table("mailed_link")

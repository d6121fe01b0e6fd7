"""Add up what lies beyond the limits by price, and count the records of a meter."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "meter_beyond",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("beyond_as", sa.String(length=8), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_code"], ["resource.code"], name=op.f("fk_meter_beyond_resource_code_resource")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_meter_beyond_tenant_id_tenant")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "resource_code", "period_on", "beyond_as", "price_micros", name=op.f("pk_meter_beyond")
        ),
    )
    op.execute("""
INSERT INTO meter_beyond (tenant_id, resource_code, period_on, beyond_as, price_micros, quantity)
SELECT tenant_id, resource_code, period_on, beyond_as, beyond_price_micros, sum(beyond) FROM usage_record
WHERE beyond <> 0 GROUP BY tenant_id, resource_code, period_on, beyond_as, beyond_price_micros""")
    with op.batch_alter_table("meter", schema=None) as batch_op:
        batch_op.add_column(sa.Column("records", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.drop_column("beyond")
    op.execute("""
UPDATE meter SET records = (
    SELECT count(*) FROM usage_record r WHERE r.tenant_id = meter.tenant_id
    AND r.resource_code = meter.resource_code AND r.period_on = meter.period_on)""")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("meter", schema=None) as batch_op:
        batch_op.add_column(sa.Column("beyond", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.drop_column("records")
    op.execute("""
UPDATE meter SET beyond = coalesce((
    SELECT sum(quantity) FROM meter_beyond b WHERE b.tenant_id = meter.tenant_id
    AND b.resource_code = meter.resource_code AND b.period_on = meter.period_on), 0)""")
    op.drop_table("meter_beyond")

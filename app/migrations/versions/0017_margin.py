"""Keep with each invoice line its net amount, its wholesale cost and its package."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# The revision that a line of a package came of: of a package that the subscription was on, with the line's name and
# price, and the newest of those that there were.
_REVISION = """
FROM package_revision r WHERE r.name = invoice_line.name AND r.price_micros = invoice_line.price_micros
AND r.published_at <= (SELECT coalesce(i.issued_at, i.created_at) FROM invoice i
                       WHERE i.tenant_id = invoice_line.tenant_id AND i.id = invoice_line.invoice_id)
AND r.package_id IN (
    SELECT s.package_id FROM subscription_segment s
    JOIN invoice i ON i.tenant_id = s.tenant_id AND i.subscription_id = s.subscription_id
    WHERE i.tenant_id = invoice_line.tenant_id AND i.id = invoice_line.invoice_id)
ORDER BY r.published_at DESC, r.number DESC LIMIT 1"""
_PRORATED = f"""
coalesce((SELECT CAST(round(
    CAST(r.cost_micros AS DOUBLE PRECISION) * invoice_line.days / invoice_line.of_days) AS BIGINT) {_REVISION}), 0)"""
_PACKAGE_LINES = "kind IN ('recurring', 'credit', 'charge')"

# What was in the lines' prices of tax, in proportion to the amounts; the last line takes what rounding left.
_NET = """
UPDATE invoice_line SET net_micros = share.net FROM (
    SELECT tenant_id, id, amount - upto + upto_before AS net FROM (
        SELECT tenant_id, id, amount, upto, coalesce(lag(upto) OVER (
            PARTITION BY tenant_id, invoice_id ORDER BY position), 0) AS upto_before
        FROM (SELECT l.tenant_id, l.id, l.invoice_id, l.position, l.amount_micros AS amount,
                     CAST(round(CAST(i.tax_within_micros AS DOUBLE PRECISION)
                     * sum(l.amount_micros) OVER (PARTITION BY l.tenant_id, l.invoice_id ORDER BY l.position)
                     / (i.net_micros + i.tax_within_micros)) AS BIGINT) AS upto
              FROM invoice_line l JOIN invoice i ON i.tenant_id = l.tenant_id AND i.id = l.invoice_id
              WHERE i.tax_within_micros <> 0 AND i.net_micros + i.tax_within_micros <> 0) AS summed) AS lagged
) AS share WHERE share.tenant_id = invoice_line.tenant_id AND share.id = invoice_line.id"""


def upgrade() -> None:
    """Apply."""
    for name in ("net_micros", "cost_micros"):
        op.add_column("invoice_line", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("invoice_line") as batch_op:
        batch_op.add_column(sa.Column("package_id", sa.BigInteger(), nullable=True))
        batch_op.create_foreign_key(op.f("fk_invoice_line_package_id_package"), "package", ["package_id"], ["id"])
    op.add_column("invoice", sa.Column("cost_micros", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("invoices_by_day", "invoice", ["issued_on", "tenant_id"])
    _fill()


def _fill() -> None:
    run = op.get_bind().exec_driver_sql
    run("UPDATE invoice_line SET net_micros = amount_micros")
    run(_NET)
    run(f"UPDATE invoice_line SET package_id = (SELECT r.package_id {_REVISION}) WHERE {_PACKAGE_LINES}")  # noqa: S608
    run(
        "UPDATE invoice_line SET cost_micros = CASE WHEN amount_micros < 0 THEN -1 ELSE 1 END * coalesce("  # noqa: S608
        f"(SELECT r.cost_micros {_REVISION}), 0) WHERE kind = 'recurring'"
    )
    run(
        "UPDATE invoice_line SET cost_micros = CASE WHEN amount_micros < 0 THEN -1 ELSE 1 END * "  # noqa: S608
        f"{_PRORATED} WHERE kind IN ('credit', 'charge') AND of_days > 0"
    )
    run(
        "UPDATE invoice SET cost_micros = coalesce((SELECT sum(l.cost_micros) FROM invoice_line l"
        " WHERE l.tenant_id = invoice.tenant_id AND l.invoice_id = invoice.id), 0)"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("invoices_by_day", table_name="invoice")
    with op.batch_alter_table("invoice") as batch_op:
        batch_op.drop_column("cost_micros")
    with op.batch_alter_table("invoice_line") as batch_op:
        batch_op.drop_constraint(op.f("fk_invoice_line_package_id_package"), type_="foreignkey")
        batch_op.drop_column("package_id")
        batch_op.drop_column("cost_micros")
        batch_op.drop_column("net_micros")

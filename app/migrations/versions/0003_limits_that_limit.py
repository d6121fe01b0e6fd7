"""Holds, refusals, reversals, rollover, thresholds, allocations, jobs and what a verification found."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("key", name=op.f("uq_job_key")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(
            "jobs_due",
            ["run_at", "id"],
            unique=False,
            sqlite_where=sa.text("done_at IS NULL AND dead_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL AND dead_at IS NULL"),
        )

    op.create_table(
        "verification",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
    )
    op.create_table(
        "allocation",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("note", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("released_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_code"], ["resource.code"], name=op.f("fk_allocation_resource_code_resource")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_allocation_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_allocation")),
    )
    with op.batch_alter_table("allocation", schema=None) as batch_op:
        batch_op.create_index(
            "held_once",
            ["tenant_id", "resource_code", "name"],
            unique=True,
            sqlite_where=sa.text("released_at IS NULL"),
            postgresql_where=sa.text("released_at IS NULL"),
        )

    op.create_table(
        "hold",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("call_id", sa.String(length=255), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("callee", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_as", sa.String(length=8), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (ended_as = '')", name=op.f("ck_hold_ends_once")),
        sa.CheckConstraint("ended_as IN ('', 'settled', 'released', 'expired')", name=op.f("ck_hold_known_end")),
        sa.CheckConstraint("granted >= 0", name=op.f("ck_hold_granted_is_not_negative")),
        sa.ForeignKeyConstraint(["resource_code"], ["resource.code"], name=op.f("fk_hold_resource_code_resource")),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_hold_source_id_source")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_hold_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_hold")),
    )
    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.create_index(
            "one_open_hold_a_call",
            ["tenant_id", "source_id", "call_id"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index(
            "open_holds_by_expiry",
            ["expires_at"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index(
            "unreported_holds_by_call",
            ["source_id", "call_id"],
            unique=False,
            sqlite_where=sa.text("reported_at IS NULL"),
            postgresql_where=sa.text("reported_at IS NULL"),
        )

    op.create_table(
        "refusal",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("included", sa.BigInteger(), nullable=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("on_hold", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=True),
        sa.Column("call_id", sa.String(length=255), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("callee", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_refusal_source_id_source")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_refusal_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_refusal")),
    )
    with op.batch_alter_table("refusal", schema=None) as batch_op:
        batch_op.create_index(
            "refused_once_a_call",
            ["tenant_id", "source_id", "call_id", "reason"],
            unique=True,
            sqlite_where=sa.text("call_id <> ''"),
            postgresql_where=sa.text("call_id <> ''"),
        )

    op.create_table(
        "threshold_crossing",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("percent", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("crossed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["resource_code"], ["resource.code"], name=op.f("fk_threshold_crossing_resource_code_resource")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_threshold_crossing_tenant_id_tenant")),
        sa.PrimaryKeyConstraint(
            "tenant_id", "resource_code", "period_on", "percent", name=op.f("pk_threshold_crossing")
        ),
    )
    op.create_table(
        "did",
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("allocation_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "allocation_id"],
            ["allocation.tenant_id", "allocation.id"],
            name=op.f("fk_did_tenant_id_allocation_id_allocation"),
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_did")),
    )
    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.add_column(sa.Column("wants_threshold_mail", sa.Boolean(), nullable=False, server_default=sa.false()))

    with op.batch_alter_table("meter", schema=None) as batch_op:
        batch_op.add_column(sa.Column("on_hold", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.create_check_constraint("on_hold_is_not_negative", "on_hold >= 0 AND carried_in >= 0")

    with op.batch_alter_table("package_limit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rollover_periods", sa.SmallInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("rollover_cap", sa.BigInteger(), nullable=True))
        batch_op.create_check_constraint(
            "rollover_adds", "rollover_periods >= 0 AND (rollover_cap IS NULL OR rollover_cap >= 0)"
        )

    with op.batch_alter_table("tenant", schema=None) as batch_op:
        batch_op.add_column(sa.Column("thresholds", sa.JSON(), nullable=False, server_default="[50, 75, 90, 100]"))

    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reverses_id", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("reversal_reason", sa.String(length=255), nullable=False, server_default=""))
        batch_op.create_unique_constraint("reversed_once", ["tenant_id", "reverses_id"])
        batch_op.drop_constraint(op.f("ck_usage_record_quantity_is_not_negative"), type_="check")
        batch_op.create_check_constraint("only_a_reversal_is_negative", "quantity >= 0 OR reverses_id IS NOT NULL")
        batch_op.create_check_constraint("only_a_reversal_measures_less", "measured >= 0 OR reverses_id IS NOT NULL")


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_usage_record_only_a_reversal_measures_less"), type_="check")
        batch_op.drop_constraint(op.f("ck_usage_record_only_a_reversal_is_negative"), type_="check")
        batch_op.create_check_constraint("quantity_is_not_negative", "quantity >= 0 AND measured >= 0")
        batch_op.drop_constraint("reversed_once", type_="unique")
        batch_op.drop_column("reversal_reason")
        batch_op.drop_column("reverses_id")

    with op.batch_alter_table("tenant", schema=None) as batch_op:
        batch_op.drop_column("thresholds")

    with op.batch_alter_table("package_limit", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_package_limit_rollover_adds"), type_="check")
        batch_op.drop_column("rollover_cap")
        batch_op.drop_column("rollover_periods")

    with op.batch_alter_table("meter", schema=None) as batch_op:
        batch_op.drop_constraint(op.f("ck_meter_on_hold_is_not_negative"), type_="check")
        batch_op.drop_column("on_hold")

    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.drop_column("wants_threshold_mail")

    op.drop_table("did")
    op.drop_table("threshold_crossing")
    with op.batch_alter_table("refusal", schema=None) as batch_op:
        batch_op.drop_index(
            "refused_once_a_call", sqlite_where=sa.text("call_id <> ''"), postgresql_where=sa.text("call_id <> ''")
        )

    op.drop_table("refusal")
    with op.batch_alter_table("hold", schema=None) as batch_op:
        batch_op.drop_index(
            "unreported_holds_by_call",
            sqlite_where=sa.text("reported_at IS NULL"),
            postgresql_where=sa.text("reported_at IS NULL"),
        )
        batch_op.drop_index(
            "open_holds_by_expiry",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index(
            "one_open_hold_a_call",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.drop_table("hold")
    with op.batch_alter_table("allocation", schema=None) as batch_op:
        batch_op.drop_index(
            "held_once", sqlite_where=sa.text("released_at IS NULL"), postgresql_where=sa.text("released_at IS NULL")
        )

    op.drop_table("allocation")
    op.drop_table("verification")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index(
            "jobs_due",
            sqlite_where=sa.text("done_at IS NULL AND dead_at IS NULL"),
            postgresql_where=sa.text("done_at IS NULL AND dead_at IS NULL"),
        )

    op.drop_table("job")

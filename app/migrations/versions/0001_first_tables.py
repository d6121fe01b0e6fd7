"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("act", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.create_index("audit_by_subject", ["subject", "id"], unique=False)

    op.create_table(
        "package",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('draft', 'published', 'archived')", name=op.f("ck_package_known_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package")),
        sa.UniqueConstraint("code", name=op.f("uq_package_code")),
    )
    op.create_table(
        "resource",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("base_unit", sa.String(length=32), nullable=False),
        sa.Column("unit_one", sa.String(length=32), nullable=False),
        sa.Column("unit_many", sa.String(length=32), nullable=False),
        sa.Column("factor", sa.Integer(), nullable=False),
        sa.Column("first_step", sa.Integer(), nullable=False),
        sa.Column("next_step", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('metered', 'allocated', 'concurrent')", name=op.f("ck_resource_known_kind")),
        sa.CheckConstraint(
            "factor >= 1 AND first_step >= 1 AND next_step >= 1", name=op.f("ck_resource_steps_are_positive")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_resource")),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempt")),
    )
    with op.batch_alter_table("sign_in_attempt", schema=None) as batch_op:
        batch_op.create_index("sign_in_attempt_by_address", ["address", "at"], unique=False)
        batch_op.create_index("sign_in_attempt_by_email", ["email", "at"], unique=False)

    op.create_table(
        "source",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("code", name=op.f("uq_source_code")),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("account_code", sa.String(length=64), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("contact_name", sa.String(length=255), nullable=False),
        sa.Column("contact_email", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('active', 'suspended')", name=op.f("ck_tenant_known_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenant_slug")),
    )
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("email", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_account_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email", name=op.f("uq_account_email")),
    )
    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_account_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "api_key",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "revoked_at IS NULL OR revoked_at >= created_at", name=op.f("ck_api_key_revoked_after_made")
        ),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_api_key_source_id_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_key_prefix")),
    )
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_key_source_id"), ["source_id"], unique=False)

    op.create_table(
        "meter",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("carried_in", sa.BigInteger(), nullable=False),
        sa.Column("beyond", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["resource_code"], ["resource.code"], name=op.f("fk_meter_resource_code_resource")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_meter_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "resource_code", "period_on", name=op.f("pk_meter")),
    )
    op.create_table(
        "package_revision",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("price_micros", sa.BigInteger(), nullable=False),
        sa.Column("cost_micros", sa.BigInteger(), nullable=False),
        sa.Column("setup_fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("interval", sa.String(length=8), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_by", sa.String(length=255), nullable=False),
        sa.CheckConstraint("interval IN ('month', 'year')", name=op.f("ck_package_revision_known_interval")),
        sa.CheckConstraint(
            "price_micros >= 0 AND cost_micros >= 0 AND setup_fee_micros >= 0",
            name=op.f("ck_package_revision_no_negative_price"),
        ),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_package_revision_package_id_package")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_revision")),
        sa.UniqueConstraint("package_id", "number", name="revision_numbers_count_up"),
    )
    with op.batch_alter_table("package_revision", schema=None) as batch_op:
        batch_op.create_index("revision_in_force", ["package_id", "published_at"], unique=False)

    op.create_table(
        "quarantined",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("tenant_ref", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.String(length=255), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.String(length=16), nullable=False),
        sa.Column("resolved_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_quarantined_source_id_source")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantined")),
        sa.UniqueConstraint("source_id", "external_id", "content_hash", name="quarantined_once"),
    )
    with op.batch_alter_table("quarantined", schema=None) as batch_op:
        batch_op.create_index("quarantine_open", ["resolved_at", "id"], unique=False)

    op.create_table(
        "subscription",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("anchor_on", sa.Date(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_from", sa.Date(), nullable=False),
        sa.CheckConstraint(
            "ended_at IS NULL OR ended_at >= started_at", name=op.f("ck_subscription_ends_after_it_starts")
        ),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_subscription_package_id_package")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_subscription_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_subscription")),
    )
    with op.batch_alter_table("subscription", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_subscription_package_id"), ["package_id"], unique=False)
        batch_op.create_index(
            "one_live_subscription",
            ["tenant_id"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    op.create_table(
        "tenant_name",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('slug', 'domain', 'account_code')", name=op.f("ck_tenant_name_known_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_tenant_name_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tenant_name")),
    )
    with op.batch_alter_table("tenant_name", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tenant_name_tenant_id"), ["tenant_id"], unique=False)

    op.create_table(
        "usage_day",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["resource_code"], ["resource.code"], name=op.f("fk_usage_day_resource_code_resource")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_usage_day_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "day", "resource_code", name=op.f("pk_usage_day")),
    )
    op.create_table(
        "usage_record",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("external_id", sa.String(length=255), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("measured", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("from_allowance", sa.BigInteger(), nullable=False),
        sa.Column("from_carried", sa.BigInteger(), nullable=False),
        sa.Column("beyond", sa.BigInteger(), nullable=False),
        sa.Column("beyond_as", sa.String(length=8), nullable=False),
        sa.Column("beyond_price_micros", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("period_on", sa.Date(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("direction", sa.String(length=16), nullable=False),
        sa.Column("caller", sa.String(length=64), nullable=False),
        sa.Column("callee", sa.String(length=64), nullable=False),
        sa.Column("call_id", sa.String(length=255), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "from_allowance + from_carried + beyond = quantity", name=op.f("ck_usage_record_parts_sum_to_the_whole")
        ),
        sa.CheckConstraint("quantity >= 0 AND measured >= 0", name=op.f("ck_usage_record_quantity_is_not_negative")),
        sa.ForeignKeyConstraint(
            ["resource_code"], ["resource.code"], name=op.f("fk_usage_record_resource_code_resource")
        ),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_usage_record_source_id_source")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_usage_record_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_usage_record")),
        sa.UniqueConstraint("tenant_id", "source_id", "external_id", name="usage_sent_once"),
    )
    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.create_index("usage_by_external_id", ["source_id", "external_id"], unique=False)
        batch_op.create_index("usage_newest_first", ["tenant_id", "occurred_at", "id"], unique=False)

    op.create_table(
        "package_limit",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("resource_code", sa.String(length=64), nullable=False),
        sa.Column("included", sa.BigInteger(), nullable=True),
        sa.Column("at_limit", sa.String(length=8), nullable=False),
        sa.Column("overage_price_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("at_limit IN ('block', 'charge', 'notify')", name=op.f("ck_package_limit_known_at_limit")),
        sa.CheckConstraint("included IS NULL OR included >= 0", name=op.f("ck_package_limit_included_is_not_negative")),
        sa.CheckConstraint("overage_price_micros >= 0", name=op.f("ck_package_limit_no_negative_price")),
        sa.ForeignKeyConstraint(
            ["resource_code"], ["resource.code"], name=op.f("fk_package_limit_resource_code_resource")
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["package_revision.id"], name=op.f("fk_package_limit_revision_id_package_revision")
        ),
        sa.PrimaryKeyConstraint("revision_id", "resource_code", name=op.f("pk_package_limit")),
    )
    op.create_table(
        "sign_in",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_sign_in_account_id_account")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sign_in")),
    )
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sign_in_account_id"), ["account_id"], unique=False)

    op.create_table(
        "subscription_segment",
        sa.Column("tenant_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subscription_id", sa.BigInteger(), nullable=False),
        sa.Column("package_id", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["package_id"], ["package.id"], name=op.f("fk_subscription_segment_package_id_package")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "subscription_id"],
            ["subscription.tenant_id", "subscription.id"],
            name=op.f("fk_subscription_segment_tenant_id_subscription_id_subscription"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_subscription_segment_tenant_id_tenant")),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_subscription_segment")),
    )
    with op.batch_alter_table("subscription_segment", schema=None) as batch_op:
        batch_op.create_index("segments_in_order", ["tenant_id", "subscription_id", "started_at"], unique=False)

    _add_resources()


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("subscription_segment", schema=None) as batch_op:
        batch_op.drop_index("segments_in_order")

    op.drop_table("subscription_segment")
    with op.batch_alter_table("sign_in", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sign_in_account_id"))

    op.drop_table("sign_in")
    op.drop_table("package_limit")
    with op.batch_alter_table("usage_record", schema=None) as batch_op:
        batch_op.drop_index("usage_newest_first")
        batch_op.drop_index("usage_by_external_id")

    op.drop_table("usage_record")
    op.drop_table("usage_day")
    with op.batch_alter_table("tenant_name", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tenant_name_tenant_id"))

    op.drop_table("tenant_name")
    with op.batch_alter_table("subscription", schema=None) as batch_op:
        batch_op.drop_index(
            "one_live_subscription",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_subscription_package_id"))

    op.drop_table("subscription")
    with op.batch_alter_table("quarantined", schema=None) as batch_op:
        batch_op.drop_index("quarantine_open")

    op.drop_table("quarantined")
    with op.batch_alter_table("package_revision", schema=None) as batch_op:
        batch_op.drop_index("revision_in_force")

    op.drop_table("package_revision")
    op.drop_table("meter")
    with op.batch_alter_table("api_key", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_key_source_id"))

    op.drop_table("api_key")
    with op.batch_alter_table("account", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_account_tenant_id"))

    op.drop_table("account")
    op.drop_table("tenant")
    op.drop_table("source")
    with op.batch_alter_table("sign_in_attempt", schema=None) as batch_op:
        batch_op.drop_index("sign_in_attempt_by_email")
        batch_op.drop_index("sign_in_attempt_by_address")

    op.drop_table("sign_in_attempt")
    op.drop_table("resource")
    op.drop_table("package")
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.drop_index("audit_by_subject")

    op.drop_table("audit_entry")


def _add_resources() -> None:
    resource = sa.table(
        "resource",
        *(
            sa.column(name)
            for name in (
                "code",
                "name",
                "kind",
                "base_unit",
                "unit_one",
                "unit_many",
                "factor",
                "first_step",
                "next_step",
                "position",
            )
        ),
    )
    minutes, items = ("second", "minute", "minutes", 60), lambda one, many: ("item", one, many, 1)
    rows = (
        ("voice_minutes", "Voice minutes", "metered", *minutes),
        ("conference_minutes", "Conference minutes", "metered", *minutes),
        ("fax_pages", "Fax pages", "metered", "page", "page", "pages", 1),
        ("sms_messages", "Text messages", "metered", "message", "message", "messages", 1),
        ("extensions", "Extensions", "allocated", *items("extension", "extensions")),
        ("sip_trunks", "SIP trunks", "allocated", *items("trunk", "trunks")),
        ("dids", "Phone numbers (DIDs)", "allocated", *items("number", "numbers")),
        ("devices", "Devices", "allocated", *items("device", "devices")),
        ("ring_groups", "Ring groups", "allocated", *items("group", "groups")),
        ("call_queues", "Call queues", "allocated", *items("queue", "queues")),
        ("voicemail_boxes", "Voicemail boxes", "allocated", *items("box", "boxes")),
        ("ivr_menus", "IVR menus", "allocated", *items("menu", "menus")),
        ("conference_rooms", "Conference rooms", "allocated", *items("room", "rooms")),
        ("music_on_hold", "Music on hold", "allocated", *items("playlist", "playlists")),
        ("concurrent_calls", "Calls at once", "concurrent", "call", "call", "calls", 1),
    )
    names = ("code", "name", "kind", "base_unit", "unit_one", "unit_many", "factor")
    op.bulk_insert(
        resource,
        [
            {**dict(zip(names, row, strict=True)), "first_step": 1, "next_step": 1, "position": 10 * number}
            for number, row in enumerate(rows, 1)
        ],
    )

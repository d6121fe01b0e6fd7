"""A chain of hashes over the audit trail, with the address and the kind of actor."""

import sqlalchemy as sa
from alembic import op

from app.db import UtcDateTime
from app.domain.audit import chain

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

INDEXES = {
    "audit_by_time": ["at", "id"],
    "audit_by_subject": ["subject", "at", "id"],
    "audit_by_actor": ["actor", "at", "id"],
    "audit_by_act": ["act", "at", "id"],
    "audit_by_tenant": ["tenant_id", "at", "id"],
}
NEW = {"number": sa.BigInteger(), "kind": sa.String(16), "address": sa.String(64), "hash": sa.String(64)}
ENTRY = sa.table(
    "audit_entry",
    sa.column("id"), sa.column("at", UtcDateTime()), sa.column("actor"), sa.column("act"), sa.column("subject"),
    sa.column("tenant_id"), sa.column("details", sa.JSON()), *(sa.column(name) for name in NEW),
)  # fmt: skip
CHUNK = 5_000


def upgrade() -> None:
    """Apply. What was written so far is hashed as it stands: the chain speaks for it from today on, not before."""
    for name, kind in NEW.items():
        op.add_column("audit_entry", sa.Column(name, kind, nullable=True))
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_there_is_one")),
    )
    number, last = _hash_old_rows()
    op.bulk_insert(head, [{"id": 1, "number": number, "hash": last}])
    op.drop_index("audit_by_subject", "audit_entry")
    with op.batch_alter_table("audit_entry") as batch_op:
        for name, kind in NEW.items():
            batch_op.alter_column(name, existing_type=kind, nullable=False)
        batch_op.create_unique_constraint(op.f("uq_audit_entry_number"), ["number"])
        for name, columns in INDEXES.items():
            batch_op.create_index(name, columns)


def _hash_old_rows() -> tuple[int, str]:
    connection, number, last, after = op.get_bind(), 0, chain.GENESIS, -1
    by_id = sa.select(ENTRY).order_by(ENTRY.c.id).limit(CHUNK)
    numbered = sa.update(ENTRY).where(ENTRY.c.id == sa.bindparam("the_id"))
    while rows := connection.execute(by_id.where(ENTRY.c.id > after)).mappings().all():
        values = []
        for row in rows:
            number += 1
            new = {"number": number, "kind": "", "address": ""}
            last = chain.hash_of(last, {**row, **new})
            values.append({"the_id": row["id"], **new, "hash": last})
        connection.execute(numbered.values({name: sa.bindparam(name) for name in NEW}), values)
        after = rows[-1]["id"]
    return number, last


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("audit_entry") as batch_op:
        for name in INDEXES:
            batch_op.drop_index(name)
        batch_op.drop_constraint(op.f("uq_audit_entry_number"), type_="unique")
        for name in NEW:
            batch_op.drop_column(name)
    op.create_index("audit_by_subject", "audit_entry", ["subject", "id"])
    op.drop_table("audit_head")

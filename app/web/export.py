"""All data of one tenant as a ZIP that is written while it is read: for the provider and for the tenant's admin."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import IO, cast
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from flask import Response, stream_with_context
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.db import db, run_in_transaction
from app.domain.audit import service as audit
from app.domain.billing import service as billing
from app.domain.billing.models import Invoice
from app.domain.privacy import export
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit import invoice_files
from app.web.kit.csv import csv_lines
from app.web.kit.render import render

PIECE = 64 * 1024  # bytes gathered before they are sent


def export_page(tenant: Tenant) -> Response:
    """What the file will hold, and the button."""
    files = [(table.name, export.columns(table)) for table in export.tables()]
    return render("privacy/export.html", tenant=tenant, files=files)


def export_zip(tenant: Tenant) -> Response:
    """Note who asks, then send it."""
    tenant_id, slug, now, actor = tenant.id, tenant.slug, utc_now(), current_user.email

    def note(session: Session) -> None:
        audit.record(session, actor, "privacy.export", f"tenant:{slug}", now=now, tenant_id=tenant_id)

    run_in_transaction(note)
    response = Response(stream_with_context(_zip(tenant_id, slug, now)), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"{slug}-{now:%Y-%m-%d}.zip")
    response.headers["Cache-Control"] = "no-store"
    return response


class _Sink:
    """What the archive writes into; it cannot seek, so sizes follow the contents."""

    def __init__(self) -> None:
        self.held = bytearray()

    def write(self, content: bytes) -> int:
        self.held += content
        return len(content)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def take(self) -> bytes:
        taken = bytes(self.held)
        self.held.clear()
        return taken


def _zip(tenant_id: int, slug: str, now: datetime) -> Iterator[bytes]:
    sink = _Sink()
    counts: dict[str, int] = {}
    with ZipFile(cast(IO[bytes], sink), "w", ZIP_DEFLATED) as archive:
        for table in export.tables():
            name, names = f"{table.name}.csv", export.columns(table)
            counts[name] = -1  # the header is no row
            with archive.open(_entry(name, now), "w", force_zip64=True) as file:
                for line in csv_lines(names, export.rows(db.session(), table, tenant_id)):
                    file.write(line.encode())
                    counts[name] += 1
                    if len(sink.held) > PIECE:
                        yield sink.take()
        for invoice_id in export.issued_invoices(db.session(), tenant_id):
            name, content = _invoice(tenant_id, invoice_id)
            archive.writestr(_entry(f"invoices/{name}.pdf", now), content)
            yield sink.take()
        about = {"tenant": slug, "made_at": now.isoformat(), "rows": counts, "left_out": export.LEFT_OUT}
        archive.writestr(_entry("about.json", now), json.dumps(about, indent=1))
    yield sink.take()


def _entry(name: str, now: datetime) -> ZipInfo:
    entry = ZipInfo(name, now.timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    return entry


def _invoice(tenant_id: int, invoice_id: int) -> tuple[str, bytes]:
    session = db.session()
    found = session.get_one(Invoice, (tenant_id, invoice_id))
    made = found.filename, invoice_files.pdf(found, billing.lines_of(session, found))
    session.close()
    return made

"""What is kept about people, and for how long."""

from flask import Response, current_app

from app.core.clock import utc_now
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.privacy import masking
from app.web.guards import needs
from app.web.kit.render import render
from app.web.provider import bp


@bp.get("/privacy")
@needs(Permission.READ_SETTINGS)
def privacy() -> Response:
    """What the retention of numbers does, and when it last did."""
    session, months = db.session(), current_app.config["RINGPLAN"].RETENTION_MONTHS
    cutoff = masking.cutoff_of(months, utc_now())
    return render(
        "provider/privacy.html",
        months=months,
        cutoff=cutoff,
        runs=masking.latest(session),
        waiting=masking.waiting_reports(session, cutoff) if months else 0,
    )

"""Where staff arrive: what needs them, what it brings in, what was changed."""

from datetime import timedelta

from flask import Response

from app.core.clock import utc_now
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.audit import reading
from app.domain.billing import reading as invoices
from app.domain.changes import requests
from app.domain.insight import overview
from app.domain.jobs import service as jobs
from app.domain.metering import call_list, meters, quarantine, refusals, thresholds
from app.domain.metering.refusals import RefusalQuery
from app.domain.tenants import service as tenants
from app.web.audit_words import in_words
from app.web.guards import needs
from app.web.kit.render import render
from app.web.provider import bp

MOST_NEAR = 8
DAY = timedelta(days=1)


@bp.get("", strict_slashes=False)
@needs(Permission.READ_TENANTS)
def home() -> Response:
    """The state of the whole installation on one page; every number leads to what it counts."""
    session, now = db.session(), utc_now()
    latest = reading.latest(session)
    names = tenants.names_of(session, (entry.subject.removeprefix("tenant:") for entry in latest))
    return render(
        "provider/home.html",
        revenue=overview.monthly_revenue(session),
        tenants=overview.tenants_by_status(session),
        quarantined=sum(quarantine.count_by_reason(session).values()),
        requested=requests.count_waiting(session),
        dead_jobs=jobs.count_dead(session),
        crossed=thresholds.latest(session),
        near=meters.nearest_limits(session, now=now, most=MOST_NEAR),
        in_progress=call_list.count(session, "in_progress"),
        unsettled=call_list.count(session, "unsettled"),
        refused=refusals.count(session, RefusalQuery(since=now - DAY)),
        most_refused=refusals.most_refused(session, since=now - DAY),
        overdue=invoices.count(session, "overdue", today=now.date()),
        verified=reading.last_verification(session),
        latest=[in_words(entry, names=names) for entry in latest],
    )

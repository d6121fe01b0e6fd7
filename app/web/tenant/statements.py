"""Usage statements: a page to print and the same as PDF, for each period."""

from dataclasses import asdict
from datetime import date

from flask import Response, abort, current_app, g, request, url_for

from app.config import Settings
from app.core.clock import utc_now
from app.core.periods import Period
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.metering import statement as statements_of
from app.domain.metering.statement import Statement
from app.domain.subscriptions import service as subscriptions
from app.domain.subscriptions.models import Subscription
from app.domain.tenants.models import Tenant
from app.web.guards import needs
from app.web.kit import documents
from app.web.kit.filters import page_language
from app.web.kit.formats import period_text
from app.web.kit.render import render
from app.web.tenant import bp
from app.web.tenant.statement_text import Words, in_words

MOST_ON_PAGE = 2_000
MOST_TAGGED = 5_000  # a longer document does without tags: 2 MB instead of 26 at twenty thousand rows
CURRENT = "current"


@bp.get("/statements")
@needs(Permission.READ_BILLING)
def statements() -> Response:
    """Every period, newest first; the running one counts as far as it has come."""
    session, now = db.session(), utc_now()
    tenant = session.get_one(Tenant, g.tenant_id)
    subscription = subscriptions.live(session, tenant.id)
    periods = subscriptions.periods_of(subscription, now) if subscription else []
    entries = [
        {
            "title": period_text(period.first_on, period.end_on),
            "day": period.first_on.isoformat() if index else CURRENT,
            "so_far": index == 0,
        }
        for index, period in enumerate(periods)
    ]
    return render("tenant/statements.html", tenant=tenant, entries=entries, who_name=tenant.name)


@bp.get("/statements/<day>")
@needs(Permission.READ_BILLING)
def statement(day: str) -> Response:
    """The statement as a page that prints well."""
    found = _statement(day, most=MOST_ON_PAGE)
    return render(
        "tenant/statement.html",
        statement=found,
        words=_words(found),
        day=day,
        paper=_paper(found.tenant),
        csv_url=_csv_url(found),
        who_name=found.tenant.name,
    )


@bp.get("/statements/<day>.pdf")
@needs(Permission.READ_BILLING)
def statement_pdf(day: str) -> Response:
    """The statement as a document, with every record up to `statement.MOST_ROWS`."""
    found = _statement(day, most=statements_of.MOST_ROWS)
    words = _words(found)
    content = documents.pdf(
        "statement.typ",
        asdict(words),
        paper=_paper(found.tenant),
        made_at=found.made_at,
        language=page_language(),
        tagged=len(found.rows) <= MOST_TAGGED,
        logo=words.logo,
    )
    return documents.pdf_response(content, f"statement-{found.tenant.slug}-{found.period.first_on}.pdf")


def _statement(day: str, *, most: int) -> Statement:
    """The statement of the period that begins on `day` (ISO) or of the running one; aborts with 404 without one."""
    session, now = db.session(), utc_now()
    subscription = subscriptions.live(session, g.tenant_id)
    if subscription is None:
        abort(404)
    running = subscriptions.period_of(subscription, now)
    period = running if day == CURRENT else _period(subscription, day, running)
    return statements_of.build(session, subscription.tenant, subscription, period, now=now, most=most)


def _period(subscription: Subscription, day: str, running: Period) -> Period:
    try:
        first_on = date.fromisoformat(day)
    except ValueError:
        abort(404)
    oldest = subscriptions.period_on_day(subscription, subscription.starts_on).first_on
    if first_on.isoformat() != day or not oldest <= first_on <= running.first_on:
        abort(404)
    period = subscriptions.period_on_day(subscription, first_on)
    if period.first_on != first_on:
        abort(404)
    return period


def _words(found: Statement) -> Words:
    settings: Settings = current_app.config["RINGPLAN"]
    return in_words(found, settings)


def _paper(tenant: Tenant) -> str:
    return documents.paper_for(tenant.country, request.args.get("paper", ""))


def _csv_url(found: Statement) -> str:
    """The records of the statement as CSV; empty where the portal offers no such export."""
    if "tenant.usage_csv" not in current_app.view_functions:
        return ""
    return url_for("tenant.usage_csv", period=found.period.first_on)

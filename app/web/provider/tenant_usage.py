"""A tenant's usage records of a period, as the lines of its invoices sum them; and taking one back."""

from datetime import date
from zoneinfo import ZoneInfo

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import StringField
from wtforms.validators import InputRequired, Length

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.catalog import service as catalog
from app.domain.metering import history, reversal
from app.domain.metering.history import UsageQuery
from app.domain.metering.reach import MOST_READ
from app.domain.metering.reversal import MAX_REASON
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit.formats import period_text
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext
from app.web.kit.paging import newest_first_key
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp


@bp.get("/tenants/<slug>/usage")
@needs(Permission.READ_USAGE)
def tenant_usage(slug: str) -> Response:
    """Newest first, of one period and one resource where they are named."""
    session = db.session()
    found = tenants.by_slug(session, slug)
    metered = {row.code: row for row in catalog.list_resources(session) if row.kind == "metered"}
    resource = metered.get(request.args.get("resource", ""))
    period_on, subscription = _day(request.args.get("period", "")), subscriptions.live(session, found.id)
    period = subscriptions.period_on_day(subscription, period_on) if subscription and period_on else None
    query = UsageQuery(
        resource=resource.code if resource else "",
        period_on=period.first_on if period else period_on,
        period_end=period.end_on if period else None,
    )
    after, before, zone = newest_first_key("after"), newest_first_key("before"), ZoneInfo(found.timezone)
    return render(
        "provider/tenant_usage.html",
        block="usage_rows",
        tenant=found,
        resource=resource,
        period=period_text(period.first_on, period.end_on) if period else "",
        page=history.find_usage(session, found.id, query, zone=zone, after=after, before=before, most_read=MOST_READ),
        totals=history.totals(session, found.id, query),
        reverse_url=lambda record_id: url_for("provider.reverse", slug=slug, record_id=record_id),
    )


class ReverseForm(Form):
    """Why a record is taken back."""

    reason = StringField(_("Why"), [InputRequired(_("Say why the record is reversed.")), Length(max=MAX_REASON)])


@bp.route("/tenants/<slug>/usage/<int:record_id>/reverse", methods=["GET", "POST"])
@needs(Permission.CHANGE_USAGE)
def reverse(slug: str, record_id: int) -> Response:
    """Take a record back, once its reason is given."""
    form, status = ReverseForm(), 200
    if form.is_submitted():
        status = 422
        try:
            if form.validate():
                return _reversed(slug, record_id, form.reason.data or "")
        except DomainError as error:
            add_refusal(form, error)
            status = error.status
    tenant = tenants.by_slug(db.session(), slug)
    row = history.record_of(db.session(), tenant.id, record_id)
    return render("provider/tenant_usage_reverse.html", form=form, tenant=tenant, row=row, status=status)


def _reversed(slug: str, record_id: int, reason: str) -> Response:
    actor, now = current_user.email, utc_now()
    run_in_transaction(
        lambda session: reversal.reverse(
            session, tenants.by_slug(session, slug), record_id, reason, actor=actor, now=now
        )
    )
    say(gettext("The record is taken back. The original stays in the list, marked reversed."))
    return redirect_to(url_for("provider.tenant_usage", slug=slug))


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None

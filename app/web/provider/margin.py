"""What the invoices of a month brought and cost: in all, by package and by tenant."""

from datetime import date

from flask import Response, request

from app.core.clock import utc_now
from app.db import db
from app.domain.accounts.roles import Permission
from app.domain.catalog import service as catalog
from app.domain.insight import margin as insight
from app.web.guards import needs
from app.web.kit.months import month_of
from app.web.kit.paging import decode_cursor
from app.web.kit.render import render
from app.web.provider import bp

MAX_TEXT = 64


@bp.get("/margin")
@needs(Permission.READ_MARGIN)
def margin() -> Response:
    """Twelve months as a chart, and one of them by package and tenant."""
    session, today = db.session(), utc_now().date()
    currencies = insight.currencies(session)
    currency = _currency(currencies)
    months = insight.by_month(session, currency, today)
    month = _month() or max((each.about for each in months if each.invoices), default=today.replace(day=1))
    start = max(0, (decode_cursor(request.args.get("after"), int) or (0,))[0])
    tenants, more = insight.by_tenant(session, currency, month, start=start)
    return render(
        "provider/margin.html",
        currencies=currencies,
        currency=currency,
        months=months,
        month=month,
        shown=next((each for each in months if each.about == month), None),
        packages=insight.by_package(session, currency, month),
        tenants=tenants,
        older=(more,) if more else None,
    )


@bp.get("/margin/lines")
@needs(Permission.READ_MARGIN)
def margin_lines() -> Response:
    """The lines that a package's figures of a month sum; without one those of no package."""
    session = db.session()
    code = request.args.get("package", "").replace("\0", "")[:MAX_TEXT]
    package = catalog.by_code(session, code) if code else None
    currency = _currency(insight.currencies(session))
    month = _month() or utc_now().date().replace(day=1)
    found = decode_cursor(request.args.get("after"), int, int)
    lines, older = insight.lines_of(session, currency, month, package, after=(found[0], found[1]) if found else None)
    return render(
        "provider/margin_lines.html", package=package, month=month, currency=currency, lines=lines, older=older
    )


def _currency(known: list[str]) -> str:
    asked = request.args.get("currency", "")
    return asked if asked in known else known[0] if known else "EUR"


def _month() -> date | None:
    return month_of(request.args.get("month", ""))

"""The bill run: dry run, review, numbers. Its progress stands on the page, whoever looks and whenever."""

from flask import Response, url_for

from app.core.clock import utc_now
from app.core.errors import Conflict
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.billing import bank_lines, reading, run as bill_run
from app.domain.billing.reading import InvoiceQuery
from app.web.guards import current_user, needs
from app.web.kit import invoice_text
from app.web.kit.i18n import gettext
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

MOST_ODD = 50


@bp.get("/billing")
@needs(Permission.READ_BILLING)
def billing() -> Response:
    """The open run, if there is one, and those before it."""
    session, today = db.session(), utc_now().date()
    runs = bill_run.latest(session)
    open_run = next((each for each in runs if each.open_mark), None)
    odd = InvoiceQuery(state="odd")
    return render(
        "provider/billing.html",
        block="progress",
        run=open_run,
        runs=runs,
        totals=bill_run.totals(session, open_run.id) if open_run and open_run.phase != "drafting" else [],
        odd=reading.find(session, odd, today=today, most=MOST_ODD).invoices,
        odd_count=reading.count(session, "odd", today=today),
        overdue=reading.count(session, "overdue", today=today),
        still_open=reading.count(session, "open", today=today),
        drafts=reading.count(session, "draft", today=today),
        bank_lines=bank_lines.count_open(session),
        odd_words=invoice_text.odd_words(),
    )


@bp.post("/billing/start")
@needs(Permission.CHANGE_BILLING)
def billing_start() -> Response:
    """Begin a dry run."""
    try:
        run_in_transaction(lambda session: bill_run.start(session, actor=current_user.email, now=utc_now()))
    except Conflict as error:
        say(error.message, "warning")
    return redirect_to(url_for("provider.billing"))


@bp.post("/billing/<int:run_id>/<any(finalise, close):act>")
@needs(Permission.CHANGE_BILLING)
def billing_act(run_id: int, act: str) -> Response:
    """Number what was reviewed, or end the run and leave its drafts."""
    do = {"finalise": bill_run.finalise, "close": bill_run.close}[act]
    try:
        run_in_transaction(lambda session: do(session, run_id, actor=current_user.email, now=utc_now()))
    except Conflict as error:
        say(error.message, "warning")
    else:
        if act == "close":
            say(gettext("The run is closed. Its drafts wait under Invoices."))
    return redirect_to(url_for("provider.billing"))

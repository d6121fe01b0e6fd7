"""Jobs: what was given up and what still waits, with its error."""

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]

from app.core.clock import utc_now
from app.db import db, unit_of_work
from app.domain.accounts.roles import Permission
from app.domain.jobs import service as queue
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.paging import decode_cursor
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

KINDS = {
    "mail": _("Mail"),
    "mail.invoice": _("Mail with an invoice"),
    "mail.link": _("Mail with a link"),
    "mail.account": _("Notice about an account"),
    "mail.key": _("Notice of a key"),
    "invoice.mail": _("Notice of an invoice"),
    "balance.mail": _("Notice of a prepaid balance"),
    "threshold_mail": _("Notice of a threshold"),
    "offer_mail": _("Notice of an offer"),
    "webhook_mail": _("Notice of a webhook"),
    "dunning": _("Reminder of an invoice"),
    "bill_run": _("Part of a bill run"),
    "masking": _("Masking of old numbers"),
    "account.reset": _("A new password was asked for"),
}


@bp.get("/jobs")
@needs(Permission.READ_OPERATIONS)
def jobs() -> Response:
    """Those given up, or with `state=waiting` those still to be done, newest first."""
    session, waiting = db.session(), request.args.get("state") == "waiting"
    after = decode_cursor(request.args.get("after"), int)
    page = queue.find(session, dead=not waiting, after=after[0] if after else None)
    return render(
        "provider/jobs.html",
        block="jobs",
        jobs=page.jobs,
        words=KINDS,
        older=page.after,
        waiting=waiting,
        dead_count=queue.count_dead(session),
        waiting_count=queue.count_waiting(session),
        max_attempts=queue.MAX_ATTEMPTS,
    )


@bp.post("/jobs/<int:job_id>/retry")
@needs(Permission.RETRY_JOBS)
def job_retry(job_id: int) -> Response:
    """Let one run now, with all its attempts."""
    with unit_of_work() as session:
        queue.try_again(session, job_id, actor=current_user.email, now=utc_now())
    say(gettext("It is tried again now."))
    return _back()


@bp.post("/jobs/retry")
@needs(Permission.RETRY_JOBS)
def jobs_retry() -> Response:
    """Let everything that was given up run now."""
    with unit_of_work() as session:
        number = queue.try_all_again(session, actor=current_user.email, now=utc_now())
    say(ngettext("%(num)s job is tried again now.", "%(num)s jobs are tried again now.", number))
    return _back()


def _back() -> Response:
    return redirect_to(url_for("provider.jobs", state=request.form.get("state") or None))

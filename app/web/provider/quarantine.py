"""Quarantine: what was reported and could not be counted, and what to do about it."""

from dataclasses import dataclass

from flask import Response, request, url_for
from flask_babel import lazy_gettext as _  # type: ignore[import-untyped]
from wtforms import StringField
from wtforms.validators import InputRequired, Length

from app.core.clock import utc_now
from app.core.errors import Conflict, Invalid
from app.db import db, run_in_transaction, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.domain.metering import quarantine as kept
from app.domain.metering.quarantine import Entry
from app.domain.metering.reports import Result
from app.pbx.reread import reread
from app.web.guards import current_user, needs
from app.web.kit.forms import Form
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.paging import decode_cursor
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.quarantine_words import Advice, advice_for, reason_words, short_reason

MOST_AT_ONCE = 200  # replays of one request; each is a transaction of its own


class DiscardForm(Form):
    """Why a report is not to be counted."""

    why = StringField(_("Why"), [InputRequired(_("Say why it is not to be counted.")), Length(max=kept.MAX_REASON)])


@dataclass(frozen=True, slots=True)
class Item:
    """An entry with what can be done about it."""

    entry: Entry
    advice: Advice
    alike: int = 1  # open entries of its reason and tenant, itself included


@bp.get("/quarantine")
@needs(Permission.READ_OPERATIONS)
def quarantine() -> Response:
    """Open entries, newest first; a click on a reason swaps only the list."""
    session, reason = db.session(), request.args.get("reason", "")[:64]
    after = decode_cursor(request.args.get("after"), int)
    page = kept.find_open(session, reason=reason, after=after[0] if after else None)
    alike = kept.count_alike(session, page.entries)
    return render(
        "provider/quarantine.html",
        block="entries",
        items=[Item(entry, advice_for(entry), alike[entry.report.id]) for entry in page.entries],
        older=page.older,
        counts=kept.count_by_reason(session),
        reason=reason,
        reason_words=reason_words,
        short_reason=short_reason,
    )


@bp.post("/quarantine/<int:entry_id>/replay")
@needs(Permission.CHANGE_USAGE)
def quarantine_replay(entry_id: int) -> Response:
    """Read one again and count it; `like` takes everything of its reason and tenant along."""
    session = db.session()
    entry = kept.get_open(session, entry_id)
    together = request.form.get("like") == "1"
    entries = kept.like(session, entry.report)[:MOST_AT_ONCE] if together else [entry]
    results = [result for each in entries if (result := _replay(each)) is not None]
    _say_results(results)
    return _back()


def _replay(entry: Entry) -> Result | None:
    """What became of it; None when someone else was quicker."""
    report, actor, now = entry.report, current_user.email, utc_now()
    settings = accounts.settings_of(entry.source)
    outcome = reread(report.body, report.format, report.content_type, kept.sent_id(report), settings)
    try:
        return run_in_transaction(lambda act: kept.replay(act, report.id, outcome, actor=actor, now=now))
    except Conflict:
        return None


def _say_results(results: list[Result]) -> None:
    done = [result for result in results if result.status in kept.RESOLUTIONS]
    left = [result for result in results if result.status not in kept.RESOLUTIONS]
    if done:
        say(ngettext("%(num)s report is counted now.", "%(num)s reports are counted now.", len(done)))
    if left:
        why = reason_words(left[0].code)
        say(
            ngettext(
                "%(num)s report still cannot be counted: %(why)s.",
                "%(num)s reports still cannot be counted: %(why)s.",
                len(left),
                why=why,
            ),
            "warning",
        )


@bp.route("/quarantine/<int:entry_id>/discard", methods=["GET", "POST"])
@needs(Permission.CHANGE_USAGE)
def quarantine_discard(entry_id: int) -> Response:
    """Ask why, then close the entry without counting it; it is kept, and the reason with it."""
    entry, form = kept.get_open(db.session(), entry_id), DiscardForm()
    try:
        if form.validate_on_submit():
            with unit_of_work() as session:
                kept.discard(session, [entry_id], form.why.data or "", actor=current_user.email, now=utc_now())
            say(gettext("Discarded. The report and your reason are kept."))
            return redirect_to(url_for("provider.quarantine"))
    except Invalid as error:
        add_refusal(form, error)
        entry = kept.get_open(db.session(), entry_id)
    status = 422 if form.is_submitted() else 200
    item = Item(entry, advice_for(entry))
    return render("provider/quarantine_discard.html", form=form, item=item, status=status, reason_words=reason_words)


def _back() -> Response:
    """To the list with the filter it was seen through."""
    return redirect_to(url_for("provider.quarantine", reason=request.form.get("reason") or None))

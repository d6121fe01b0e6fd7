"""Calls in progress, and those that no CDR has settled."""

from flask import Response, request, url_for
from werkzeug.datastructures import MultiDict

from app.core.clock import utc_now
from app.core.errors import Conflict, NotFound
from app.db import db, run_in_transaction
from app.domain.accounts import directory
from app.domain.accounts.roles import Permission
from app.domain.metering import call_list, holds
from app.domain.metering.call_list import CallQuery
from app.domain.metering.holds import HoldName
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.paging import newest_first_key
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp

MAX_TEXT = 200
FILTERS = ("state", "text", "source")


@bp.get("/calls")
@needs(Permission.READ_USAGE)
def calls() -> Response:
    """Those in progress, or with `state=unsettled` those whose CDR is missing, newest first."""
    session, given = db.session(), _given(request.args)
    query = CallQuery(given["state"] or "in_progress", given["text"], given["source"])
    return render(
        "provider/calls.html",
        block="call_rows",
        page=call_list.find(session, query, after=newest_first_key("after"), before=newest_first_key("before")),
        counts={state: call_list.count(session, state) for state in call_list.STATES},
        query=query,
        given=given,
        now=utc_now(),
        source_choices=[(source.code, source.name) for source in directory.list_sources(session)],
    )


@bp.post("/calls/<hold>/release")
@needs(Permission.RELEASE_CALLS)
def call_release(hold: str) -> Response:
    """Free what a stuck call holds."""
    name, actor, now = HoldName.parse(hold), current_user.email, utc_now()
    if name is None:
        raise NotFound("unknown_hold", gettext("There is no such call."))
    try:
        run_in_transaction(lambda session: holds.release_by_hand(session, name, actor=actor, now=now))
        say(gettext("Released. What the call held is free again."))
    except Conflict:
        say(gettext("The call had ended meanwhile; nothing was changed."), "info")
    given = _given(request.form)
    return redirect_to(url_for("provider.calls", **{key: value for key, value in given.items() if value}))  # type: ignore[arg-type]


def _given(arguments: MultiDict[str, str]) -> dict[str, str]:
    """The filters as they were typed; a state that is none is left out."""
    given = {name: arguments.get(name, "").replace("\0", "")[:MAX_TEXT].strip() for name in FILTERS}
    return given if given["state"] in call_list.STATES else given | {"state": ""}

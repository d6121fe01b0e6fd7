"""Where one is signed in, and ending it."""

from flask import Response, current_app, url_for

from app.core.clock import utc_now
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.web.account import bp
from app.web.account.browsers import browser_words
from app.web.account.kit import show
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext, ngettext
from app.web.kit.render import redirect_to, say


@bp.get("/sessions")
@needs(Permission.USE_OWN_ACCOUNT)
def sessions() -> Response:
    """Every browser that is signed in, the one that asks first."""
    idle = current_app.permanent_session_lifetime
    found = accounts.sign_ins_of(db.session(), current_user.account_id, now=utc_now(), idle=idle)
    own = accounts.mark_of(current_user.token)
    found.sort(key=lambda each: each.mark != own)
    return show("account/sessions.html", sign_ins=found, own=own, browser_words=browser_words)


@bp.post("/sessions/<mark>/end")
@needs(Permission.USE_OWN_ACCOUNT)
def session_end(mark: str) -> Response:
    """Sign one browser out."""
    with unit_of_work() as session:
        accounts.end_own(session, current_user.account_id, mark, actor=current_user.email, now=utc_now())
    say(gettext("That browser is signed out."))
    return redirect_to(url_for("account.sessions"))


@bp.post("/sessions/end-others")
@needs(Permission.USE_OWN_ACCOUNT)
def sessions_end_others() -> Response:
    """Sign out every browser but this one."""
    with unit_of_work() as session:
        ended = accounts.end_others(
            session, current_user.account_id, current_user.token, actor=current_user.email, now=utc_now()
        )
    say(ngettext("%(num)s other browser is signed out.", "%(num)s other browsers are signed out.", ended))
    return redirect_to(url_for("account.sessions"))

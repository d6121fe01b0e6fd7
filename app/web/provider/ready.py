"""Ready for more: who outgrows its package and who should move down, and offering it the one that fits."""

from flask import Response, request, url_for
from sqlalchemy.orm import Session

from app.core.clock import utc_now
from app.core.errors import DomainError, NotFound
from app.db import db, run_in_transaction
from app.domain.accounts.roles import Permission
from app.domain.catalog import service as catalog
from app.domain.changes import offers
from app.domain.changes.models import Offer
from app.domain.insight import ready as insight
from app.domain.tenants import service as tenants
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.paging import decode_cursor
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.ready_words import why

PAGE_SIZE = 25
MAX_TEXT = 64


@bp.get("/ready")
@needs(Permission.READ_PLANS)
def ready() -> Response:
    """Those who need more; with `show=down` those who could do with less."""
    found = insight.look(db.session(), now=utc_now())
    show = "down" if request.args.get("show") == "down" else "up"
    rows = found.down if show == "down" else found.up
    start = max(0, (decode_cursor(request.args.get("after"), int) or (0,))[0])
    return render(
        "provider/ready.html",
        show=show,
        found=found,
        rows=rows[start : start + PAGE_SIZE],
        older=(start + PAGE_SIZE,) if len(rows) > start + PAGE_SIZE else None,
        why=lambda each: why(each, found.resources),
    )


@bp.post("/ready/<slug>/offer")
@needs(Permission.CHANGE_PLANS)
def ready_offer(slug: str) -> Response:
    """Offer the tenant a package: it stands on its home and plans page, and its people get a mail."""
    code = request.form.get("package", "").replace("\0", "")[:MAX_TEXT]

    def act(session: Session) -> Offer:
        tenant, package = tenants.by_slug(session, slug), catalog.by_code(session, code)
        return offers.make(session, tenant, package, actor=current_user.email, now=utc_now())

    try:
        made = run_in_transaction(act)
        words = gettext("%(package)s is offered to %(tenant)s.", package=made.package.name, tenant=made.tenant.name)
        say(words, undo_url=url_for("provider.ready_withdraw", slug=slug))
    except NotFound:
        raise
    except DomainError as error:
        say(error.message, "error")
    return _back(slug)


@bp.post("/ready/<slug>/withdraw")
@needs(Permission.CHANGE_PLANS)
def ready_withdraw(slug: str) -> Response:
    """Take the offer back."""
    edge = {"actor": current_user.email, "now": utc_now()}
    withdrawn = run_in_transaction(
        lambda session: offers.end(session, tenants.by_slug(session, slug), "withdrawn", **edge)
    )
    if withdrawn:
        say(gettext("The offer is withdrawn."))
    else:
        say(gettext("There is no open offer any more."), "info")
    return _back(slug)


def _back(slug: str) -> Response:
    """Where the button stood: the list, or the tenant's page."""
    if request.form.get("from") == "tenant":
        return redirect_to(url_for("provider.tenant", slug=slug))
    return redirect_to(url_for("provider.ready", show="down" if request.form.get("show") == "down" else None))

"""One tenant: plan, meters, people; and putting it on a package."""

from flask import Response, url_for

from app.core.clock import utc_now
from app.core.errors import DomainError
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.accounts.roles import Permission
from app.domain.audit import reading
from app.domain.changes import offers
from app.domain.metering import meters, prepaid, thresholds
from app.domain.subscriptions import life, service as subscriptions, timeline
from app.domain.tenants import service as tenants
from app.web import refused
from app.web.audit_words import in_words
from app.web.guards import current_user, needs
from app.web.kit.i18n import gettext
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.kit.role_words import role_name
from app.web.provider import bp
from app.web.provider.tenant_form import PersonForm


@bp.get("/tenants/<slug>")
@needs(Permission.READ_TENANTS)
def tenant(slug: str) -> Response:
    """The state of one tenant, live."""
    session, now = db.session(), utc_now()
    found = tenants.by_slug(session, slug)
    shown = meters.current(session, found, now=now)
    subscription = subscriptions.live(session, found.id)
    return render(
        "provider/tenant.html",
        tenant=found,
        now=now,
        m=shown,
        crossed=thresholds.of_period(session, found.id, shown.period.first_on) if shown.period else [],
        refused=refused.count_in_period(found, shown.period.start) if shown.period else 0,
        purse=prepaid.purse(session.connection(), found.id),
        heading_level=2,  # the page has its own head
        offer=offers.open_of(session, found.id),
        subscription=subscription,
        steps=timeline.of_tenant(session, found.id),
        trial_ends_at=life.trial_ends_at(subscription) if subscription else None,
        people=accounts.users_of(session, found.id),
        role_name=role_name,
        latest=[in_words(entry) for entry in reading.latest(session, subject=f"tenant:{slug}")],
        stream_url=url_for("provider.tenant_meters_stream", slug=slug),
        poll_url=url_for("provider.tenant_meters", slug=slug),
    )


@bp.route("/tenants/<slug>/people/new", methods=["GET", "POST"])
@needs(Permission.CHANGE_TENANT_PEOPLE)
def tenant_person_new(slug: str) -> Response:
    """Give one of the tenant's people a sign-in."""
    found = tenants.by_slug(db.session(), slug)
    form = PersonForm()
    if not form.is_submitted():
        return render("provider/tenant_person.html", form=form, tenant=found)
    try:
        if form.validate():
            typed = [field.data or "" for field in (form.email, form.name, form.password)]
            with unit_of_work() as session:
                found = tenants.by_slug(session, slug)
                made = accounts.create_user(session, found, *typed, actor=current_user.email, now=utc_now())
            say(gettext("%(email)s can sign in now. Pass the password on.", email=made.email))
            return redirect_to(url_for("provider.tenant_people", slug=slug))
    except DomainError as error:
        add_refusal(form, error, new="password")
    return render("provider/tenant_person.html", form=form, tenant=tenants.by_slug(db.session(), slug), status=422)

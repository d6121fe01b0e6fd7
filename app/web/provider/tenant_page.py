"""One tenant: plan, meters, people; and putting it on a package."""

from flask import Response, request, url_for

from app.core.clock import utc_now
from app.core.errors import DomainError, NotFound
from app.db import db, unit_of_work
from app.domain.accounts import service as accounts
from app.domain.audit import reading
from app.domain.catalog import browse, service as catalog
from app.domain.catalog.models import Package
from app.domain.changes.package_move import preview_move
from app.domain.metering import meters, thresholds
from app.domain.subscriptions import service as subscriptions
from app.domain.tenants import service as tenants
from app.domain.tenants.models import Tenant
from app.web.guards import current_user
from app.web.kit.i18n import gettext
from app.web.kit.limits import limits_of
from app.web.kit.refusals import add_refusal
from app.web.kit.render import redirect_to, render, say
from app.web.provider import bp
from app.web.provider.audit_words import in_words
from app.web.provider.tenant_form import PersonForm


@bp.get("/tenants/<slug>")
def tenant(slug: str) -> Response:
    """The state of one tenant, live."""
    session, now = db.session(), utc_now()
    found = tenants.by_slug(session, slug)
    shown = meters.current(session, found, now=now)
    return render(
        "provider/tenant.html",
        tenant=found,
        now=now,
        m=shown,
        crossed=thresholds.of_period(session, found.id, shown.period.first_on) if shown.period else [],
        heading_level=2,  # the page has its own head
        subscription=subscriptions.live(session, found.id),
        segments=subscriptions.segments(session, found.id),
        people=accounts.users_of(session, found.id),
        latest=[in_words(entry) for entry in reading.latest(session, subject=f"tenant:{slug}")],
        stream_url=url_for("provider.tenant_meters_stream", slug=slug),
        poll_url=url_for("provider.tenant_meters", slug=slug),
    )


@bp.route("/tenants/<slug>/people/new", methods=["GET", "POST"])
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
            return redirect_to(url_for("provider.tenant", slug=slug))
    except DomainError as error:
        add_refusal(form, error, new="password")
    return render("provider/tenant_person.html", form=form, tenant=tenants.by_slug(db.session(), slug), status=422)


@bp.post("/tenants/<slug>/people/<email>/<act>")
def tenant_person(slug: str, email: str, act: str) -> Response:
    """Close a person's sign-in, or open it again."""
    acts = {"close": accounts.disable_account, "open": accounts.enable_account}
    with unit_of_work() as session:
        found, account = tenants.by_slug(session, slug), accounts.by_email(session, email)
        if account.tenant_id != found.id or act not in acts:
            raise NotFound("unknown_account", gettext("Nobody of this tenant signs in like that."))
        acts[act](session, account, actor=current_user.email, now=utc_now())
    if act == "close":
        undo = url_for("provider.tenant_person", slug=slug, email=email, act="open")
        say(gettext("%(email)s can no longer sign in.", email=email), undo_url=undo)
    else:
        say(gettext("%(email)s can sign in again.", email=email))
    return redirect_to(url_for("provider.tenant", slug=slug))


@bp.get("/tenants/<slug>/plan")
def tenant_plan(slug: str) -> Response:
    """Choose a package; with `package`, what taking it would do."""
    session, now = db.session(), utc_now()
    found, code = tenants.by_slug(session, slug), request.args.get("package", "")
    if code:
        return _confirm(found, catalog.by_code(session, code))
    fitting = [each for each in browse.list_packages(session, "published") if each.revision.currency == found.currency]
    return render(
        "provider/tenant_plan.html",
        tenant=found,
        subscription=subscriptions.live(session, found.id),
        packages=[(each, limits_of(each.revision)) for each in fitting],
        m=meters.current(session, found, now=now),
    )


@bp.post("/tenants/<slug>/plan")
def tenant_plan_change(slug: str) -> Response:
    """Put the tenant on the package, as the page before said, unless either has changed since."""
    code, seen = request.form.get("package", ""), request.form.get("seen", "")
    try:
        with unit_of_work() as session:
            found, package = tenants.by_slug(session, slug), catalog.by_code(session, code)
            if seen != _stamp(found, package):
                say(gettext("The package was changed meanwhile. Here are the figures as they stand now."), "warning")
                return _confirm(found, package, 409)
            subscriptions.subscribe(session, found, package, actor=current_user.email, now=utc_now())
    except DomainError as error:
        return _confirm(tenants.by_slug(db.session(), slug), catalog.by_code(db.session(), code), error.status, error)
    say(gettext("%(tenant)s is on %(package)s now.", tenant=found.name, package=package.name))
    return redirect_to(url_for("provider.tenant", slug=slug))


def _confirm(found: Tenant, package: Package, status: int = 200, error: DomainError | None = None) -> Response:
    """What will happen, with figures, and the button that does it."""
    session, now = db.session(), utc_now()
    subscription = subscriptions.live(session, found.id)
    return render(
        "provider/tenant_plan_confirm.html",
        status=status,
        tenant=found,
        package=package,
        subscription=subscription,
        impact=preview_move(session, found, subscription, package, now=now),
        period=subscriptions.period_of(subscription, now) if subscription else None,
        seen=_stamp(found, package),
        error=error,
    )


def _stamp(found: Tenant, package: Package) -> str:
    """What the preview rests on: the package's revision and what the tenant has now."""
    subscription = subscriptions.live(db.session(), found.id)
    now_on = f"{subscription.package_id}/{subscription.package.revision_id}" if subscription else "-"
    return f"{package.revision_id}/{now_on}"
